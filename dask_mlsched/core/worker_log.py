"""What a trace tells of each worker: its tasks, its copies, its holds, and when it was there.

Numbers of tasks and workers may be used again, and keys may come back. Here every task that ever
was has a number of its own, in the order in which tasks became known, and so has every worker.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from dask_mlsched.core import events as ev
from dask_mlsched.core.trace import Names, Step, Trace

#: Stands for a task that is not known any more.
UNKNOWN = -1


@dataclass(slots=True)
class LoggedTask:
    """A task that was sent to a worker: times as the scheduler heard of it, in seconds."""

    task: int
    inputs: frozenset[int]
    sent: float
    #: When its end was heard of; how long it had computed, and the bytes that it made.
    heard: float = 0.0
    seconds: float = 0.0
    nbytes: int = 0
    #: When it left its worker's thread pool; None if it did not.
    seceded: float | None = None


@dataclass(frozen=True, slots=True)
class LoggedCopies:
    """Copies that a worker told of at once, in the order in which they happened."""

    time: float
    #: (array, True for a load, bytes, seconds)
    copies: tuple[tuple[int, bool, int, float], ...]


@dataclass(slots=True)
class WorkerLog:
    """One worker, from when it joined until it left."""

    address: str
    threads: int
    limit: int | None
    joined: float
    #: None if it was still there at the end.
    left: float | None = None
    #: Those that have ended, in the order in which that was heard of.
    tasks: list[LoggedTask] = field(default_factory=list)
    reports: list[LoggedCopies] = field(default_factory=list)
    #: Since when a slot was held, and until when.
    holds: list[tuple[float, float]] = field(default_factory=list)
    #: Tasks that ended without an array; nobody tells how long they had computed.
    stopped: int = 0


@dataclass(frozen=True, slots=True)
class WorkerLogs:
    """All workers of a recorded run."""

    #: Of every task that ever was.
    keys: Sequence[str]
    workers: Sequence[WorkerLog]
    #: When the first task was sent, and when the last one was heard of, in seconds.
    begin: float
    end: float


class _Reader:
    """Takes a trace in, entry by entry."""

    def __init__(self) -> None:
        self.keys: list[str] = []
        self.workers: list[WorkerLog] = []
        self._key: dict[int, str] = {}
        self._address: dict[int, str] = {}
        #: By the numbers that they have now: tasks, what they read, and workers.
        self._task: dict[int, int] = {}
        self._inputs: dict[int, frozenset[int]] = {}
        self._worker: dict[int, WorkerLog] = {}
        #: Tasks that were sent and have not ended, with their workers.
        self._open: dict[int, tuple[LoggedTask, WorkerLog]] = {}
        #: worker -> since when its slot is held, and until when it may be.
        self._held: dict[int, tuple[float, float]] = {}

    def named(self, names: Names) -> None:
        self._key.update(names.tasks)
        self._address.update(names.workers)

    def handle(self, step: Step) -> None:
        event = step.event
        match event:
            case ev.GraphArrived(tasks=specs):
                self._arrived(specs)
            case ev.DependenciesAdded(task=task, dependencies=dependencies):
                self._inputs[task] |= {self._task[each] for each in dependencies}
            case ev.TaskForgotten(task=task):
                del self._task[task], self._inputs[task]
            case ev.Decide(time=now):
                self._decided(now, step.instructions)
            case ev.ArraysMoved(time=now, worker=number, copies=copies) if copies:
                known = tuple(
                    (self._task.get(array, UNKNOWN), loaded, nbytes, seconds)
                    for array, loaded, nbytes, seconds in copies
                )
                self._worker[number].reports.append(LoggedCopies(now, known))
            case ev.WorkerJoined() | ev.WorkerLeft() | ev.LimitSeen():
                self._worker_event(event)
            case _:
                self._task_event(event)

    def _arrived(self, specs: Iterable[ev.TaskSpec]) -> None:
        for spec in specs:
            self._task[spec.task] = len(self.keys)
            self.keys.append(self._key.get(spec.task, str(spec.task)))
            self._inputs[spec.task] = frozenset(self._task[each] for each in spec.dependencies)

    def _task_event(self, event: ev.Event) -> None:
        match event:
            case ev.TaskStarted(time=now, task=task, worker=number):
                row = LoggedTask(self._task[task], self._inputs[task], now)
                self._open[task] = row, self._worker[number]
            case ev.TaskSeceded(time=now, task=task) if task in self._open:
                self._open[task][0].seceded = now
            case ev.TaskFinished(time=now, task=task, nbytes=nbytes, seconds=seconds):
                row, worker = self._open.pop(task)
                # A worker whose clock is set back may report less than nothing.
                row.heard, row.nbytes, row.seconds = now, nbytes, max(0.0, seconds)
                worker.tasks.append(row)
            case ev.TaskStopped(task=task) if task in self._open:
                self._open.pop(task)[1].stopped += 1
            case _:
                pass  # says nothing of a worker

    def _worker_event(self, event: ev.WorkerJoined | ev.WorkerLeft | ev.LimitSeen) -> None:
        number = event.worker
        match event:
            case ev.WorkerJoined(time=now, threads=threads, limit=limit):
                address = self._address.get(number, f"worker {number}")
                self._worker[number] = WorkerLog(address, threads, limit, now)
                self.workers.append(self._worker[number])
            case ev.LimitSeen(limit=limit):
                self._worker[number].limit = limit
            case ev.WorkerLeft(time=now):
                self._end_hold(number, now)
                self._worker.pop(number).left = now

    def _decided(self, now: float, instructions: Iterable[ev.Instruction]) -> None:
        for each in instructions:
            if isinstance(each, ev.Hold):
                self._held[each.worker] = each.time, each.until
            else:
                self._end_hold(each.worker, each.time)
        for number, (_, until) in list(self._held.items()):
            if now >= until:
                self._end_hold(number, now)

    def _end_hold(self, number: int, now: float) -> None:
        held = self._held.pop(number, None)
        if held is not None:
            self._worker[number].holds.append((held[0], now))

    def end(self) -> None:
        for number, (since, until) in self._held.items():
            self._worker[number].holds.append((since, until))


def worker_logs(trace: Trace) -> WorkerLogs:
    """Read what a trace tells of each worker.

    A hold ends when its slot gets a task, at the first decision after its deadline, or when its
    worker leaves.

    Parameters
    ----------
    trace
        May be cut: what stands in it counts.

    Raises
    ------
    ValueError
        If no task has ended in it.
    """
    reader = _Reader()
    for entry in trace.entries:
        if isinstance(entry, Names):
            reader.named(entry)
        elif isinstance(entry, Step):
            reader.handle(entry)
    reader.end()
    begun = [event.time for event in trace.events() if isinstance(event, ev.TaskStarted)]
    ended = [event.time for event in trace.events() if isinstance(event, ev.TaskFinished)]
    if not ended:
        msg = "no task of this trace has ended; expected a trace of a run that got so far"
        raise ValueError(msg)
    return WorkerLogs(reader.keys, reader.workers, min(begun), max(ended))
