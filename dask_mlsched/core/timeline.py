"""What every thread of a recorded run did, from its first task to its last: five activities.

A thread *computes* while a task's function runs on it. While it does not, and its next task is on
the worker already, or the last one has not been heard of, what the worker copies is what it waits
for: *load* or *evict*. What is left is *hold* while a slot of the worker was held free for a better
task, and *idle* otherwise: nothing to do, messages, arrays of other workers, the event loop.

The five add up to the time for which the thread was there. How long each task computed and each
copy took was measured; when, is put together (`placed_tasks`, `placed_copies`).
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal, TypeAlias

from dask_mlsched.core.placed_copies import PlacedCopy, place_copies
from dask_mlsched.core.placed_tasks import PlacedTask, place_tasks
from dask_mlsched.core.trace import Trace
from dask_mlsched.core.worker_log import UNKNOWN, WorkerLog, WorkerLogs, worker_logs

Activity: TypeAlias = Literal["compute", "load", "evict", "hold", "idle"]
ACTIVITIES: Final[tuple[Activity, ...]] = ("compute", "load", "evict", "hold", "idle")


@dataclass(frozen=True, slots=True)
class Span:
    """One thing that went on for a while; times are seconds since the run began."""

    activity: Activity
    start: float
    end: float
    #: The task that computed, or whose array was copied; `UNKNOWN` for none.
    task: int = UNKNOWN
    nbytes: int = 0
    #: As measured, where that is known; what is drawn may be shorter.
    seconds: float | None = None

    @property
    def length(self) -> float:
        """Seconds from start to end."""
        return self.end - self.start


@dataclass(frozen=True, slots=True)
class WorkerTimeline:
    """One worker."""

    #: How many of those that were there in the run had joined before it.
    number: int
    address: str
    limit: int | None
    #: From when until when it was there.
    start: float
    end: float
    #: [threads] what each did: without gaps, in order.
    threads: tuple[tuple[Span, ...], ...]
    #: All its copies, in order: those that threads waited for, and those beside computing.
    copies: tuple[Span, ...]
    #: Tasks that ended without an array.
    stopped: int
    #: What tasks and copies are drawn shorter than they were, for want of room.
    cut_seconds: float

    def seconds(self) -> dict[Activity, float]:
        """Sum what its threads did."""
        return _sums(span for spans in self.threads for span in spans)

    def copy_seconds(self) -> float:
        """Sum what its copies took, as measured."""
        return sum(span.seconds or 0.0 for span in self.copies)


@dataclass(frozen=True, slots=True)
class Timeline:
    """All workers of a run."""

    #: When the first task was sent, on the clock of the trace's events.
    begin: float
    #: Seconds from then until the last one was heard of.
    makespan: float
    keys: Sequence[str]
    workers: tuple[WorkerTimeline, ...]

    def seconds(self) -> dict[Activity, float]:
        """Sum what all threads did."""
        return _sums(span for worker in self.workers for spans in worker.threads for span in spans)


def _sums(spans: Iterator[Span]) -> dict[Activity, float]:
    sums: dict[Activity, float] = dict.fromkeys(ACTIVITIES, 0.0)
    for span in spans:
        sums[span.activity] += span.length
    return sums


def timeline(trace: Trace, message: float = 0.0) -> Timeline:
    """Put together what every thread did.

    Parameters
    ----------
    trace
        May be cut: what stands in it counts.
    message
        Seconds from a worker to the scheduler, and back.

    Raises
    ------
    ValueError
        If no task has ended in it.
    """
    log = worker_logs(trace)
    workers: list[WorkerTimeline] = []
    for worker in log.workers:
        left = log.end if worker.left is None else min(worker.left, log.end)
        joined = max(worker.joined, log.begin)
        if joined < left:
            workers.append(_worker(log, len(workers), worker, joined, left, message))
    return Timeline(log.begin, log.end - log.begin, log.keys, tuple(workers))


def _worker(
    log: WorkerLogs, number: int, worker: WorkerLog, joined: float, left: float, message: float
) -> WorkerTimeline:
    copies = place_copies(worker, message)
    rows = place_tasks(worker, copies, message, joined)
    made = [_copied(copy, log.begin) for copy in copies]
    window = joined - log.begin, left - log.begin
    return WorkerTimeline(
        number,
        worker.address,
        worker.limit,
        *window,
        tuple(_thread(row, worker, made, log.begin, window) for row in rows),
        tuple(_clipped(made, *window)),
        worker.stopped,
        sum(max(0.0, each.seconds - (each.end - each.start)) for each in copies)
        + sum(each.cut_seconds for row in rows for each in row),
    )


def _copied(copy: PlacedCopy, begin: float) -> Span:
    activity: Activity = "load" if copy.loaded else "evict"
    return Span(
        activity, copy.start - begin, copy.end - begin, copy.array, copy.nbytes, copy.seconds
    )


def _thread(
    row: Sequence[PlacedTask],
    worker: WorkerLog,
    copies: Sequence[Span],
    begin: float,
    window: tuple[float, float],
) -> tuple[Span, ...]:
    """Join what a thread computed with what went on between."""
    holds = [Span("hold", since - begin, until - begin) for since, until in worker.holds]
    spans: list[Span] = []
    now = heard = window[0]
    for each in row:
        start, end = (min(max(time - begin, now), window[1]) for time in (each.start, each.end))
        sent = min(max(each.task.sent - begin, now, heard), start)
        spans += _between(now, min(heard, start), copies, holds)
        spans += _between(max(now, min(heard, start)), sent, (), holds)
        spans += _between(sent, start, copies, holds)
        if end > start:
            task = each.task
            spans.append(Span("compute", start, end, task.task, task.nbytes, task.seconds))
        now, heard = end, each.task.heard - begin
    spans += _between(now, min(heard, window[1]), copies, holds)
    spans += _between(max(now, min(heard, window[1])), window[1], (), holds)
    return tuple(_joined(spans))


def _between(
    start: float, end: float, copies: Sequence[Span], holds: Sequence[Span]
) -> Iterator[Span]:
    """Yield what a thread did that did not compute: copies before holds, and else nothing."""
    now = start
    for copy in _clipped(copies, start, end):
        yield from _held(now, copy.start, holds)
        yield copy
        now = copy.end
    yield from _held(now, end, holds)


def _held(start: float, end: float, holds: Sequence[Span]) -> Iterator[Span]:
    now = start
    for hold in _clipped(holds, start, end):
        if hold.start > now:
            yield Span("idle", now, hold.start)
        yield hold
        now = hold.end
    if end > now:
        yield Span("idle", now, end)


def _clipped(spans: Sequence[Span], start: float, end: float) -> Iterator[Span]:
    """Yield the parts of disjoint spans, in order, that lie between two times."""
    first = max(0, bisect_right(spans, start, key=_start) - 1)
    for place in range(first, len(spans)):
        span = spans[place]
        if span.start >= end:
            return
        if min(span.end, end) > max(span.start, start):
            yield replace(span, start=max(span.start, start), end=min(span.end, end))


def _start(span: Span) -> float:
    return span.start


def _joined(spans: Iterable[Span]) -> Iterator[Span]:
    """Join spans of holding or idling that follow each other."""
    last: Span | None = None
    for span in spans:
        if last is not None and span.activity == last.activity and span.seconds is None:
            last = replace(last, end=span.end)
            continue
        if last is not None:
            yield last
        last = span
    if last is not None:
        yield last
