"""What the controller keeps: parked tasks and their indexes, predictions, sizes by prefix."""

from __future__ import annotations

import numpy as np

from dask_mlsched.core.books import HOLDERS
from dask_mlsched.core.compiled import heaps, shelves
from dask_mlsched.core.compiled.jit import compiled
from dask_mlsched.core.compiled.layouts import FAR, NO_LIMIT, RESIDENT, Records
from dask_mlsched.core.compiled.tables import Tables
from dask_mlsched.core.device import MEASURABLE_BYTES
from dask_mlsched.core.graph import WIDE, TaskState

_WAITING = int(TaskState.WAITING)
_PARKED = int(TaskState.PARKED)
_RUNNING = int(TaskState.RUNNING)
_COMPUTED = int(TaskState.COMPUTED)


@compiled
def expected_nbytes(t: Tables, task: int) -> int:
    """Return the bytes of an array, or what its prefix made on average so far."""
    if t.tasks[task].state == _COMPUTED:
        return int(t.nbytes[task])
    return int(np.rint(t.prefixes[t.prefix[task]].nbytes))


@compiled
def will_read(t: Tables, task: int) -> bool:
    """Tell whether the task has its inputs to read yet."""
    row = t.tasks[task]
    return bool(row.state == _PARKED or (row.state == _WAITING and not row.released))


@compiled
def reads(t: Tables, task: int, array: int) -> bool:
    """Tell whether a task has an array as an input."""
    found = False
    for i in range(t.starts[task], t.ends[task]):
        found = found or t.sources[i] == array
    return found


@compiled
def missing_bytes(t: Tables, task: int, worker: int) -> int:
    """Sum the inputs that are not resident on a worker; `FAR` if that is all of them."""
    missing = 0
    some = False
    places = t.places
    for i in range(t.starts[task], t.ends[task]):
        array = t.sources[i]
        if places[worker, array].where == RESIDENT:
            some = True
        else:
            missing += t.nbytes[array]
    return missing if some else FAR


@compiled
def _comes_near(t: Tables, worker: int, task: int, missing: int) -> None:
    """Index a parked task that misses fewer bytes on a worker than was known.

    Keys are never above the truth: what an eviction makes worse is found out by `nearest`, and
    most of it never, because the array comes back or the task runs before.
    """
    row = t.workers[worker]
    place, keys = t.near_place[worker], t.missing[worker]
    if not place[task]:
        if missing != FAR:
            keys[task] = missing
            row.near = heaps.push(t.near_heap[worker], place, row.near, keys, t.guide, task)
    elif missing < keys[task]:
        keys[task] = missing
        heaps.moved(t.near_heap[worker], place, row.near, keys, t.guide, task)


@compiled
def _leaves(t: Tables, worker: int, task: int) -> None:
    place = t.near_place[worker]
    if place[task]:
        row = t.workers[worker]
        row.near = heaps.remove(
            t.near_heap[worker], place, row.near, t.missing[worker], t.guide, task
        )


@compiled
def nearest(t: Tables, worker: int, count: int) -> int:
    """Write the parked tasks with the fewest missing bytes into `candidates`; return how many.

    Ties stand in the order of the guide; tasks of which no input is resident are not among them.
    """
    heap, place, keys = t.near_heap[worker], t.near_place[worker], t.missing[worker]
    size, frontier, guide = t.workers[worker].near, t.frontier, t.guide
    found = 0
    waiting = 0
    if size > 0:
        frontier[0] = 0
        waiting = 1
    while waiting > 0 and found < count:
        best = 0
        for i in range(1, waiting):
            if heaps.before(keys, guide, heap[frontier[i]], heap[frontier[best]]):
                best = i
        index = frontier[best]
        task = heap[index]
        if keys[task] == FAR:
            break
        missing = missing_bytes(t, task, worker)
        if missing != keys[task]:
            # Only the tasks below move, and none of them has been looked at.
            keys[task] = missing
            heaps.sink(heap, place, size, keys, guide, index, task)
            continue
        t.candidates[found] = task
        found += 1
        waiting -= 1
        frontier[best] = frontier[waiting]
        for child in range(2 * index + 1, min(2 * index + 3, size)):
            frontier[waiting] = child
            waiting += 1
    return found


@compiled
def park(t: Tables, task: int) -> None:
    """Hold a task back that has become ready."""
    row = t.tasks[task]
    row.state = _PARKED
    row.released = False
    t.clock[0].parked += 1
    held = t.held_bytes
    workers = t.rules[0].workers
    for i in range(t.starts[task], t.ends[task]):
        array = t.sources[i]
        t.tasks[array].parked_readers += 1
        looked_at = 0
        for word in range(t.expected_on.shape[1]):
            bits = t.expected_on[array, word]
            bit = 0
            while bits and looked_at < HOLDERS:
                if bits & np.uint64(1):
                    worker = 64 * word + bit
                    held[worker] = max(held[worker], 0) + t.nbytes[array]
                    looked_at += 1
                bits >>= np.uint64(1)
                bit += 1
    home = workers
    for worker in range(workers):
        if held[worker] >= 0 and (home == workers or held[worker] > held[home]):
            home = worker
    row.home = home
    t.homes[home] = heaps.push(
        t.home_heap[home], t.home_place, t.homes[home], t.guide, t.guide, task
    )
    for worker in range(workers):
        if held[worker] >= 0:
            held[worker] = -1
            if t.shelves[worker].limit != NO_LIMIT:
                _comes_near(t, worker, task, missing_bytes(t, task, worker))


@compiled
def unpark(t: Tables, task: int) -> None:
    """Take a task out of the indexes."""
    row = t.tasks[task]
    t.clock[0].parked -= 1
    row.state = _WAITING
    for i in range(t.starts[task], t.ends[task]):
        t.tasks[t.sources[i]].parked_readers -= 1
    home = row.home
    t.homes[home] = heaps.remove(
        t.home_heap[home], t.home_place, t.homes[home], t.guide, t.guide, task
    )
    for i in range(t.starts[task], t.ends[task]):
        for word in range(t.expected_on.shape[1]):
            bits = t.expected_on[t.sources[i], word]
            worker = 64 * word
            while bits:
                if bits & np.uint64(1):
                    _leaves(t, worker, task)
                bits >>= np.uint64(1)
                worker += 1


@compiled
def _came(t: Tables, worker: int, array: int) -> None:
    first, last = t.reader_starts[array], t.reader_ends[array]
    if last - first > WIDE:
        return
    tasks, readers = t.tasks, t.readers
    for i in range(first, last):
        task = readers[i]
        if tasks[task].state == _PARKED:
            _comes_near(t, worker, task, missing_bytes(t, task, worker))


@compiled
def residency_changed(t: Tables, worker: int) -> None:
    """Bring the parked tasks' missing bytes up to date with `came`; empty that and `gone`."""
    clock = t.clock[0]
    if clock.parked > 0 and t.shelves[worker].limit != NO_LIMIT:
        for i in range(clock.came):
            _came(t, worker, t.came[i])
    clock.came = 0
    clock.gone = 0


@compiled
def set_bit(bits: Records, array: int, worker: int) -> None:
    """Note that a worker holds an array."""
    bits[array, worker >> 6] |= np.uint64(1) << np.uint64(worker & 63)


@compiled
def expect_on(t: Tables, task: int, worker: int) -> None:
    """Move the prediction ahead: the task reads its inputs, then its output comes in."""
    for i in range(t.starts[task], t.ends[task]):
        array = t.sources[i]
        shelves.touch(t, worker, array)
        set_bit(t.expected_on, array, worker)
    t.tasks[task].size = expected_nbytes(t, task)
    shelves.touch(t, worker, task)
    if t.reader_starts[task] == t.reader_ends[task] and shelves.is_resident(t, worker, task):
        _note_result(t, worker, task)
    residency_changed(t, worker)


@compiled
def _note_result(t: Tables, worker: int, task: int) -> None:
    row = t.workers[worker]
    t.tasks[task].next_result = -1
    if row.first_result < 0:
        row.first_result = task
    else:
        t.tasks[row.last_result].next_result = task
    row.last_result = task


@compiled
def finished(t: Tables, task: int, now: float) -> None:
    """Hear that a task has made its array."""
    row = t.tasks[task]
    worker = row.worker
    leave(t, task, worker)
    nbytes = t.nbytes[task]
    prefix = t.prefixes[t.prefix[task]]
    prefix.finished += 1
    weight = max(1.0 / prefix.finished, 0.02)
    prefix.nbytes += weight * (nbytes - prefix.nbytes)
    prefix.seconds += weight * (t.seconds[task] - prefix.seconds)
    made(t, task)
    t.workers[worker].last_end = now
    set_bit(t.expected_on, task, worker)
    shelves.resize(t, worker, task, nbytes)
    residency_changed(t, worker)


@compiled
def made(t: Tables, task: int) -> None:
    """Note that an array exists."""
    row = t.tasks[task]
    row.state = _COMPUTED
    row.released = False
    t.clock[0].computed_bytes += t.nbytes[task]
    t.prefixes[t.prefix[task]].unfinished -= 1
    for i in range(t.reader_starts[task], t.reader_ends[task]):
        t.tasks[t.readers[i]].unfinished -= 1


@compiled
def leave(t: Tables, task: int, worker: int) -> None:
    """Take a task out of those in flight; the others keep their order."""
    row = t.workers[worker]
    found = 0
    while t.in_flight[worker, found] != task:
        found += 1
    for i in range(found, row.in_flight - 1):
        t.in_flight[worker, i] = t.in_flight[worker, i + 1]
        t.sent_at[worker, i] = t.sent_at[worker, i + 1]
    row.in_flight -= 1


@compiled
def released(t: Tables, array: int) -> None:
    """Hear that no worker holds an array any more."""
    for word in range(t.expected_on.shape[1]):
        bits = t.expected_on[array, word]
        bit = 0
        while bits:
            if bits & np.uint64(1):
                shelves.discard(t, 64 * word + bit, array)
            bits >>= np.uint64(1)
            bit += 1
        t.expected_on[array, word] = 0
    row = t.tasks[array]
    row.state = _WAITING
    row.released = True
    t.clock[0].computed_bytes -= t.nbytes[array]
    t.prefixes[t.prefix[array]].unfinished += 1


@compiled
def _in_use(t: Tables, worker: int, array: int) -> bool:
    for i in range(t.workers[worker].in_flight):
        task = t.in_flight[worker, i]
        if task == array:
            return True
        for j in range(t.starts[task], t.ends[task]):
            if t.sources[j] == array:
                return True
    return False


@compiled
def reported(t: Tables, worker: int) -> None:
    """Correct the prediction by what a worker says has moved."""
    row = t.workers[worker]
    if row.moved_bytes >= MEASURABLE_BYTES and row.moved_seconds > 0:
        row.copied_bytes = 0.9 * row.copied_bytes + row.moved_bytes
        row.copied_seconds = 0.9 * row.copied_seconds + row.moved_seconds
        row.bandwidth = row.copied_bytes / row.copied_seconds
    clock = t.clock[0]
    for i in range(row.moves):
        move = t.moves[worker, i]
        array = abs(move) - 1
        if t.tasks[array].state != _COMPUTED or _in_use(t, worker, array):
            continue
        if move > 0 and shelves.is_resident(t, worker, array):
            continue
        if move > 0:
            set_bit(t.expected_on, array, worker)
            shelves.touch(t, worker, array)
        elif shelves.evict(t, worker, array):
            t.gone[clock.gone] = array
            clock.gone += 1
    row.moves = 0
    row.moved_bytes = 0
    row.moved_seconds = 0.0
    residency_changed(t, worker)


@compiled
def everything_fits(t: Tables) -> bool:
    """Tell whether all arrays that are known of fit in the fast tiers."""
    rules = t.rules[0]
    limit = t.shelves[0].limit
    if limit == NO_LIMIT:
        return True
    largest = -1.0
    for p in range(t.prefixes.shape[0]):
        if t.prefixes[p].finished > 0:
            largest = max(largest, t.prefixes[p].nbytes)
    if largest < 0:
        return False
    total = float(t.clock[0].computed_bytes)
    for p in range(t.prefixes.shape[0]):
        row = t.prefixes[p]
        if row.unfinished > 0:
            total += row.unfinished * (row.nbytes if row.finished else largest)
    return bool(total <= float(rules.workers * limit))
