"""When the tasks of a worker computed, and on which of its threads, as far as a trace tells.

How long a task computed was measured. When, is between two times: it had been sent and its loads
were over; and its end was heard of after. A task is placed as early as that allows, for a worker
computes as soon as it can and tells of it when its event loop comes to that. Which thread it had,
nobody wrote down: it gets the one that was free last before.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dask_mlsched.core.placed_copies import PlacedCopy
from dask_mlsched.core.worker_log import LoggedTask, WorkerLog


@dataclass(frozen=True, slots=True)
class PlacedTask:
    """A task on a thread."""

    task: LoggedTask
    #: Of computing, in seconds; shorter than measured where there was no room.
    start: float
    end: float


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
        latest = _end(each, message) - _seconds(each)
        thread = max(range(len(free)), key=lambda number: _fitness(free[number], latest))
        start = max(free[thread], min(earliest[place], latest))
        free[thread] = start + _seconds(each)
        rows[thread].append(place)
    return [_on_thread(worker.tasks, row, earliest, message, begin) for row in rows]


def _end(task: LoggedTask, message: float) -> float:
    """Return when a task had left its thread at the latest."""
    heard = task.heard - message
    return heard if task.seceded is None else min(heard, task.seceded)


def _seconds(task: LoggedTask) -> float:
    """Return how long a task computed on a thread of the pool."""
    if task.seceded is None:
        return task.seconds
    return min(task.seconds, max(0.0, task.seceded - task.sent))


def _fitness(free: float, latest: float) -> tuple[bool, float]:
    """Say how well a thread suits: one that was free in time, and of these the one free last."""
    in_time = free <= latest
    return in_time, free if in_time else -free


def _on_thread(
    tasks: Sequence[LoggedTask],
    row: Sequence[int],
    earliest: Sequence[float],
    message: float,
    begin: float,
) -> list[PlacedTask]:
    latest_starts: list[float] = []
    following = float("inf")
    for place in reversed(row):
        following = min(_end(tasks[place], message), following) - _seconds(tasks[place])
        latest_starts.append(following)
    placed: list[PlacedTask] = []
    free = begin
    for place, latest in zip(row, reversed(latest_starts), strict=True):
        start = max(free, min(earliest[place], latest))
        # Later than the latest start only where all before had no room since the beginning.
        end = max(start, latest + _seconds(tasks[place]))
        end = min(end, start + _seconds(tasks[place]))
        placed.append(PlacedTask(tasks[place], start, end))
        free = end
    return placed
