"""Watches one run after the other end, keeps what they came to, and has the last one simulated.

What was decided is taken down while it happens (`core.run_log`). Simulating it takes a process of
its own for some seconds: that is done only while somebody looks, and for the run that ended last.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from statistics import median
from typing import TYPE_CHECKING, Any, Final

from dask_mlsched.core.run_log import LoggedRun, RunLog
from dask_mlsched.core.trace import Header
from dask_mlsched.extension.comparing_process import ComparingProcess, ComparisonError
from dask_mlsched.extension.episodes import LEAST_TASKS, MOST_LEFT, Episodes
from dask_mlsched.extension.run_comparison import RunComparison
from dask_mlsched.extension.versions import VERSION

if TYPE_CHECKING:
    from dask_mlsched.core.controller import Controller
    from dask_mlsched.extension.management import Management

#: Runs that are kept.
LENGTH: Final = 20


@dataclass(frozen=True)
class WatchedRun:
    """A run that is over."""

    #: Counts runs, from 1 on; and when it ended, in seconds since 1970.
    number: int
    ended: float
    #: Tasks that began.
    tasks: int
    #: What decided: a policy, and the model that it decided by, if one was chosen.
    policy: str
    model: str | None
    #: What it came to, and others would have; None while that is not known.
    comparison: RunComparison | None = None
    #: Why that will never be known; None if it may.
    problem: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """Describe it for `status()`."""
        found = self.comparison
        return {
            "number": self.number,
            "ended": self.ended,
            "tasks": self.tasks,
            "policy": self.policy,
            "model": self.model,
            "problem": self.problem,
            "comparison": None if found is None else found.as_dict(),
            "regret": None if found is None else found.regret,
            "best": None if found is None else found.best[0],
        }


@dataclass(frozen=True, slots=True)
class Decider:
    """What decides: a mode, a policy, and the model that it decides by, if one was chosen."""

    mode: str
    #: ``stock`` where Dask alone decides.
    policy: str
    model: str | None

    @classmethod
    def of(cls, plugin: Management) -> Decider:
        """Tell what decides now."""
        ours = plugin.mode == "manage" and not plugin.networks.left_to_dask
        return cls(
            plugin.mode,
            plugin.policy_name if ours else "stock",
            plugin.networks.model if ours else None,
        )


class RunWatch:
    """Follows the controllers of one plugin."""

    #: The newest last.
    runs: deque[WatchedRun]
    #: Pages that are open: only then is anything simulated.
    lookers: int

    def __init__(self) -> None:
        self.runs = deque(maxlen=LENGTH)
        self.lookers = 0
        self._controller: Controller | None = None
        self._number = 0
        self._episodes: Episodes
        #: What decides the run at hand; None before it has begun.
        self._decider: Decider | None
        #: How many tasks had begun when something else was to decide; None if nothing was.
        self._changed_at: int | None
        self._begin()
        #: The run that ended last, until it is simulated; and the one that is being simulated.
        self._waiting: tuple[int, Header, LoggedRun] | None = None
        self._simulated: int | None = None
        #: Makes the process of the next simulation.
        self.make_process: Callable[[], ComparingProcess] = ComparingProcess
        self._process: ComparingProcess | None = None
        self._task: asyncio.Task[None] | None = None

    @property
    def idle(self) -> bool:
        """Whether nothing is being simulated."""
        return self._task is None

    def follow(self, controller: Controller) -> None:
        """Take down what a controller, without tasks so far, is told and says."""
        controller.log = RunLog()
        self._controller = controller
        self._begin()

    def leave(self, plugin: Management) -> None:
        """End the run that the controller is in, before another one takes its place."""
        controller = self._controller
        if controller is not None and controller.log is not None:
            self._file(plugin, controller, controller.log)
        self.drop()

    def drop(self) -> None:
        """Let go of the controller; of what it was in, nobody knows how much is true."""
        if self._controller is not None:
            self._controller.log = None
            self._controller = None

    def about_to_change(self, plugin: Management) -> None:
        """Note that something else decides from now on, if a run has begun."""
        controller = self._controller
        if controller is not None and controller.log is not None and controller.log.begun:
            self._decider = self._decider or Decider.of(plugin)
            self._changed_at = controller.log.begun

    def look(self, plugin: Management, now: float) -> None:
        """See whether a run is over, and have it simulated if somebody looks.

        Parameters
        ----------
        now
            Seconds on any clock.
        """
        controller = self._controller
        if controller is not None:
            self._look_for_end(plugin, controller, now)
        if self.lookers and self._waiting is not None and self._task is None:
            waiting, self._waiting = self._waiting, None
            self._simulated = waiting[0]
            self._process = self.make_process()
            self._task = asyncio.ensure_future(self._simulate(self._process, *waiting))

    def close(self) -> None:
        """End the process, if there is one; nothing is simulated any more."""
        self.lookers = 0
        self._waiting = None
        self.drop()
        if self._process is not None:
            self._process.close()

    def _look_for_end(self, plugin: Management, controller: Controller, now: float) -> None:
        log = controller.log
        begun = 0 if log is None else log.begun
        if begun and self._decider is None:
            self._decider = Decider.of(plugin)
        over = self._episodes.over(plugin.scheduler, begun, now)
        few = len(plugin.scheduler.tasks) <= MOST_LEFT
        if not over or (log is not None and not begun):
            return
        if log is not None:
            self._file(plugin, controller, log, few=few)
        # To tell what is there takes the event loop some microseconds for each task.
        controller.log = None
        if few:
            controller.log = RunLog()
            controller.log.begin_run(controller.books, time.monotonic())
        self._begin()

    def _begin(self) -> None:
        self._episodes = Episodes()
        self._decider = None
        self._changed_at = None

    def _file(
        self, plugin: Management, controller: Controller, log: RunLog, *, few: bool = True
    ) -> None:
        """Keep what is known of a run that is over, and have it wait to be simulated."""
        ended = log.run()
        if ended.begun < LEAST_TASKS:
            return
        decider = self._decider or Decider.of(plugin)
        self._number += 1
        problem = None
        if ended.cut:
            problem = f"it has more than {len(ended.entries):,} events"
        elif not few:
            problem = f"more than {MOST_LEFT:,} tasks are kept after it"
        elif self._changed_at is not None and self._changed_at < ended.begun:
            problem = "the mode or the policy was changed in it"
        self.runs.append(
            WatchedRun(
                self._number,
                time.time(),
                ended.begun,
                decider.policy,
                decider.model,
                problem=problem,
            )
        )
        if problem is None:
            settings = controller.settings
            header = Header(VERSION, time.time(), decider.policy, decider.mode, settings)
            took = controller.chooser.recent_seconds
            ended = replace(ended, decision_seconds=median(took) if took else 0.0)
            if self._waiting is not None:
                self._note(self._waiting[0], problem="the next run ended before it was simulated")
            self._waiting = self._number, header, ended

    async def _simulate(
        self, process: ComparingProcess, number: int, header: Header, run: LoggedRun
    ) -> None:
        found: dict[str, Any]
        try:
            found = {"comparison": await asyncio.to_thread(process.compare, header, run)}
        except ComparisonError as error:
            found = {"problem": str(error)}
        finally:
            self._process = self._task = self._simulated = None
        self._note(number, **found)

    def _note(self, number: int, **found: Any) -> None:
        for place, each in enumerate(self.runs):
            if each.number == number:
                self.runs[place] = replace(each, **found)

    def is_simulated(self, number: int) -> bool:
        """Tell whether a run is being simulated, or is the next one."""
        waits = self._waiting is not None and self._waiting[0] == number and self.lookers > 0
        return waits or number == self._simulated

    def snapshot(self) -> list[dict[str, Any]]:
        """Describe the runs for `status()`, the newest last."""
        return [run.as_dict() for run in self.runs]
