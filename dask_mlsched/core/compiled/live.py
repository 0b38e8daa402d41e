"""The same tables kept in step with a live controller: rows come and go, and nothing is simulated.

`planners.mirror` calls these as events arrive. Rows of inputs and of readers are parts of pools,
each with room to grow; a row that outgrows its room moves to the end of its pool.
"""

from __future__ import annotations

from dask_mlsched.core.compiled import books, choosing, shelves
from dask_mlsched.core.compiled.engine import score
from dask_mlsched.core.compiled.jit import compiled
from dask_mlsched.core.compiled.layouts import RESIDENT, Records
from dask_mlsched.core.compiled.tables import Tables
from dask_mlsched.core.dag import Booleans, Floats, Integers
from dask_mlsched.core.graph import TaskState
from dask_mlsched.core.network import Network

_UNKNOWN = int(TaskState.UNKNOWN)
_WAITING = int(TaskState.WAITING)
_PARKED = int(TaskState.PARKED)
_RUNNING = int(TaskState.RUNNING)
_COMPUTED = int(TaskState.COMPUTED)


@compiled
def add(
    t: Tables,
    pools: Records,
    tasks: Integers,
    counts: Integers,
    sources: Integers,
    orders: Integers,
    guides: Integers,
    prefixes: Integers,
) -> bool:
    """Add tasks, those that are read before those that read them; False if a pool is full.

    Parameters
    ----------
    pools
        [1] how far the pools of `Tables.sources` and `Tables.readers` are filled.
    tasks, counts
        [K] numbers of the tasks, and how many of `sources` each reads.
    sources
        What they read, one task after the other.
    orders, guides, prefixes
        [K] for `Tables.order`, `Tables.guide` and `Tables.prefix`.
    """
    pool = pools[0]
    if pool.sources + len(sources) > t.sources.shape[0]:
        return False
    at = 0
    for i in range(len(tasks)):
        task = tasks[i]
        row = t.tasks[task]
        row.state = _WAITING
        row.released = False
        row.worker = -1
        row.unfinished = 0
        row.to_read = 0
        row.parked_readers = 0
        t.order[task] = orders[i]
        t.guide[task] = guides[i]
        t.prefix[task] = prefixes[i]
        t.starts[task] = pool.sources
        t.ends[task] = pool.sources
        t.reader_starts[task] = 0
        t.reader_ends[task] = 0
        t.reader_room[task] = 0
        t.levels[task, 0] = 0.0
        t.levels[task, 1] = 0.0
        t.clock[0].known += 1
        for j in range(at, at + counts[i]):
            if not add_edge(t, pools, task, sources[j]):
                return False
        at += counts[i]
    return True


@compiled
def add_edge(t: Tables, pools: Records, task: int, array: int) -> bool:
    """Have a task, the last of the pool of sources, read one more array; False if it is full."""
    pool = pools[0]
    if pool.sources >= t.sources.shape[0]:
        return False
    if t.ends[task] != pool.sources:
        # Its row is not the last: it moves there.
        count = t.ends[task] - t.starts[task]
        if pool.sources + count + 1 > t.sources.shape[0]:
            return False
        for i in range(count):
            t.sources[pool.sources + i] = t.sources[t.starts[task] + i]
        t.starts[task] = pool.sources
        pool.sources += count
    t.sources[pool.sources] = array
    pool.sources += 1
    t.ends[task] = pool.sources
    first, last = t.reader_starts[array], t.reader_ends[array]
    if last - first == t.reader_room[array]:
        room = 2 * (last - first) + 2
        if pool.readers + room > t.readers.shape[0]:
            return False
        for i in range(last - first):
            t.readers[pool.readers + i] = t.readers[first + i]
        first, last = pool.readers, pool.readers + last - first
        t.reader_starts[array] = first
        t.reader_room[array] = room
        pool.readers += room
    t.readers[last] = task
    t.reader_ends[array] = last + 1
    if t.tasks[array].state != _COMPUTED:
        t.tasks[task].unfinished += 1
    t.tasks[array].to_read += 1
    t.levels[task, 0] = max(t.levels[task, 0], t.levels[array, 0] + 1.0)
    t.clock[0].longest = max(t.clock[0].longest, float(t.levels[task, 0]))
    return True


@compiled
def forget(t: Tables, task: int) -> None:
    """Take out a task that has no array and is not parked."""
    row = t.tasks[task]
    if row.state == _COMPUTED:
        release(t, task)
    for i in range(t.starts[task], t.ends[task]):
        array = t.sources[i]
        t.reader_ends[array] = _dropped(
            t.readers, t.reader_starts[array], t.reader_ends[array], task
        )
    for i in range(t.reader_starts[task], t.reader_ends[task]):
        reader = t.readers[i]
        t.ends[reader] = _dropped(t.sources, t.starts[reader], t.ends[reader], task)
        t.tasks[reader].unfinished -= 1
    row.state = _UNKNOWN
    t.ends[task] = t.starts[task]
    t.reader_ends[task] = t.reader_starts[task]
    t.clock[0].known -= 1


@compiled
def _dropped(pool: Integers, first: int, last: int, value: int) -> int:
    """Take a value out of a part of a pool, keeping the order; return where the part ends."""
    kept = first
    for i in range(first, last):
        if pool[i] != value:
            pool[kept] = pool[i]
            kept += 1
    return kept


@compiled
def make(t: Tables, task: int, nbytes: int) -> None:
    """Note that an array exists."""
    t.nbytes[task] = nbytes
    if t.tasks[task].state != _COMPUTED:
        books.made(t, task)
        t.clock[0].ended += 1
        for i in range(t.starts[task], t.ends[task]):
            t.tasks[t.sources[i]].to_read -= 1
        for worker in range(t.rules[0].workers):
            place = t.places[worker, task]
            if place.where == RESIDENT:
                t.shelves[worker].resident_bytes += nbytes - t.tasks[task].size
        t.tasks[task].size = nbytes


@compiled
def release(t: Tables, array: int) -> None:
    """Note that an array is gone: what reads it has to wait for it again."""
    if t.tasks[array].state != _COMPUTED:
        return
    books.released(t, array)
    for i in range(t.reader_starts[array], t.reader_ends[array]):
        t.tasks[t.readers[i]].unfinished += 1


@compiled
def park(t: Tables, task: int) -> None:
    """Hold a task back that has become ready."""
    if t.tasks[task].released:
        # It is to be computed again: its inputs are read again.
        for i in range(t.starts[task], t.ends[task]):
            t.tasks[t.sources[i]].to_read += 1
    books.park(t, task)


@compiled
def withdraw(t: Tables, task: int) -> None:
    """Take a parked task out of the indexes, if it is parked."""
    if t.tasks[task].state == _PARKED:
        books.unpark(t, task)


@compiled
def send(t: Tables, task: int, worker: int) -> None:
    """Note that a task is on its way to a worker; what that moves is told apart."""
    withdraw(t, task)
    row = t.tasks[task]
    row.state = _RUNNING
    row.worker = worker
    t.workers[worker].last_task = task
    if not shelves.is_held(t, worker, task):
        row.size = books.expected_nbytes(t, task)
    for i in range(t.starts[task], t.ends[task]):
        if t.tasks[t.sources[i]].state == _COMPUTED:
            books.set_bit(t.expected_on, t.sources[i], worker)


@compiled
def use(t: Tables, task: int, worker: int, clean: Booleans) -> None:
    """Have a task that was sent use its inputs and then its output, as far as they are there.

    Parameters
    ----------
    clean
        Of each input. One that went and came again for the task is told of as having stayed.
    """
    first = t.starts[task]
    for i in range(first, t.ends[task]):
        array = t.sources[i]
        if shelves.is_resident(t, worker, array):
            shelves.touch(t, worker, array)
            t.places[worker, array].clean = clean[i - first]
    if shelves.is_resident(t, worker, task):
        shelves.touch(t, worker, task)


@compiled
def move(t: Tables, worker: int, came: Integers, gone: Integers) -> None:
    """Take over what is resident now and was not before, and vice versa."""
    limit = t.shelves[worker].limit
    # Whatever goes is told: the tables evict nothing by themselves.
    t.shelves[worker].limit = 2**62
    for i in range(len(gone)):
        shelves.evict(t, worker, gone[i])
    for i in range(len(came)):
        if not shelves.is_resident(t, worker, came[i]):
            shelves.touch(t, worker, came[i])
        if t.tasks[came[i]].state == _COMPUTED:
            books.set_bit(t.expected_on, came[i], worker)
    t.shelves[worker].limit = limit
    t.clock[0].gone = 0
    books.residency_changed(t, worker)


@compiled
def end(t: Tables, task: int, worker: int) -> None:
    """Note that a task that was sent is not on its worker any more."""
    row = t.tasks[task]
    row.worker = -1
    if row.state == _COMPUTED:
        if worker >= 0:
            books.set_bit(t.expected_on, task, worker)
        return
    if worker >= 0:
        shelves.discard(t, worker, task)
    row.state = _WAITING


@compiled
def follow(t: Tables, worker: int, tasks: Integers, times: Floats, last_end: float) -> None:
    """Take over the tasks in flight on a worker, as far as there is room for them."""
    count = min(len(tasks), t.in_flight.shape[1])
    t.workers[worker].in_flight = count
    t.workers[worker].last_end = last_end
    for i in range(count):
        t.in_flight[worker, i] = tasks[i]
        t.sent_at[worker, i] = times[i]


@compiled
def look_at(
    t: Tables,
    worker: int,
    threads: int,
    bandwidth: float,
    held_since: float,
    hold_until: float,
    network_bandwidth: float,
    hold_limit: float,
) -> None:
    """Take over what changes without a call; NaN for a slot that is not held."""
    row, rules = t.workers[worker], t.rules[0]
    row.bandwidth = bandwidth
    row.held_since = held_since
    row.hold_until = hold_until
    rules.threads = threads
    rules.network_bandwidth = network_bandwidth
    rules.hold_limit = hold_limit


@compiled
def decide(t: Tables, network: Network, worker: int, now: float, ranking: Integers) -> int:
    """Decide about a free slot; return the number of tasks in `ranking`, minus 1 for none.

    The tasks stand by score, the best first; `clock.prefers_hold` says whether HOLD is better.
    """
    clock = t.clock[0]
    clock.now = now
    clock.fits = False
    clock.prefers_hold = False
    choice = choosing.choose(t, worker, now)
    if choice == choosing.NOTHING:
        return -1
    if choice != choosing.ASK:
        ranking[0] = choice
        return 1
    best = score(t, network)
    count = clock.candidates
    clock.prefers_hold = best == count
    for i in range(count):
        j = i
        while j > 0 and t.scores[t.frontier[j - 1], 0] < t.scores[i, 0]:
            t.frontier[j] = t.frontier[j - 1]
            j -= 1
        t.frontier[j] = i
    for i in range(count):
        ranking[i] = t.candidates[t.frontier[i]]
    return int(count)
