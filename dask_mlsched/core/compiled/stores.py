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


@compiled
def store(t: Tables, worker: int, task: int, array: int) -> None:
    """Store a new array: an output, or what another worker sent."""
    shelves.touch(t, t.rules[0].workers + worker, array)
    _what_went(t, worker, task)


@compiled
def begin(t: Tables, worker: int, task: int, now: float) -> None:
    """Bring in the inputs of a task that has got a thread, its hints first."""
    row, shelf = t.workers[worker], t.rules[0].workers + worker
    row.free_at = max(now, row.free_at) + t.rules[0].task
    hints = t.tasks[task].hint_start
    for i in range(hints, hints + t.tasks[task].hints):
        victim = t.victims[i % t.victims.shape[0]]
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
