"""Which arrays leave when a task needs room, as the rules of `eviction` have it."""

from __future__ import annotations

import math

from dask_mlsched.core.compiled import shelves
from dask_mlsched.core.compiled.books import expected_nbytes, residency_changed, will_read
from dask_mlsched.core.compiled.jit import compiled
from dask_mlsched.core.compiled.layouts import LRU, LUF, NO_LIMIT
from dask_mlsched.core.compiled.tables import Tables
from dask_mlsched.core.eviction import LOOKED_AT, MOST_VICTIMS
from dask_mlsched.core.graph import TaskState

_SENT = int(TaskState.SENT)
_RUNNING = int(TaskState.RUNNING)


@compiled
def make_room_for(t: Tables, task: int, worker: int) -> None:
    """Evict from the prediction what the rule names, and have it travel with the task."""
    row, clock = t.tasks[task], t.clock[0]
    row.hint_start = clock.hinted
    row.hints = 0
    if t.rules[0].eviction == LRU or t.shelves[worker].limit == NO_LIMIT:
        return
    room = t.victims.shape[0]
    pinned = False
    while row.hints < MOST_VICTIMS and _excess(t, task, worker) > 0:
        if not pinned:
            _pin(t, task, worker)
            pinned = True
        victim = _fewest_readers(t, worker) if t.rules[0].eviction == LUF else _next_use(t, worker)
        if victim < 0:
            break
        shelves.evict(t, worker, victim)
        t.victims[clock.hinted % room] = victim
        clock.hinted += 1
        row.hints += 1
        t.gone[clock.gone] = victim
        clock.gone += 1
        residency_changed(t, worker)


@compiled
def _excess(t: Tables, task: int, worker: int) -> int:
    """Count the bytes that must go before there is room for a task's inputs and output."""
    limit = t.shelves[worker].limit
    nbytes = t.shelves[worker].resident_bytes - limit
    if not shelves.is_resident(t, worker, task):
        expected = expected_nbytes(t, task)
        nbytes += expected if expected <= limit else 0
    for i in range(t.starts[task], t.ends[task]):
        array = t.sources[i]
        if not shelves.is_resident(t, worker, array) and t.nbytes[array] <= limit:
            nbytes += t.nbytes[array]
    return int(nbytes)


@compiled
def _pin(t: Tables, task: int, worker: int) -> None:
    """Mark what this task and those in flight read and make."""
    clock = t.clock[0]
    clock.pins += 1
    _pin_one(t, task, clock.pins)
    for i in range(t.workers[worker].in_flight):
        _pin_one(t, t.in_flight[worker, i], clock.pins)


@compiled
def _pin_one(t: Tables, task: int, mark: int) -> None:
    t.tasks[task].pinned = mark
    for i in range(t.starts[task], t.ends[task]):
        t.tasks[t.sources[i]].pinned = mark


@compiled
def _may_go(t: Tables, array: int) -> bool:
    return bool(t.tasks[array].pinned != t.clock[0].pins and t.tasks[array].size > 0)


@compiled
def _fewest_readers(t: Tables, worker: int) -> int:
    best, fewest = -1, 0
    array = shelves.oldest(t, worker)
    while array < t.rules[0].tasks:
        if _may_go(t, array):
            readers = t.tasks[array].parked_readers
            if readers == 0:
                return array
            if best < 0 or readers < fewest:
                best, fewest = array, readers
        array = int(t.places[worker, array].younger)
    return best


@compiled
def _oldest_result(t: Tables, worker: int) -> int:
    row = t.workers[worker]
    # What has left never comes back: nobody reads it.
    while row.first_result >= 0 and not shelves.is_resident(t, worker, row.first_result):
        row.first_result = t.tasks[row.first_result].next_result
    array = row.first_result
    while array >= 0:
        if shelves.is_resident(t, worker, array) and _may_go(t, array):
            return int(array)
        array = t.tasks[array].next_result
    return -1


@compiled
def _next_use(t: Tables, worker: int) -> int:
    result = _oldest_result(t, worker)
    if result >= 0:
        return result
    best, least, latest, looked_at = -1, 0.0, 0.0, 0
    array = shelves.oldest(t, worker)
    while array < t.rules[0].tasks and looked_at < LOOKED_AT:
        if _may_go(t, array):
            looked_at += 1
            near, place = next_reader(t, array)
            if not t.rules[0].keep_clean:
                cost = expected_nbytes(t, array) * near
            elif near > 0 and not t.places[worker, array].clean:
                cost = near + 1.0
            else:
                cost = near
            if best < 0 or cost < least or (cost == least and place < latest):
                best, least, latest = array, cost, place
        array = int(t.places[worker, array].younger)
    return best


@compiled
def next_reader(t: Tables, array: int) -> tuple[float, float]:
    """Tell how near the next use of an array is, from 0 to 1, and minus its reader's place."""
    nearest, place = 0.0, -math.inf
    start, stop = t.reader_starts[array], t.reader_ends[array]
    for i in range(start, min(stop, start + LOOKED_AT)):
        task = t.readers[i]
        state = t.tasks[task].state
        if state in (_SENT, _RUNNING):
            return 1.0, math.inf
        if will_read(t, task):
            near = 1.0 / (1 + t.tasks[task].unfinished)
            if near > nearest or (near == nearest and -t.order[task] > place):
                nearest, place = near, float(-t.order[task])
    return nearest, place
