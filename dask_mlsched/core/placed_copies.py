"""When the copies of a worker were made, as far as its reports tell.

A report has copies in their order, each with its bytes and seconds, and comes some milliseconds
after the last of them. So copies are placed backwards from their report, one after the other, as
late as they can have been: a load, besides, was over before the task that read the array began to
compute. Where more was copied than the time since the report before has room for, copies were made
at the same time, and each is drawn as much shorter as it takes for them to stand side by side.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from dask_mlsched.core.worker_log import LoggedTask, WorkerLog

#: A report waits so many seconds for more to tell, and so does the message that it travels in.
_LATE: Final = 0.01

#: So much later than it was sent a report may be heard of, where the scheduler is busy.
_HEARD: Final = 0.1


@dataclass(frozen=True, slots=True)
class PlacedCopy:
    """One copy on one worker."""

    array: int
    #: True for a load into the fast tier, False for an eviction from it.
    loaded: bool
    nbytes: int
    #: As measured; what is drawn may be shorter.
    seconds: float
    start: float
    end: float
    #: Place of the task that read the array, among those that ended; None for an eviction, or if
    #: no task is found.
    reader: int | None = None


def place_copies(worker: WorkerLog, message: float) -> list[PlacedCopy]:
    """Place the copies of a worker, in order; none overlaps another.

    Parameters
    ----------
    message
        Seconds from the worker to the scheduler.
    """
    readers = _readers(worker.tasks)
    heard = [each.heard for each in worker.tasks]
    times = [report.time for report in worker.reports]
    placed: list[PlacedCopy] = []
    following = float("inf")
    for report in reversed(worker.reports):
        # Reports that came close together may be parts of one.
        before = bisect_left(times, report.time - _LATE) - 1
        earliest = times[before] - message - _HEARD if before >= 0 else worker.joined
        copies = [copy for copy in report.copies if copy[3] > 0]
        found = [
            _reader(readers.get(array, ()), heard, worker.tasks, report.time) if loaded else None
            for array, loaded, _, _ in copies
        ]
        if not copies:
            continue
        begun = [
            None
            if place is None
            else worker.tasks[place].heard - message - worker.tasks[place].seconds
            for place in found
        ]
        ends = _latest_ends(copies, begun, earliest, min(report.time - message, following))
        window = _within(copies, found, ends, earliest)
        placed += reversed(window)
        following = window[0].start
    placed.reverse()
    return placed


def _latest_ends(
    copies: Sequence[tuple[int, bool, int, float]],
    begun: Sequence[float | None],
    earliest: float,
    latest: float,
) -> list[float]:
    """Return when each copy ended at the latest, were there all the time in the world before.

    `begun` says for each when the task that read the array began to compute, at the latest.
    """
    ends: list[float] = []
    for (*_, seconds), start in zip(reversed(copies), reversed(begun), strict=True):
        # One that began before the report before was another one.
        if start is not None and start > earliest:
            latest = min(latest, start)
        ends.append(latest)
        latest -= seconds
    ends.reverse()
    return ends


def _within(
    copies: Sequence[tuple[int, bool, int, float]],
    found: Sequence[int | None],
    ends: Sequence[float],
    earliest: float,
) -> list[PlacedCopy]:
    """Place the copies of a report; squeeze them together where they began before `earliest`."""
    last = ends[-1]
    # A long copy may have been under way when the report before was sent.
    earliest = min(earliest, last - max(seconds for *_, seconds in copies))
    starts = [end - copy[3] for end, copy in zip(ends, copies, strict=True)]
    share = 1.0
    if starts[0] < earliest:
        share = (last - earliest) / (last - starts[0])
    return [
        PlacedCopy(
            *copy,
            start=last - (last - start) * share,
            end=last - (last - end) * share,
            reader=reader,
        )
        for copy, reader, start, end in zip(copies, found, starts, ends, strict=True)
    ]


def _readers(tasks: Sequence[LoggedTask]) -> Mapping[int, list[int]]:
    """Return array -> places of the tasks that read it."""
    found: dict[int, list[int]] = {}
    for place, each in enumerate(tasks):
        for array in each.inputs:
            found.setdefault(array, []).append(place)
    return found


def _reader(
    places: Sequence[int], heard: Sequence[float], tasks: Sequence[LoggedTask], reported: float
) -> int | None:
    """Find the first task that reads an array, was there, and had not ended before.

    Only if there is none, one that ended so shortly before that the report came too late for it.
    """
    for since in (reported, reported - _LATE):
        first = bisect_left(heard, since)
        for place in places[bisect_left(places, first) :]:
            if tasks[place].sent <= reported:
                return place
    return None
