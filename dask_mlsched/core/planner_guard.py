"""Calls a planner and survives whatever it does."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import islice
from typing import Any, Final

from dask_mlsched.core.guard import PolicyGuard
from dask_mlsched.core.planners.picture import Picture
from dask_mlsched.core.planners.planner import Planner
from dask_mlsched.core.policies import HoldOption

#: So many user priorities are planned at a time; the plans of others are made anew when needed.
_LEVELS: Final = 4


#: After these a planner may have much to take in, at once or when it is asked.
_NEWS: Final = frozenset({"graph_changed", "worker_joined", "worker_left", "limit_seen"})


class PlannerGuard(PolicyGuard):
    """Tells planners what happens, and turns their proposals into tasks or counted failures.

    For every user priority there is a planner of its own, made when it is
    first asked, which never hears of other tasks. So no planner can run a task
    of lower user priority before one of higher, and where none is asked none
    costs anything.

    A planner whose callback raises, or that proposes a task that is not
    parked, has lost the thread: it has failed, and is made anew before it is
    asked again. One that takes longer than its budget, for a callback or a
    proposal, has failed too; for catching up it may take as long as it likes:
    at the beginning, with a graph, and with what is asked after a worker has
    joined or left.

    Parameters
    ----------
    planner
        What is asked: a fresh one of its kind for each user priority.
    picture
        What planners may look at.
    """

    def __init__(
        self,
        planner: Planner,
        picture: Picture,
        stopwatch: Callable[[], float],
        *,
        time_budget: float,
        failures: int,
    ) -> None:
        super().__init__(planner, stopwatch, time_budget=time_budget, failures=failures)
        self._kind = planner
        self._picture = picture
        #: user priority -> its planner.
        self._planners: dict[float, Planner] = {}
        #: User priorities whose planners may have to catch up when they are asked next.
        self._behind: set[float] = set()

    @property
    def even_if_fits(self) -> bool:
        """Whether the planner is asked even where everything fits in the fast tiers."""
        return self._kind.even_if_fits

    @property
    def takes_from_others(self) -> bool:
        """Whether Dask's order decides where nothing is proposed."""
        return self._kind.takes_from_others

    def hold(self, level: float) -> HoldOption | None:
        """Return what the last proposal would rather wait for."""
        planner = self._planners.get(level)
        return None if planner is None else planner.hold

    def planner(self, level: float) -> Planner | None:
        """Return the planner of a user priority, if it was asked before."""
        return self._planners.get(level)

    def propose(self, level: float, worker: int, now: float) -> list[int] | None:
        """Ask for tasks for a free slot.

        Returns
        -------
        list of int or None
            Parked tasks of that user priority, the best one first; None is a failure.
        """
        started = self._stopwatch()
        try:
            planner = self._planners.get(level)
            if planner is None:
                planner = self._begin(level)
                self._behind.add(level)
                started = self._stopwatch()
            proposed = list(islice(planner.propose(worker, now), max(1, planner.shortlist)))
            parked = self._picture.parked(level)
            strays = [task for task in proposed if task not in parked]
        except Exception as error:  # noqa: BLE001 - a policy is foreign code and may raise anything
            self.seconds = self._stopwatch() - started
            self._lost(level, f"raised {type(error).__name__}: {error}")
            return None
        self.seconds = self._stopwatch() - started
        if strays:
            self._lost(level, f"proposed task {strays[0]!r}; expected one that is parked")
            return None
        if level in self._behind:
            self._behind.discard(level)
            return proposed
        return None if self._dawdled(self.seconds) else proposed

    def _begin(self, level: float) -> Planner:
        """Make a planner and tell it all that it would have heard."""
        planner = self._kind.fresh()
        picture = self._picture
        planner.attach(picture, level)
        for worker, device in picture.devices.items():
            if not device.paused:
                planner.worker_joined(worker)
        for task, worker in picture.on_workers.items():
            planner.task_sent(task, worker)
        for task in picture.parked(level).tasks():
            planner.task_ready(task)
        while len(self._planners) >= _LEVELS:
            del self._planners[next(iter(self._planners))]
        self._planners[level] = planner
        return planner

    def tell(self, callback: str, *arguments: Any) -> None:
        """Tell all planners of something, by the name of the callback."""
        for level in tuple(self._planners):
            self._call(level, callback, *arguments)

    def tell_one(self, level: float, callback: str, task: int) -> None:
        """Tell the planner of one user priority of something."""
        if level in self._planners:
            self._call(level, callback, task)

    def residency_changed(self, worker: int, came: Sequence[int], gone: Sequence[int]) -> None:
        """Tell what is resident now and was not before, and vice versa.

        An array that went and came again, or the other way around, may stand in both.
        """
        if not self._planners or self._picture.devices[worker].paused:
            return
        if came and gone:
            came, gone = _balance(came, gone)
        if came or gone:
            self.tell("residency_changed", worker, came, gone)

    def failed_to_tell(self, error: Exception) -> None:
        """Count that a planner failed when an eviction rule asked about its plan."""
        self._failed(f"raised {type(error).__name__}: {error}")

    def _call(self, level: float, callback: str, *arguments: Any) -> None:
        started = self._stopwatch()
        try:
            getattr(self._planners[level], callback)(*arguments)
        except Exception as error:  # noqa: BLE001 - a policy is foreign code and may raise anything
            self._lost(level, f"raised {type(error).__name__} in {callback}: {error}")
            return
        if callback in _NEWS:
            self._behind.add(level)
        else:
            self._dawdled(self._stopwatch() - started)

    def _lost(self, level: float, problem: str) -> None:
        self._planners.pop(level, None)
        self._failed(problem)

    def _dawdled(self, seconds: float) -> bool:
        if seconds <= self._time_budget:
            return False
        self._failed(f"took {seconds:.3g} s; it may take {self._time_budget:.3g} s")
        return True

    def _failed(self, problem: str) -> None:
        self.failures += 1
        self.last_failure = f"policy {self.policy.name!r} {problem}"
        if self.off:
            self._planners.clear()


def _balance(came: Sequence[int], gone: Sequence[int]) -> tuple[list[int], list[int]]:
    """Leave out what is where it was before."""
    balance = dict.fromkeys(gone, 0)
    for array in gone:
        balance[array] -= 1
    for array in came:
        balance[array] = balance.get(array, 0) + 1
    return [a for a, n in balance.items() if n > 0], [a for a, n in balance.items() if n < 0]
