"""What messages and event loops took in a recorded run, besides computing and copying.

What is left of the time between the ends of two tasks on a worker, after computing and copying, is
the worker's event loop; where the worker had nothing else to do, it is also a message there and one
back, and waiting for arrays of other workers. Tasks that were sent to an idle worker and those that
were not tell the two apart.
"""

from __future__ import annotations

import heapq
import math
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import fmean, median
from typing import Final

from dask_mlsched.core import events as ev
from dask_mlsched.core.costs import Costs
from dask_mlsched.core.trace import Copy, Fetch, Trace

#: Seconds that a message takes where a trace does not tell; it takes no less and no more than the
#: others. Dask collects messages for 2 ms in one direction and 5 ms in the other, but only while
#: others were sent just before. What takes longer was no message, but a worker that was busy.
_MESSAGE: Final = 0.002
_QUICKEST: Final = 0.001
_SLOWEST: Final = 0.005

#: So many tasks must have been sent to an idle worker, and as many to a busy one, to tell.
_ENOUGH: Final = 5

#: The two figures depend on each other; so many rounds bring them together.
_ROUNDS: Final = 20

#: A fetch is heard of so many seconds after the end of a task that needed it, at most: reports
#: wait for more to tell.
_REPORT: Final = 0.01

#: A load is for one of so many tasks that end next on its worker.
_AHEAD: Final = 50


@dataclass(slots=True)
class _Ended:
    """A task that has ended on a worker."""

    task: int
    inputs: frozenset[int]
    #: When it was sent, and when the scheduler heard of its end.
    sent: float
    heard: float
    #: Of computing, and of copies for it.
    seconds: float
    #: Of waiting for what it reads and other workers made.
    fetch_seconds: float = 0.0
    load_seconds: float = 0.0
    evict_seconds: float = 0.0


def overheads(
    trace: Trace, copies: Sequence[Copy], fetches: Sequence[Fetch], costs: Costs
) -> tuple[float, float]:
    """Estimate the seconds of a message, and those that a worker spends on each task.

    Copies take what was fitted: what single ones took beyond that is for the overheads to explain.
    Waiting for another worker's arrays took what was measured: how long that worker let wait, the
    simulation finds by itself.

    Parameters
    ----------
    trace
        With at least one task that has ended.
    copies, fetches
        The trace's.
    costs
        What was fitted to them.
    """
    threads = {e.worker: e.threads for e in trace.events() if isinstance(e, ev.WorkerJoined)}
    workers = []
    for worker, count in threads.items():
        ended = _ended(trace, worker)
        _add_copies(ended, [copy for copy in copies if copy.worker == worker], costs)
        if fetches:
            _add_fetches(ended, [fetch for fetch in fetches if fetch.worker == worker])
        else:
            _guess_fetches(trace, ended, costs)
        workers.append((ended, count))
    message, task = _MESSAGE, 0.0
    for _ in range(_ROUNDS):
        idle: list[float] = []
        busy: list[float] = []
        for ended, count in workers:
            for waited, left in _left(ended, count, message, task):
                (idle if waited else busy).append(left)
        # A makespan is a sum, so the mean: what few tasks have to wait for counts as well.
        task = fmean([*idle, *busy])
        if min(len(idle), len(busy)) < _ENOUGH:
            message = _clamped(message + min(0.0, task))
        else:
            message = _clamped(message + (median(idle) - median(busy)) / 4)
        task = max(0.0, task)
    return message, task


def _clamped(message: float) -> float:
    return min(max(_QUICKEST, message), _SLOWEST)


def _left(
    ended: Sequence[_Ended], threads: int, message: float, task_seconds: float
) -> Iterator[tuple[bool, float]]:
    """Yield for each task whether its thread waited for it, and the seconds that nothing explains.

    As the worker saw it: what the scheduler heard left it a message before that, and if the next
    task was there already, after that had been begun.
    """
    free = [-math.inf] * threads
    for number, each in enumerate(ended):
        end = each.heard - message
        if number + 1 < len(ended):
            following = ended[number + 1]
            earlier = end - task_seconds - following.load_seconds
            if following.sent + message + following.fetch_seconds <= earlier:
                end = earlier
        before = heapq.heapreplace(free, end)
        arrived = each.sent + message + each.fetch_seconds
        explained = each.seconds + each.load_seconds + each.evict_seconds
        yield arrived > before, end - max(arrived, before) - explained


def _ended(trace: Trace, worker: int) -> list[_Ended]:
    """List the tasks that ended on a worker, as they did."""
    inputs: dict[int, frozenset[int]] = {}
    begun: dict[int, float] = {}
    found: list[_Ended] = []
    for event in trace.events():
        match event:
            case ev.GraphArrived(tasks=specs):
                inputs.update((spec.task, frozenset(spec.dependencies)) for spec in specs)
            case ev.TaskStarted(time=time, task=task, worker=where) if where == worker:
                begun[task] = time
            case ev.TaskFinished(time=time, task=task, seconds=seconds) if task in begun:
                row = _Ended(task, inputs[task], begun.pop(task), time, max(0.0, seconds))
                found.append(row)
    return found


def _add_fetches(ended: Sequence[_Ended], fetches: Sequence[Fetch]) -> None:
    """Add the seconds during which answers were awaited, to the tasks that they were for.

    An answer is for the first task that ended after it and reads an array of it.
    """
    heard = [each.heard for each in ended]
    #: place -> until when the answers so far were awaited.
    until: dict[int, float] = {}
    for fetch in fetches:
        place = bisect_left(heard, fetch.time - _REPORT)
        readers = [next(_readers(ended, array, place), None) for array, _ in fetch.arrays]
        first = min((reader for reader in readers if reader is not None), default=None)
        if first is not None:
            # Those of several workers come side by side, those of one come one after the other.
            begun = max(fetch.time - fetch.seconds, until.get(first, ended[first].sent))
            ended[first].fetch_seconds += max(0.0, fetch.time - begun)
            until[first] = max(begun, fetch.time)


def _guess_fetches(trace: Trace, ended: Sequence[_Ended], costs: Costs) -> None:
    """Take every array of another worker to be fetched once, where a trace does not tell."""
    elsewhere: dict[int, int] = {}
    rows = iter(ended)
    row = next(rows, None)
    for event in trace.events():
        if not isinstance(event, ev.TaskFinished):
            continue
        if row is None or (row.task, row.heard) != (event.task, event.time):
            elsewhere[event.task] = event.nbytes
            continue
        row.fetch_seconds = sum(
            costs.send.seconds(elsewhere.pop(array)) for array in row.inputs if array in elsewhere
        )
        row = next(rows, None)


def _add_copies(ended: Sequence[_Ended], copies: Sequence[Copy], costs: Costs) -> None:
    """Add the seconds of copies to the tasks that they were for.

    A load is for the next task that reads the array, and evictions that follow are, too. Copies
    take what was fitted: what single ones took beyond that is for the overheads to explain.
    """
    if not ended:
        return
    place = 0
    for copy in copies:
        if copy.loaded:
            place = next(_readers(ended, copy.array, place), place)
            ended[place].load_seconds += costs.load.seconds(copy.nbytes)
        elif copy.seconds > 0:
            ended[place].evict_seconds += costs.evict.seconds(copy.nbytes)


def _readers(ended: Sequence[_Ended], array: int, first: int) -> Iterator[int]:
    for place in range(first, min(first + _AHEAD, len(ended))):
        if array in ended[place].inputs:
            yield place
