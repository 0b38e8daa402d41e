"""How full the fast tier of each worker was over time, as far as a trace tells.

Put together from what the scheduler heard, when it heard it: arrays that tasks made and that were
fetched, loads and evictions, releases, and the lists of all that is resident which workers send
once in a while. Messages come some milliseconds late, so a figure may stand above the limit for a
moment: the end of a task is heard of before what went out for its array.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from dask_mlsched.core import events as ev
from dask_mlsched.core.trace import Trace


@dataclass(eq=False, slots=True)
class Level:
    """One worker's fast tier; times and bytes of a step function."""

    worker: int
    limit: int | None
    times: list[float] = field(default_factory=list)
    nbytes: list[int] = field(default_factory=list)
    #: Whether anything was ever copied: without a copy it may be a worker without tiers.
    copied: bool = False


class _Levels:
    """All workers, event by event."""

    def __init__(self) -> None:
        self.all: list[Level] = []
        self._begun = False
        self._level: dict[int, Level] = {}
        #: worker -> what is resident, with bytes; and all that it has ever got.
        self._resident: dict[int, dict[int, int]] = {}
        self._got: dict[int, set[int]] = {}
        self._sums: dict[int, int] = {}
        #: By task: sizes of arrays, inputs, and the worker that it was sent to.
        self._nbytes: dict[int, int] = {}
        self._inputs: dict[int, tuple[int, ...]] = {}
        self._where: dict[int, int] = {}
        #: Tasks under way whose arrays were evicted before their end was heard of.
        self._evicted_early: set[int] = set()

    def handle(self, event: ev.Event) -> None:
        match event:
            case ev.GraphArrived(tasks=specs):
                self._inputs.update((spec.task, spec.dependencies) for spec in specs)
            case ev.DependenciesAdded(task=task, dependencies=dependencies):
                self._inputs[task] += dependencies
            case ev.TaskStarted() | ev.TaskStopped() | ev.TaskFinished():
                self._task_event(event)
            case ev.ArrayAppeared(time=now, task=task, nbytes=nbytes, workers=workers):
                self._nbytes[task] = nbytes
                for worker in workers:
                    self._come(now, worker, [task])
            case ev.ArrayReleased(time=now, task=task):
                # Without a size it comes no more: the end of its last reader is heard of later.
                self._nbytes.pop(task, None)
                for worker, resident in self._resident.items():
                    self._got[worker].discard(task)
                    if task in resident:
                        self._go(now, worker, [task])
            case ev.ArraysMoved() | ev.ResidencySeen():
                self._told(event)
            case ev.WorkerJoined() | ev.LimitSeen() | ev.WorkerLeft():
                self._worker_event(event)
            case _:
                pass  # moves nothing

    def _task_event(self, event: ev.TaskStarted | ev.TaskStopped | ev.TaskFinished) -> None:
        match event:
            case ev.TaskStarted(task=task, worker=worker):
                self._begun = True
                self._where[task] = worker
            case ev.TaskStopped(task=task):
                self._where.pop(task, None)
                self._evicted_early.discard(task)
            case ev.TaskFinished(time=now, task=task, nbytes=nbytes):
                self._finished(now, task, nbytes)

    def _finished(self, now: float, task: int, nbytes: int) -> None:
        self._nbytes[task] = nbytes
        worker = self._where.pop(task)
        # What it read and nobody told of came from another worker.
        here = self._got[worker]
        self._come(now, worker, [each for each in self._inputs[task] if each not in here])
        if task in self._evicted_early:
            self._evicted_early.discard(task)
            here.add(task)
        else:
            self._come(now, worker, [task])

    def _told(self, event: ev.ArraysMoved | ev.ResidencySeen) -> None:
        now, worker = event.time, event.worker
        match event:
            case ev.ArraysMoved(moves=moves, fetches=fetches):
                self._level[worker].copied |= bool(moves)
                self._come(now, worker, [a for *_, arrays in fetches for a, _ in arrays])
                for array, loaded in moves:
                    if self._where.get(array) == worker:
                        # It is made already: its end comes in another message, which is later.
                        (self._evicted_early.discard if loaded else self._evicted_early.add)(array)
                    elif loaded:
                        self._come(now, worker, [array])
                    else:
                        self._go(now, worker, [array])
            case ev.ResidencySeen(resident=seen):
                known = {a: self._nbytes[a] for a in seen if a in self._nbytes}
                self._resident[worker] = known
                self._got[worker].update(known)
                self._note(now, worker, sum(known.values()))

    def _worker_event(self, event: ev.WorkerJoined | ev.LimitSeen | ev.WorkerLeft) -> None:
        worker = event.worker
        match event:
            case ev.WorkerJoined(time=now, limit=limit):
                level = self._level[worker] = Level(len(self.all), limit)
                self.all.append(level)
                self._resident[worker], self._got[worker] = {}, set()
                self._note(now, worker, 0)
            case ev.LimitSeen(limit=limit):
                self._level[worker].limit = limit
            case ev.WorkerLeft(time=now):
                self._note(now, worker, 0)
                if not self._begun:
                    self._had_no_part(self._level[worker])
                for table in (self._level, self._resident, self._got, self._sums):
                    table.pop(worker)

    def _had_no_part(self, level: Level) -> None:
        self.all.remove(level)
        for place, each in enumerate(self.all):
            each.worker = place

    def _come(self, now: float, worker: int, arrays: Iterable[int]) -> None:
        limit, resident = self._level[worker].limit, self._resident[worker]
        nbytes = self._sums[worker]
        for array in arrays:
            size = self._nbytes.get(array)
            if size is None:
                continue
            self._got[worker].add(array)
            # An array larger than the limit stays in the slow tier.
            if limit is None or size <= limit:
                nbytes += size - resident.get(array, 0)
                resident[array] = size
        self._note(now, worker, nbytes)

    def _go(self, now: float, worker: int, arrays: Iterable[int]) -> None:
        resident = self._resident[worker]
        self._note(now, worker, self._sums[worker] - sum(resident.pop(a, 0) for a in arrays))

    def _note(self, now: float, worker: int, nbytes: int) -> None:
        level = self._level[worker]
        self._sums[worker] = nbytes
        if level.times and level.times[-1] == now:
            level.nbytes[-1] = nbytes
        elif not level.nbytes or level.nbytes[-1] != nbytes:
            level.times.append(now)
            level.nbytes.append(nbytes)


def resident_bytes(trace: Trace) -> Sequence[Level]:
    """Follow the fast tier of each worker, in the order in which they joined.

    Those that left before the first task began are not among them.

    Parameters
    ----------
    trace
        May be cut: what stands in it counts.

    Returns
    -------
    Sequence of Level
        Times are those of the trace's events.
    """
    levels = _Levels()
    for event in trace.events():
        levels.handle(event)
    return levels.all
