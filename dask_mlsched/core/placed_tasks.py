"""When the tasks of a worker computed, and on which of its threads, as far as a trace tells.

How long a task computed was measured. When, is between two times: it had been sent and its loads
were over; and its end was heard of after. A task is placed in the middle between the two, or as
near to that as it finds a place between copies: where the event loop copies, what it is to begin
and to take in waits. Which thread it had, nobody wrote down: it gets the one that was free last
before.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from dask_mlsched.core.placed_copies import PlacedCopy
from dask_mlsched.core.worker_log import LoggedTask, WorkerLog

#: So many copies are looked at to find a place between them.
_NEAR: Final = 32


@dataclass(frozen=True, slots=True)
class PlacedTask:
    """A task on a thread."""

    task: LoggedTask
    #: Of computing, in seconds; shorter than measured where there was no room.
    start: float
    end: float

    @property
    def cut_seconds(self) -> float:
        """What it is shorter than it was."""
        return max(0.0, thread_seconds(self.task) - (self.end - self.start))


def thread_seconds(task: LoggedTask) -> float:
    """Return how long a task computed on a thread of the pool."""
    if task.seceded is None:
        return task.seconds
    return min(task.seconds, max(0.0, task.seceded - task.sent))


def place_tasks(
    worker: WorkerLog, copies: Sequence[PlacedCopy], message: float, begin: float
) -> list[list[PlacedTask]]:
    """Place a worker's tasks on its threads; those of one thread do not overlap.

    Parameters
    ----------
    copies
        Of the same worker, placed.
    message
        Seconds from the scheduler to the worker, and back.
    begin
        When the run began: nothing was computed before.
    """
    earliest = [each.sent + message for each in worker.tasks]
    for copy in copies:
        if copy.reader is not None:
            earliest[copy.reader] = max(earliest[copy.reader], copy.end)
    free = [begin] * worker.threads
    rows: list[list[int]] = [[] for _ in free]
    for place, each in enumerate(worker.tasks):
        latest = _end(each, message) - thread_seconds(each)
        thread = max(range(len(free)), key=lambda number: _fitness(free[number], latest))
        start = max(free[thread], min(earliest[place], latest))
        free[thread] = start + thread_seconds(each)
        rows[thread].append(place)
    starts = [copy.start for copy in copies]
    made = []
    for row in rows:
        tasks = [worker.tasks[place] for place in row]
        bounds = _bounds(tasks, [earliest[place] for place in row], message)
        made.append(_on_thread(tasks, bounds, copies, starts, begin))
    return made


def _end(task: LoggedTask, message: float) -> float:
    """Return when a task had left its thread at the latest."""
    heard = task.heard - message
    return heard if task.seceded is None else min(heard, task.seceded)


def _fitness(free: float, latest: float) -> tuple[bool, float]:
    """Say how well a thread suits: one that was free in time, and of these the one free last."""
    in_time = free <= latest
    return in_time, free if in_time else -free


def _bounds(
    tasks: Sequence[LoggedTask], earliest: Sequence[float], message: float
) -> list[tuple[float, float]]:
    """Return when each task of a thread began at the earliest and at the latest."""
    bounds: list[tuple[float, float]] = []
    following = math.inf
    for task, first in zip(reversed(tasks), reversed(earliest), strict=True):
        following = min(_end(task, message), following) - thread_seconds(task)
        bounds.append((min(first, following), following))
    bounds.reverse()
    return bounds


def _on_thread(
    tasks: Sequence[LoggedTask],
    bounds: Sequence[tuple[float, float]],
    copies: Sequence[PlacedCopy],
    starts: Sequence[float],
    begin: float,
) -> list[PlacedTask]:
    placed: list[PlacedTask] = []
    free = begin
    for task, (earliest, latest) in zip(tasks, bounds, strict=True):
        seconds = thread_seconds(task)
        first = max(free, earliest)
        if first <= latest:
            start = _between_copies(first, latest, seconds, copies, starts)
            end = start + seconds
        else:
            # The tasks before had no room either: something has to be shorter than it was.
            start, end = free, max(free, latest + seconds)
        placed.append(PlacedTask(task, start, end))
        free = end
    return placed


def _between_copies(
    first: float,
    last: float,
    seconds: float,
    copies: Sequence[PlacedCopy],
    starts: Sequence[float],
) -> float:
    """Choose when to begin: while least is copied, and of such times the one nearest the middle."""
    near = copies[max(0, bisect_right(starts, first) - 1) : bisect_left(starts, last + seconds)][
        :_NEAR
    ]
    middle = (first + last) / 2
    times = [middle]
    for copy in near:
        times += [min(max(first, time), last) for time in (copy.start - seconds, copy.end)]
    return min(
        times, key=lambda time: (round(_copied(near, time, time + seconds), 6), abs(time - middle))
    )


def _copied(copies: Sequence[PlacedCopy], start: float, end: float) -> float:
    """Sum the seconds of copies between two times."""
    return sum(max(0.0, min(copy.end, end) - max(copy.start, start)) for copy in copies)
