"""What a decision looks like to a network: one row of dimensionless figures for every action.

All figures are shares, counts in logarithms or flags, so that one network serves any size of task,
device and graph. A row is filled from the indexes that are kept up to date anyway: it costs time
for the task's own inputs and dependents (at most `LOOKED_AT` of each), never for all parked tasks.
Below, M is the device memory limit, "missing" is what the worker does not have resident, and for
"Dask's order" another one may stand: the guide of `Served`.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np

from dask_mlsched.core.compiled import shelves
from dask_mlsched.core.compiled.books import expected_nbytes, missing_bytes, will_read
from dask_mlsched.core.compiled.jit import compiled
from dask_mlsched.core.compiled.layouts import NOWHERE, RESIDENT, STEP
from dask_mlsched.core.compiled.tables import Tables
from dask_mlsched.core.dag import Integers
from dask_mlsched.core.graph import TaskState
from dask_mlsched.core.network import Floats

#: column -> meaning; those from ``pressure`` on are the same in every row of a decision.
COLUMNS: Final[dict[str, str]] = {
    "hold": "1 for HOLD, whose row tells of the successor that is waited for",
    "missing": "bytes of missing inputs over M",
    "incoming": "bytes of missing inputs and of the output over M",
    "resident": "bytes of resident inputs over M",
    "missing_share": "missing inputs over inputs; 0 without inputs",
    "root": "1 for a task without inputs",
    "clean": "bytes of resident inputs that are clean over M",
    "frees": "bytes of inputs that nothing else reads, over M",
    "growth": "bytes of the output, less those of inputs that then go, over M",
    "unlocks": "log of parked tasks that would miss nothing once its inputs are here, over 4",
    "readers_missing": "log of parked readers of its missing inputs, over 4",
    "readers_resident": "log of parked readers of its resident inputs, over 4",
    "last_use": "1 over the tasks that still read an input, for the input with the fewest",
    "age": "age of its resident input used longest ago: 0 for the youngest array, 1 the oldest",
    "evicted": "bytes that must go out for it over M",
    "evicted_needed": "bytes of those that parked tasks read, as the LRU rule has it, over M",
    "rank": "place among the candidates in Dask's order, from 0 to 1",
    "distance": "log of the steps behind the first candidate in Dask's order, over that of all",
    "dependents": "log of its dependents, over 4",
    "readies": "log of dependents that wait for nothing else, over 4",
    "next_missing": "bytes that the best of those would miss but for its output, over M; 1 if none",
    "continues": "1 if it reads what the task sent last to this worker makes",
    "level": "how far from the first tasks it is, in steps, over the longest path",
    "to_go": "how far from the last tasks it is, in steps, over the longest path",
    "elsewhere": "bytes of inputs that the worker holds in neither tier over M",
    "transfer": "log of seconds to load its missing inputs over seconds to compute",
    "at_home": "1 if this worker holds most of its inputs, 0 if another does, 0.5 if none",
    "saved": "HOLD: log of seconds of copying that it saves over seconds that it may last",
    "wait": "HOLD: seconds that it may last over the longest hold that is allowed",
    "pressure": "resident bytes over M",
    "parked": "log of parked tasks, over 10",
    "progress": "tasks that have ended over all",
}

NAMES: Final = tuple(COLUMNS)
COUNT: Final = len(NAMES)

#: So many inputs, dependents, and readers of one array are looked at.
LOOKED_AT: Final = 32
#: So many victims.
_VICTIMS: Final = 16

_PARKED: Final = int(TaskState.PARKED)

(
    _HOLD,
    _MISSING,
    _INCOMING,
    _RESIDENT,
    _MISSING_SHARE,
    _ROOT,
    _CLEAN,
    _FREES,
    _GROWTH,
    _UNLOCKS,
    _READERS_MISSING,
    _READERS_RESIDENT,
    _LAST_USE,
    _AGE,
    _EVICTED,
    _EVICTED_NEEDED,
    _RANK,
    _DISTANCE,
    _DEPENDENTS,
    _READIES,
    _NEXT_MISSING,
    _CONTINUES,
    _LEVEL,
    _TO_GO,
    _ELSEWHERE,
    _TRANSFER,
    _AT_HOME,
    _SAVED,
    _WAIT,
    _PRESSURE,
    _PARKED_TASKS,
    _PROGRESS,
) = range(COUNT)


@compiled
def describe(t: Tables, worker: int) -> int:
    """Fill `t.features` for the decision at hand; return the number of its rows.

    Returns
    -------
    int
        The candidates, and one more, the last, if HOLD is allowed.
    """
    clock = t.clock[0]
    count = clock.candidates
    limit = float(t.shelves[worker].limit)
    first = t.candidates[0]
    _weigh_victims(t, worker)
    t.clock[0].weighed += 1
    for i in range(count):
        task = t.candidates[i]
        row = t.features[i]
        _fill(t, worker, task, row, limit)
        row[_RANK] = i / max(1, count - 1)
        row[_DISTANCE] = _distance(t, first, task)
    if clock.hold_successor < 0:
        return int(count)
    row = t.features[count]
    successor = clock.hold_successor
    _fill(t, worker, successor, row, limit)
    row[_HOLD] = 1.0
    row[_DISTANCE] = _distance(t, first, successor)
    lasts = clock.hold_until - clock.now
    row[_SAVED] = math.log((clock.hold_saved + 1e-9) / (lasts + 1e-9)) / 4.0
    row[_WAIT] = lasts / t.rules[0].hold_limit
    return int(count + 1)


@compiled
def _distance(t: Tables, first: int, task: int) -> float:
    steps = max(0, t.guide[task] - t.guide[first]) / STEP
    return math.log(1.0 + steps) / math.log(2.0 + t.clock[0].known)


@compiled
def _fill(t: Tables, worker: int, task: int, row: Floats, limit: float) -> None:
    row[:] = 0.0
    missing = _tell_of_inputs(t, worker, task, row, limit)
    _tell_of_room(t, worker, task, missing, row, limit)
    _tell_of_dependents(t, worker, task, row, limit)
    row[_LEVEL] = t.levels[task, 0] / t.clock[0].longest
    row[_TO_GO] = t.levels[task, 1] / t.clock[0].longest
    home = t.tasks[task].home
    row[_AT_HOME] = 1.0 if home == worker else 0.5 if home == t.rules[0].workers else 0.0
    row[_PRESSURE] = t.shelves[worker].resident_bytes / limit
    row[_PARKED_TASKS] = math.log(1.0 + t.clock[0].parked) / 10.0
    row[_PROGRESS] = min(1.0, t.clock[0].ended / max(1, t.clock[0].known))


@compiled
def _tell_of_inputs(t: Tables, worker: int, task: int, row: Floats, limit: float) -> float:
    """Return the bytes of the missing inputs."""
    start, stop = t.starts[task], t.ends[task]
    stop = min(stop, start + LOOKED_AT)
    missing, resident, clean, frees, elsewhere = 0.0, 0.0, 0.0, 0.0, 0.0
    absent, unlocks, wanted_missing, wanted_resident = 0, 0.0, 0.0, 0.0
    fewest, oldest = 0, -1
    last = t.workers[worker].last_task
    for i in range(start, stop):
        array = t.sources[i]
        nbytes = float(expected_nbytes(t, array))
        place = t.places[worker, array]
        to_read = t.tasks[array].to_read
        if fewest == 0 or to_read < fewest:
            fewest = max(1, to_read)
        if to_read <= 1:
            frees += nbytes
        if array == last:
            row[_CONTINUES] = 1.0
        if place.where == RESIDENT:
            resident += nbytes
            wanted_resident += t.tasks[array].parked_readers
            if place.clean:
                clean += nbytes
            if oldest < 0 or place.used < oldest:
                oldest = place.used
        else:
            missing += nbytes
            absent += 1
            wanted_missing += t.tasks[array].parked_readers
            unlocks += _unlocked(t, worker, array)
            if place.where == NOWHERE:
                elsewhere += nbytes
    inputs = stop - start
    row[_MISSING] = missing / limit
    row[_RESIDENT] = resident / limit
    row[_MISSING_SHARE] = absent / max(1, inputs)
    row[_ROOT] = 1.0 if inputs == 0 else 0.0
    row[_CLEAN] = clean / limit
    row[_FREES] = frees / limit
    row[_UNLOCKS] = math.log(1.0 + unlocks) / 4.0
    row[_READERS_MISSING] = math.log(1.0 + wanted_missing) / 4.0
    row[_READERS_RESIDENT] = math.log(1.0 + wanted_resident) / 4.0
    row[_LAST_USE] = 1.0 / fewest if fewest > 0 else 0.0
    shelf = t.shelves[worker]
    if oldest >= 0:
        row[_AGE] = min(1.0, (shelf.clock - oldest) / (2.0 * max(1, shelf.resident)))
    row[_ELSEWHERE] = elsewhere / limit
    return missing


@compiled
def _unlocked(t: Tables, worker: int, array: int) -> float:
    """Count the parked tasks that would miss nothing with this array; once for each decision."""
    mark = t.clock[0].weighed
    if t.weighed[array] == mark:
        return float(t.unlocked[array])
    count = 0.0
    first, last = t.reader_starts[array], t.reader_ends[array]
    looked_at = 0
    for i in range(first, min(last, first + 8 * LOOKED_AT)):
        task = t.readers[i]
        if t.tasks[task].state == _PARKED:
            looked_at += 1
            if missing_bytes(t, task, worker) == t.nbytes[array]:
                count += 1.0
            if looked_at == LOOKED_AT:
                break
    t.weighed[array] = mark
    t.unlocked[array] = count
    return count


@compiled
def _weigh_victims(t: Tables, worker: int) -> None:
    """Add up what goes first by the LRU rule: bytes, and bytes that parked tasks read."""
    array = shelves.oldest(t, worker)
    total, needed = 0.0, 0.0
    count = 0
    while array < t.rules[0].tasks and count < _VICTIMS:
        nbytes = float(t.tasks[array].size)
        total += nbytes
        if t.tasks[array].parked_readers > 0:
            needed += nbytes
        elif t.tasks[array].to_read > 0 or t.reader_ends[array] == t.reader_starts[array]:
            # Later, or by a client: live, nobody knows what clients want; it is what nothing reads.
            needed += 0.5 * nbytes
        t.victim_bytes[count, 0] = total
        t.victim_bytes[count, 1] = needed
        count += 1
        array = int(t.places[worker, array].younger)
    t.clock[0].victims_weighed = count


@compiled
def _tell_of_room(
    t: Tables, worker: int, task: int, missing: float, row: Floats, limit: float
) -> None:
    output = float(expected_nbytes(t, task))
    row[_INCOMING] = (missing + output) / limit
    row[_GROWTH] = output / limit - row[_FREES]
    excess = t.shelves[worker].resident_bytes + missing + output - limit
    if excess > 0:
        row[_EVICTED] = excess / limit
        count = t.clock[0].victims_weighed
        i = 0
        while i < count - 1 and t.victim_bytes[i, 0] < excess:
            i += 1
        if count > 0:
            row[_EVICTED_NEEDED] = t.victim_bytes[i, 1] / limit
    prefix = t.prefixes[t.prefix[task]]
    load = missing / t.workers[worker].bandwidth
    if prefix.finished:
        row[_TRANSFER] = math.log(1.0 + load / (prefix.seconds + 1e-9)) / 4.0


@compiled
def _tell_of_dependents(t: Tables, worker: int, task: int, row: Floats, limit: float) -> None:
    first, last = t.reader_starts[task], t.reader_ends[task]
    readies = 0
    best = -1.0
    for i in range(first, min(last, first + LOOKED_AT)):
        reader = t.readers[i]
        # The task itself is one of what its dependents wait for, unless it is waited for itself.
        if t.tasks[reader].unfinished != 1 or not will_read(t, reader):
            continue
        readies += 1
        missing = 0.0
        start, stop = t.starts[reader], t.ends[reader]
        for j in range(start, min(stop, start + LOOKED_AT)):
            array = t.sources[j]
            if array != task and t.places[worker, array].where != RESIDENT:
                missing += expected_nbytes(t, array)
        if best < 0 or missing < best:
            best = missing
    row[_DEPENDENTS] = math.log(1.0 + last - first) / 4.0
    row[_READIES] = math.log(1.0 + readies) / 4.0
    row[_NEXT_MISSING] = min(1.0, best / limit) if best >= 0 else 1.0


@compiled
def measure_levels(t: Tables) -> None:
    """Work out `t.levels` where tasks stand behind what they read, as in a `Dag`."""
    measure_levels_of(t, np.arange(t.rules[0].tasks))


@compiled
def measure_levels_of(t: Tables, tasks: Integers) -> None:
    """Work out `t.levels` of tasks, each behind what it reads."""
    longest = 1.0
    for task in tasks:
        level = 0.0
        for i in range(t.starts[task], t.ends[task]):
            level = max(level, t.levels[t.sources[i], 0] + 1.0)
        t.levels[task, 0] = level
        longest = max(longest, level)
    for task in tasks[::-1]:
        to_go = 0.0
        for i in range(t.reader_starts[task], t.reader_ends[task]):
            to_go = max(to_go, t.levels[t.readers[i], 1] + 1.0)
        t.levels[task, 1] = to_go
    t.clock[0].longest = longest
