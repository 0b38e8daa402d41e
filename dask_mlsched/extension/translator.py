"""Dask's callbacks as the core's events.

The translator knows which key has which number and in which state the
controller has each task, and from a task's new state in Dask it works out the
events that bring the controller there. It changes nothing in Dask.
"""

from __future__ import annotations

from collections.abc import Iterable
from time import monotonic
from typing import TYPE_CHECKING, Any

from dask.typing import Key

from dask_mlsched.core import events as ev
from dask_mlsched.core.controller import Controller
from dask_mlsched.core.graph import TaskState
from dask_mlsched.extension import parking
from dask_mlsched.extension.fetches import Fetched
from dask_mlsched.extension.numbering import Numbering

if TYPE_CHECKING:
    from distributed.scheduler import Scheduler, WorkerState
    from distributed.scheduler import TaskState as DaskTask


class Translator:
    """Feeds a controller from a scheduler.

    Parameters
    ----------
    scheduler
        Where the tasks and workers are.
    controller
        What the events go to; fresh, without tasks or workers.
    """

    def __init__(self, scheduler: Scheduler, controller: Controller) -> None:
        self.scheduler = scheduler
        self.controller = controller
        self.tasks: Numbering[Key] = Numbering()
        self.workers: Numbering[str] = Numbering()
        self._prefixes: Numbering[str] = Numbering()
        self._state = controller.graph.state

    # Names, for recordings

    def task_name(self, number: int) -> str:
        """Return a task's key as text."""
        return str(self.tasks.key(number))

    def prefix_name(self, number: int) -> str:
        """Return a prefix."""
        return self._prefixes.key(number)

    def worker_name(self, number: int) -> str:
        """Return a worker's address."""
        return self.workers.key(number)

    # Graphs

    def register(self, tasks: Iterable[DaskTask]) -> None:
        """Tell the controller of tasks, and of dependencies it has not seen; in any order."""
        now = monotonic()
        specs: list[ev.TaskSpec] = []
        new: list[DaskTask] = []
        changed: list[DaskTask] = []
        number_of = self.tasks.get
        for root in tasks:
            if number_of(root.key) is not None:
                if len(root.dependencies) != self._known_dependencies(root):
                    changed.append(root)
                continue
            # Depth first, dependencies before dependents, without recursion: chains are long.
            stack = [root]
            while stack:
                ts = stack[-1]
                if number_of(ts.key) is not None:
                    stack.pop()
                    continue
                missing = [dep for dep in ts.dependencies if number_of(dep.key) is None]
                if missing:
                    stack.extend(missing)
                    continue
                stack.pop()
                specs.append(self._spec(ts))
                new.append(ts)
        if specs:
            self.controller.handle(ev.GraphArrived(now, tuple(specs)))
        for ts in changed:
            self._dependencies_changed(ts)
        for ts in new:
            if ts.state not in ("released", "waiting"):
                self.follow(ts)

    def _known_dependencies(self, ts: DaskTask) -> int:
        number = self.tasks.get(ts.key)
        dependencies = self.controller.graph.dependencies
        # Numbers that were given out in this very call are not in the graph yet.
        if number is None or number >= len(dependencies) or not self.controller.graph.known(number):
            return len(ts.dependencies)
        return len(dependencies[number])

    def _spec(self, ts: DaskTask) -> ev.TaskSpec:
        number_of = self.tasks.get
        dependencies = tuple(number_of(dep.key) for dep in ts.dependencies)
        return ev.TaskSpec(
            self.tasks.add(ts.key),
            dependencies,  # type: ignore[arg-type]  # `register` gives dependencies their numbers first
            _priority(ts),
            self._prefixes.add(ts.prefix.name),
        )

    def _dependencies_changed(self, ts: DaskTask) -> None:
        self.register([dep for dep in ts.dependencies if self.tasks.get(dep.key) is None])
        number = self.tasks.get(ts.key)
        assert number is not None
        dependencies = tuple(self.tasks.add(dep.key) for dep in ts.dependencies)
        self.controller.handle(
            ev.DependenciesAdded(monotonic(), number, dependencies, _priority(ts))
        )

    # Tasks

    def follow(self, ts: DaskTask, startstops: Iterable[dict[str, Any]] = ()) -> None:
        """Bring the controller to the state that a task has in Dask now."""
        number = self.tasks.get(ts.key)
        state = ts.state
        if number is None:
            if state != "forgotten":
                self.register([ts])
            return
        handle = self.controller.handle
        now = monotonic()
        seen = self._state[number]
        if state == "processing":
            if seen != TaskState.RUNNING:
                if seen == TaskState.COMPUTED:
                    self._leave(number, seen, now)
                assert ts.processing_on is not None
                worker = self.worker(ts.processing_on)
                handle(ev.TaskStarted(now, number, worker))
        elif state == "memory":
            if seen == TaskState.RUNNING:
                handle(ev.TaskFinished(now, number, ts.get_nbytes(), _compute_seconds(startstops)))
            elif seen != TaskState.COMPUTED:
                self._leave(number, seen, now)
                holders = tuple(self.worker(ws) for ws in ts.who_has or ())
                handle(ev.ArrayAppeared(now, number, ts.get_nbytes(), holders))
        elif state == "no-worker" and parking.is_ours(ts):
            if seen not in (TaskState.PARKED, TaskState.SENT):
                self._leave(number, seen, now)
                handle(ev.TaskReady(now, number))
        else:
            self._leave(number, seen, now)
            if state == "forgotten":
                handle(ev.TaskForgotten(now, number))
                self.tasks.free(ts.key)

    def _leave(self, number: int, seen: TaskState, now: float) -> None:
        """Bring a task back to WAITING, whatever it was."""
        if seen == TaskState.PARKED:
            self.controller.handle(ev.TaskWithdrawn(now, number))
        elif seen in (TaskState.SENT, TaskState.RUNNING):
            self.controller.handle(ev.TaskStopped(now, number))
        elif seen == TaskState.COMPUTED:
            self.controller.handle(ev.ArrayReleased(now, number))

    # Workers

    def worker(self, ws: WorkerState) -> int:
        """Return the worker's number; tell the controller of it if it is new."""
        number = self.workers.get(ws.address)
        if number is None:
            number = self.workers.add(ws.address)
            now = monotonic()
            self.controller.handle(ev.WorkerJoined(now, number, max(1, ws.nthreads), None))
            self.follow_status(ws)
        return number

    def follow_status(self, ws: WorkerState) -> None:
        """Tell the controller whether the worker takes tasks."""
        number = self.workers.get(ws.address)
        if number is None:
            return
        paused = ws not in self.scheduler.running
        if paused != self.controller.devices[number].paused:
            kind = ev.WorkerPaused if paused else ev.WorkerResumed
            self.controller.handle(kind(monotonic(), number))

    def worker_left(self, address: str) -> None:
        """Tell the controller that a worker is gone."""
        number = self.workers.get(address)
        if number is not None:
            self.controller.handle(ev.WorkerLeft(monotonic(), number))
            self.workers.free(address)

    def follow_seceded(self) -> None:
        """Tell the controller of tasks that left their worker's thread pool.

        Dask has no callback for it, so this looks at every worker's long-running tasks.
        """
        for ws in self.scheduler.workers.values():
            worker = self.workers.get(ws.address)
            if not ws.long_running or worker is None:
                continue
            in_flight = self.controller.devices[worker].in_flight
            for ts in ws.long_running:
                number = self.tasks.get(ts.key)
                if number in in_flight:
                    self.controller.handle(ev.TaskSeceded(monotonic(), number))

    # Reports

    def limit_seen(self, address: str, limit: int | None) -> None:
        """Pass on the capacity of a worker's fast tier."""
        ws = self.scheduler.workers.get(address)
        if ws is not None:
            self.controller.handle(ev.LimitSeen(monotonic(), self.worker(ws), limit))

    def moved(
        self,
        address: str,
        moves: Iterable[tuple[Key, str, int, float]],
        fetches: Iterable[Fetched] = (),
    ) -> None:
        """Pass on copies between a worker's tiers, and what it fetched; unknown keys are -1."""
        worker = self.workers.get(address)
        if worker is None:
            return
        known: list[tuple[int, bool]] = []
        copies: list[tuple[int, bool, int, float]] = []
        total_bytes, total_seconds = 0, 0.0
        for key, direction, nbytes, seconds in moves:
            total_bytes += nbytes
            total_seconds += seconds
            number = self.tasks.get(key)
            loaded = direction == "load"
            if number is not None:
                known.append((number, loaded))
            copies.append((-1 if number is None else number, loaded, nbytes, seconds))
        self.controller.handle(
            ev.ArraysMoved(
                monotonic(),
                worker,
                tuple(known),
                total_bytes,
                total_seconds,
                tuple(copies),
                tuple(map(self._fetch, fetches)),
            )
        )

    def _fetch(self, fetched: Fetched) -> tuple[int, float, tuple[tuple[int, int], ...]]:
        source = self.workers.get(fetched.source)
        arrays = tuple(
            (-1 if (number := self.tasks.get(key)) is None else number, nbytes)
            for key, nbytes in fetched.arrays
        )
        return -1 if source is None else source, fetched.seconds, arrays

    def resident(self, address: str, resident: Iterable[tuple[Key, int]]) -> None:
        """Pass on a worker's own list of what is resident."""
        worker = self.workers.get(address)
        if worker is None:
            return
        numbers = (self.tasks.get(key) for key, _ in resident)
        known = tuple(number for number in numbers if number is not None)
        self.controller.handle(ev.ResidencySeen(monotonic(), worker, known))


def _priority(ts: DaskTask) -> ev.Priority:
    # Data that was scattered has none; it never runs.
    return tuple(ts.priority) if ts.priority else (0, 0, 0)


def _compute_seconds(startstops: Iterable[dict[str, Any]]) -> float:
    return sum(
        (entry["stop"] - entry["start"] for entry in startstops if entry["action"] == "compute"),
        start=0.0,
    )
