"""What a worker does, as `simulated_worker.SimulatedWorker` has it."""

from __future__ import annotations

from dask_mlsched.core.compiled import shelves
from dask_mlsched.core.compiled.books import reads
from dask_mlsched.core.compiled.jit import compiled
from dask_mlsched.core.compiled.layouts import NO_LIMIT
from dask_mlsched.core.compiled.tables import Tables


@compiled
def _copied(t: Tables, worker: int, task: int, array: int, seconds: float, loaded: bool) -> None:
    row, clock = t.workers[worker], t.clock[0]
    if t.rules[0].overlap:
        row.copier_free_at = max(row.copier_free_at, row.free_at) + seconds
    else:
        row.free_at += seconds
    row.moved_seconds += seconds
    t.moves[worker, row.moves] = array + 1 if loaded else -array - 1
    row.moves += 1
    if t.rules[0].log:
        line = t.log[clock.logged]
        line.task = task
        line.array = array
        line.loaded = loaded
        clock.logged += 1


@compiled
def _loaded(t: Tables, worker: int, task: int, array: int) -> None:
    rules, nbytes = t.rules[0], t.nbytes[array]
    t.workers[worker].bytes_loaded += nbytes
    t.workers[worker].moved_bytes += nbytes
    _copied(t, worker, task, array, rules.load_latency + nbytes / rules.load_bandwidth, True)


@compiled
def _evicted(t: Tables, worker: int, task: int, array: int) -> None:
    rules, nbytes = t.rules[0], t.nbytes[array]
    if rules.keep_clean and t.places[rules.workers + worker, array].clean:
        _copied(t, worker, task, array, 0.0, False)  # nothing was copied
        return
    t.workers[worker].bytes_evicted += nbytes
    t.workers[worker].moved_bytes += nbytes
    _copied(t, worker, task, array, rules.evict_latency + nbytes / rules.evict_bandwidth, False)


@compiled
def _what_went(t: Tables, worker: int, task: int) -> None:
    clock = t.clock[0]
    for i in range(clock.gone):
        _evicted(t, worker, task, t.gone[i])
    clock.gone = 0
    clock.came = 0


@compiled
def read(t: Tables, worker: int, task: int, array: int) -> None:
    """Read an array through the store: one that is not resident is loaded."""
    shelf = t.rules[0].workers + worker
    was_there = shelves.is_resident(t, shelf, array)
    shelves.touch(t, shelf, array)
    if not was_there:
        # The store evicts once the array is in.
        _loaded(t, worker, task, array)
    _what_went(t, worker, task)
    if t.rules[0].overlap and not was_there:
        t.there_at[worker, array] = t.workers[worker].copier_free_at


@compiled
def store(t: Tables, worker: int, task: int, array: int) -> None:
    """Store a new array: an output, or what another worker sent."""
    shelves.touch(t, t.rules[0].workers + worker, array)
    _what_went(t, worker, task)


@compiled
def begin(t: Tables, worker: int, task: int, now: float) -> None:
    """Bring in the inputs of a task that has got a thread, and wait for them."""
    row = t.workers[worker]
    row.free_at = max(now, row.free_at) + t.rules[0].task
    if not t.rules[0].overlap:
        _bring_in(t, worker, task, 0)
        return
    _mark_in_use(t, worker)
    _bring_in(t, worker, task, t.clock[0].pins)
    if not t.tasks[task].ahead:
        t.users[worker, row.users] = task
        row.users += 1
    t.tasks[task].ahead = False
    for i in range(t.starts[task], t.ends[task]):
        wait_for(t, worker, t.sources[i])


@compiled
def wait_for(t: Tables, worker: int, array: int) -> None:
    """Have the event loop wait until the copier has brought in an array."""
    row = t.workers[worker]
    if t.rules[0].overlap:
        row.free_at = max(row.free_at, t.there_at[worker, array])


@compiled
def load_ahead(t: Tables, worker: int, task: int, now: float) -> bool:
    """Have the copier bring in the inputs of a task that waits; False if there is no room."""
    row, shelf = t.workers[worker], t.rules[0].workers + worker
    needed = _mark_in_use(t, worker)
    mark = t.clock[0].pins
    for i in range(t.starts[task], t.ends[task]):
        if t.tasks[t.sources[i]].pinned != mark:
            needed += t.nbytes[t.sources[i]]
    limit = t.shelves[shelf].limit
    if limit != NO_LIMIT and needed > limit:
        return False
    row.free_at = max(now, row.free_at)
    for i in range(row.users):
        user = t.users[worker, i]
        for j in range(t.starts[user], t.ends[user]):
            if shelves.is_resident(t, shelf, t.sources[j]):
                shelves.touch(t, shelf, t.sources[j])
    _bring_in(t, worker, task, mark)
    t.tasks[task].ahead = True
    t.users[worker, row.users] = task
    row.users += 1
    return True


@compiled
def leave(t: Tables, worker: int, task: int) -> None:
    """Have a task that has ended use its inputs no more; the others keep their order."""
    row = t.workers[worker]
    kept = 0
    for i in range(row.users):
        if t.users[worker, i] != task:
            t.users[worker, kept] = t.users[worker, i]
            kept += 1
    row.users = kept


@compiled
def _mark_in_use(t: Tables, worker: int) -> int:
    """Mark the inputs of tasks that compute or were loaded ahead; return their bytes."""
    clock = t.clock[0]
    clock.pins += 1
    nbytes = 0
    for i in range(t.workers[worker].users):
        user = t.users[worker, i]
        for j in range(t.starts[user], t.ends[user]):
            array = t.sources[j]
            if t.tasks[array].pinned != clock.pins:
                t.tasks[array].pinned = clock.pins
                nbytes += t.nbytes[array]
    return nbytes


@compiled
def _bring_in(t: Tables, worker: int, task: int, spared: int) -> None:
    """Evict the hints, but for what is marked so, and read the inputs."""
    shelf = t.rules[0].workers + worker
    hints = t.tasks[task].hint_start
    for i in range(hints, hints + t.tasks[task].hints):
        victim = t.victims[i % t.victims.shape[0]]
        if spared and t.tasks[victim].pinned == spared:
            continue
        if not reads(t, task, victim) and shelves.evict(t, shelf, victim):
            _evicted(t, worker, task, victim)
    # What is there already first: it must not make room for the others. Marked beforehand, since
    # reading changes what is there.
    first, last = t.starts[task], t.ends[task]
    t.clock[0].pins += 1
    mark = t.clock[0].pins
    for i in range(first, last):
        array = t.sources[i]
        if shelves.is_resident(t, shelf, array):
            t.tasks[array].pinned = mark
    for i in range(first, last):
        if t.tasks[t.sources[i]].pinned == mark:
            read(t, worker, task, t.sources[i])
    for i in range(first, last):
        if t.tasks[t.sources[i]].pinned != mark:
            read(t, worker, task, t.sources[i])


@compiled
def overflows(t: Tables, worker: int) -> bool:
    """Tell whether a worker's slow tier holds more than it may."""
    limit = t.rules[0].slow_limit
    return bool(limit != NO_LIMIT and t.shelves[t.rules[0].workers + worker].slow_bytes > limit)
