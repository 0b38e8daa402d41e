"""The virtual clock, as `simulator.simulate` has it: what happens next, and to whom.

`advance` runs until all is done, or until the policy is asked for the decision with a given number;
`take` answers that decision, and `advance` goes on. Whoever copies the arrays in between can try
every answer.
"""

from __future__ import annotations

import math

import numpy as np

from dask_mlsched.core import features
from dask_mlsched.core.compiled import agenda, books, choosing, shelves, stores
from dask_mlsched.core.compiled.evicting import make_room_for
from dask_mlsched.core.compiled.jit import compiled
from dask_mlsched.core.compiled.layouts import NETWORK
from dask_mlsched.core.compiled.tables import Tables
from dask_mlsched.core.dag import Booleans
from dask_mlsched.core.graph import TaskState
from dask_mlsched.core.network import Network, forward

#: What `advance` returns: all is done; the policy is asked; a queue or the log needs more room; the
#: slow tier of the worker of the decision at hand is full; nothing happens any more.
DONE = 0
ASKED = 1
CRAMPED = 2
OVERFLOWS = 3
STUCK = 4

#: Never stop for a decision.
NEVER = -1

_WAITING = int(TaskState.WAITING)
_RUNNING = int(TaskState.RUNNING)

_NOTHING, _ARRIVES, _RECEIVES, _ENDS, _FREES_THREAD, _HEARD, _FREES, _WAKES = range(8)


@compiled
def begin(t: Tables, given: Booleans) -> None:
    """Submit the graph: what is given is in every slow tier, and what is ready is parked."""
    rules, clock = t.rules[0], t.clock[0]
    clock.known = rules.tasks
    for task in range(rules.tasks):
        t.tasks[task].state = _WAITING
        t.prefixes[t.prefix[task]].unfinished += 1
    for task in range(rules.tasks):
        if given[task]:
            books.made(t, task)
            t.tasks[task].size = t.nbytes[task]
            for worker in range(rules.workers):
                shelves.store_slow(t, worker, task)
                shelves.store_slow(t, rules.workers + worker, task)
                books.set_bit(t.expected_on, task, worker)
                books.set_bit(t.held_by, task, worker)
            clock.ended += 1
    by_place = np.argsort(t.order)
    for i in range(rules.tasks):
        task = by_place[i]
        if t.tasks[task].unfinished == 0 and not given[task]:
            books.park(t, task)
    clock.stirred = True
    agenda.at(t, 0.0, _NOTHING, 0, 0)


@compiled
def advance(t: Tables, network: Network, stop: int) -> int:
    """Let things happen until the policy is asked for decision number `stop`, or all is done."""
    clock, rules = t.clock[0], t.rules[0]
    # No step adds more than this to a queue, or to the log.
    words = t.held_by.shape[1]
    most = t.in_flight.shape[1]
    margin = (rules.widest + 2) * min(rules.workers, 64 * words) + rules.workers * most + 64
    while True:
        if clock.in_pass:
            if _decide(t, network, stop):
                return ASKED
            continue
        if clock.happenings == 0:
            return DONE if clock.ended == rules.tasks else STUCK
        if clock.happenings + margin > t.happenings.shape[0]:
            return CRAMPED
        if rules.log and clock.logged + rules.tasks + margin > t.log.shape[0]:
            return CRAMPED
        first = t.happenings[0]
        clock.now = first.time
        kind, a, b = first.kind, first.a, first.b
        agenda.drop_first(t)
        _happen(t, kind, a, b)
        if clock.at_worker < 0:
            return OVERFLOWS
        # What happens at one time, the scheduler hears before it decides.
        if clock.stirred and (clock.happenings == 0 or t.happenings[0].time > clock.now):
            _begin_pass(t)


@compiled
def _happen(t: Tables, kind: int, a: int, b: int) -> None:
    if kind == _ARRIVES:
        _arrive(t, a)
    elif kind == _RECEIVES:
        _receive(t, a, b)
    elif kind == _ENDS:
        _end(t, a)
    elif kind == _FREES_THREAD:
        _free_thread(t, a, b)
    elif kind == _HEARD:
        _heard(t, a)
    elif kind == _FREES:
        _free(t, a, b)
    elif kind == _WAKES:
        t.clock[0].stirred = True


# The scheduler


@compiled
def _begin_pass(t: Tables) -> None:
    clock, rules = t.clock[0], t.rules[0]
    clock.stirred = False
    clock.pass_time = max(clock.now, clock.scheduler_free_at)
    if clock.parked == 0:
        for worker in range(rules.workers):
            _end_hold(t, worker)
    else:
        clock.fits = books.everything_fits(t)
        for worker in range(rules.workers):
            t.workers[worker].in_line = choosing.takes_more(t, worker)
        clock.in_pass = True
    clock.scheduler_free_at = clock.pass_time


@compiled
def _end_hold(t: Tables, worker: int) -> None:
    row, clock = t.workers[worker], t.clock[0]
    if not math.isnan(row.held_since):
        clock.hold_seconds += clock.now - row.held_since
    row.held_since = row.hold_until = math.nan


@compiled
def _decide(t: Tables, network: Network, stop: int) -> bool:
    """Fill the next slot of a pass; True if the policy is to be asked from outside."""
    clock = t.clock[0]
    worker = choosing.first_in_line(t)
    if worker < 0 or clock.parked == 0:
        clock.in_pass = False
        clock.scheduler_free_at = clock.pass_time
        return False
    choice = choosing.choose(t, worker, clock.now)
    if choice == choosing.ASK:
        if clock.asked == stop:
            return True
        take(t, preferred(t, network))
        return False
    _carry_out(t, worker, choice)
    return False


@compiled
def preferred(t: Tables, network: Network) -> int:
    """Return the policy's own answer to the decision at hand."""
    if t.rules[0].policy != NETWORK:
        return choosing.greedy(t)
    return score(t, network)


@compiled
def score(t: Tables, network: Network) -> int:
    """Describe and score the actions of the decision at hand; return the first of the best."""
    actions = features.describe(t, t.clock[0].at_worker)
    forward(network, t.features[:actions], t.scores[:actions])
    best = 0
    for i in range(1, actions):
        if t.scores[i, 0] > t.scores[best, 0]:
            best = i
    return best


@compiled
def take(t: Tables, action: int) -> None:
    """Answer the decision at hand: an index into the candidates; their number for HOLD."""
    clock = t.clock[0]
    clock.asked += 1
    if action == clock.candidates:
        _carry_out(t, clock.at_worker, choosing.HOLD)
    else:
        _carry_out(t, clock.at_worker, t.candidates[action])


@compiled
def _carry_out(t: Tables, worker: int, choice: int) -> None:
    clock, row = t.clock[0], t.workers[worker]
    if choice >= 0:
        clock.runs += 1
        clock.pass_time += t.rules[0].decision
        _send(t, choice, worker, clock.pass_time)
        row.in_line = choosing.takes_more(t, worker) or choosing.would_wait(t, worker)
        return
    row.in_line = False
    if choice == choosing.HOLD and math.isnan(row.held_since):
        row.held_since = clock.now
        row.hold_until = clock.hold_until
        clock.holds += 1
        clock.pass_time += t.rules[0].decision
        agenda.at(t, clock.hold_until, _WAKES, 0, 0)
    elif not math.isnan(row.hold_until) and clock.now >= row.hold_until:
        _end_hold(t, worker)


@compiled
def _send(t: Tables, task: int, worker: int, time: float) -> None:
    clock, row = t.clock[0], t.workers[worker]
    books.unpark(t, task)
    t.tasks[task].state = _RUNNING
    t.tasks[task].worker = worker
    _end_hold(t, worker)
    t.in_flight[worker, row.in_flight] = task
    t.sent_at[worker, row.in_flight] = clock.now
    row.in_flight += 1
    row.last_sent = clock.now
    row.last_task = task
    make_room_for(t, task, worker)
    books.expect_on(t, task, worker)
    agenda.at(t, time + t.rules[0].message, _ARRIVES, task, 0)


@compiled
def _heard(t: Tables, task: int) -> None:
    """Hear that a task has made its array, and what moved for it."""
    clock = t.clock[0]
    worker = t.tasks[task].worker
    books.finished(t, task, clock.now)
    books.reported(t, worker)
    books.set_bit(t.held_by, task, worker)
    t.tasks[task].worker = -1
    clock.ended += 1
    for i in range(t.reader_starts[task], t.reader_ends[task]):
        reader = t.readers[i]
        if t.tasks[reader].unfinished == 0:
            books.park(t, reader)
    for i in range(t.starts[task], t.ends[task]):
        array = t.sources[i]
        t.tasks[array].to_read -= 1
        if t.tasks[array].to_read == 0 and not t.wanted[array]:
            _release(t, array)
    if t.tasks[task].to_read == 0 and not t.wanted[task]:
        _release(t, task)
    clock.stirred = True


@compiled
def _release(t: Tables, array: int) -> None:
    books.released(t, array)
    message = t.rules[0].message
    for word in range(t.held_by.shape[1]):
        bits = t.held_by[array, word]
        t.held_by[array, word] = 0
        worker = 64 * word
        while bits:
            if bits & np.uint64(1):
                if message > 0:
                    agenda.at(t, t.clock[0].now + message, _FREES, worker, array)
                else:
                    _free(t, worker, array)
            bits >>= np.uint64(1)
            worker += 1


# Workers


@compiled
def _unread(t: Tables, worker: int, kind: int, a: int, b: int) -> bool:
    """Put a message off while the worker's event loop is busy."""
    free_at = t.workers[worker].free_at
    if t.rules[0].message == 0 or free_at <= t.clock[0].now:
        return False
    agenda.at(t, free_at, kind, a, b)
    return True


@compiled
def _free(t: Tables, worker: int, array: int) -> None:
    if not _unread(t, worker, _FREES, worker, array):
        shelves.discard(t, t.rules[0].workers + worker, array)


@compiled
def _arrive(t: Tables, task: int) -> None:
    """Have a task reach its worker; what it reads and is elsewhere is fetched."""
    row = t.tasks[task]
    worker = row.worker
    if _unread(t, worker, _ARRIVES, task, 0):
        return
    shelf = t.rules[0].workers + worker
    row.fetching = 0
    for i in range(t.starts[task], t.ends[task]):
        if not shelves.is_held(t, shelf, t.sources[i]):
            row.fetching += 1
    if row.fetching == 0:
        _enqueue(t, worker, task)
        return
    for i in range(t.starts[task], t.ends[task]):
        array = t.sources[i]
        if not shelves.is_held(t, shelf, array) and not _is_awaited(t, worker, array):
            _fetch(t, worker, array)
    t.waiting[worker, t.workers[worker].waiting] = task
    t.workers[worker].waiting += 1


@compiled
def _is_awaited(t: Tables, worker: int, array: int) -> bool:
    awaited = False
    for i in range(t.workers[worker].waiting):
        awaited = awaited or books.reads(t, t.waiting[worker, i], array)
    return awaited


@compiled
def _fetch(t: Tables, worker: int, array: int) -> None:
    rules, clock = t.rules[0], t.clock[0]
    source = 0
    while not t.held_by[array, source >> 6] >> np.uint64(source & 63) & np.uint64(1):
        source += 1
    from_row = t.workers[source]
    from_row.free_at = max(clock.now, from_row.free_at)
    stores.read(t, source, -1, array)
    stores.wait_for(t, source, array)
    nbytes = t.nbytes[array]
    clock.bytes_sent += nbytes
    took = rules.send_latency + nbytes / rules.send_bandwidth
    agenda.at(t, from_row.free_at + took, _RECEIVES, worker, array)


@compiled
def _receive(t: Tables, worker: int, array: int) -> None:
    row, clock = t.workers[worker], t.clock[0]
    row.free_at = max(clock.now, row.free_at)
    stores.store(t, worker, -1, array)
    books.set_bit(t.held_by, array, worker)
    kept = 0
    # The list shrinks while it is gone through: tasks that have all they wait for leave it.
    waiting = row.waiting
    for i in range(waiting):
        task = t.waiting[worker, i]
        if books.reads(t, task, array):
            t.tasks[task].fetching -= 1
        if t.tasks[task].fetching > 0:
            t.waiting[worker, kept] = task
            kept += 1
        else:
            _enqueue(t, worker, task)
    row.waiting = kept


@compiled
def _enqueue(t: Tables, worker: int, task: int) -> None:
    row = t.workers[worker]
    t.queue[worker, row.queued] = task
    row.queued += 1
    _work(t, worker)


@compiled
def _work(t: Tables, worker: int) -> None:
    """Give a worker's free threads what is ready for them."""
    row, clock = t.workers[worker], t.clock[0]
    while row.queued > 0 and row.running < t.rules[0].threads:
        first = _first(t, worker, True)
        task = t.queue[worker, first]
        row.queued -= 1
        t.queue[worker, first] = t.queue[worker, row.queued]
        row.running += 1
        t.begun[task] = clock.now
        t.begun_order[clock.started] = task
        clock.started += 1
        stores.begin(t, worker, task, clock.now)
        _check(t, worker)
        agenda.at(t, row.free_at + t.seconds[task], _ENDS, task, 0)
    if t.rules[0].overlap:
        _load_ahead(t, worker)


@compiled
def _first(t: Tables, worker: int, loaded_ahead: bool) -> int:
    """Return where the queue has the first in Dask's order; -1 for none.

    Those that were loaded ahead count if it says so.
    """
    first = -1
    for i in range(t.workers[worker].queued):
        task = t.queue[worker, i]
        if t.tasks[task].ahead and not loaded_ahead:
            continue
        if first < 0 or t.order[task] < t.order[t.queue[worker, first]]:
            first = i
    return first


@compiled
def _load_ahead(t: Tables, worker: int) -> None:
    """Load for those that wait, in Dask's order: what has no room keeps the next ones back."""
    clock = t.clock[0]
    while clock.at_worker >= 0:
        first = _first(t, worker, False)
        if first < 0 or not stores.load_ahead(t, worker, t.queue[worker, first], clock.now):
            return
        _check(t, worker)


@compiled
def _check(t: Tables, worker: int) -> None:
    if stores.overflows(t, worker):
        t.clock[0].at_worker = -1 - worker


@compiled
def _end(t: Tables, task: int) -> None:
    """Store a task's output; its thread gets free when that is done."""
    worker = t.tasks[task].worker
    row, clock = t.workers[worker], t.clock[0]
    row.free_at = max(clock.now, row.free_at)
    stores.store(t, worker, task, task)
    _check(t, worker)
    end = row.free_at
    t.done[task] = end
    clock.makespan = max(clock.makespan, end)
    if t.rules[0].message == 0:
        # The message before the next task: at no cost of messages, what is dead goes before.
        agenda.at(t, end, _HEARD, task, 0)
    agenda.at(t, end, _FREES_THREAD, worker, task)


@compiled
def _free_thread(t: Tables, worker: int, task: int) -> None:
    row, message = t.workers[worker], t.rules[0].message
    row.running -= 1
    if t.rules[0].overlap:
        stores.leave(t, worker, task)
    _work(t, worker)
    if message > 0:
        # The event loop begins the next task, if it has one, before it sends anything.
        agenda.at(t, max(t.clock[0].now, row.free_at) + message, _HEARD, task, 0)
