"""What to do with one free slot, as `chooser.Chooser` has it."""

from __future__ import annotations

import math

from dask_mlsched.core.chooser import IN_ORDER, SENDING_SECONDS, SUCCESSORS
from dask_mlsched.core.compiled import heaps, shelves
from dask_mlsched.core.compiled.books import expected_nbytes, nearest, will_read
from dask_mlsched.core.compiled.jit import compiled
from dask_mlsched.core.compiled.layouts import FAR, GREEDY_HOLD, NO_LIMIT, ORDER
from dask_mlsched.core.compiled.tables import Tables
from dask_mlsched.core.planners.picture import UNKNOWN_SECONDS
from dask_mlsched.core.worker_line import BRIDGE, ROUND_TRIP

#: In place of a task: nothing to run, and HOLD.
NOTHING = -1
HOLD = -2
#: The policy is to be asked.
ASK = -3


@compiled
def has_room(t: Tables, worker: int) -> bool:
    """Tell whether a worker has a free slot."""
    rules = t.rules[0]
    return bool(t.workers[worker].in_flight < rules.threads + rules.lookahead)


@compiled
def _end_within(t: Tables, worker: int, first: int, limit: float) -> bool:
    """Tell whether tasks in flight, from one on, take less than so many seconds in all."""
    seconds = 0.0
    for i in range(first, t.workers[worker].in_flight):
        prefix = t.prefixes[t.prefix[t.in_flight[worker, i]]]
        if not prefix.finished:
            return False
        seconds += prefix.seconds
    return bool(seconds < limit)


@compiled
def takes_more(t: Tables, worker: int) -> bool:
    """Tell whether a worker has a free slot, or tasks too short to wait for the next."""
    if has_room(t, worker):
        return True
    row, threads = t.workers[worker], t.rules[0].threads
    if not t.clock[0].fits or t.shelves[worker].slow > 0:
        return False
    if row.in_flight >= threads + BRIDGE:
        return False
    return _end_within(t, worker, 0, ROUND_TRIP * threads)


@compiled
def would_wait(t: Tables, worker: int) -> bool:
    """Tell whether a worker would be done with what it has before the next task reaches it."""
    rules, row = t.rules[0], t.workers[worker]
    threads = rules.threads
    if rules.lookahead == 0 or rules.round_trip == 0 or row.in_flight >= threads + BRIDGE:
        return False
    return _end_within(t, worker, threads, rules.round_trip * threads)


@compiled
def first_in_line(t: Tables) -> int:
    """Name the least busy worker of those in line, the one that was sent a task longest ago."""
    best = -1
    threads = t.rules[0].threads
    for worker in range(t.rules[0].workers):
        row = t.workers[worker]
        if not row.in_line:
            continue
        if best < 0:
            best = worker
            continue
        other = t.workers[best]
        busy, least = row.in_flight / threads, other.in_flight / threads
        if busy < least or (busy == least and row.last_sent < other.last_sent):
            best = worker
    return best


@compiled
def choose(t: Tables, worker: int, now: float) -> int:
    """Return a task to run, NOTHING, or ASK: then the decision at hand has been described."""
    clock, rules = t.clock[0], t.rules[0]
    clock.at_worker = worker
    if rules.policy == ORDER or (clock.fits and t.shelves[worker].slow == 0):
        return _first_in_order(t, worker, now)
    count = _shortlist(t, worker)
    if count == 0:
        task = _from_elsewhere(t, worker, now)
        if task == NOTHING:
            return NOTHING
        t.candidates[0] = task
        count = 1
    _sort_candidates(t, count)
    clock.candidates = count
    fewest = _count_missing(t, worker)
    clock.hold_successor = -1
    if rules.may_hold or rules.policy == GREEDY_HOLD:
        _find_hold(t, worker, fewest, now)
    if clock.hold_successor < 0 and count == 1:
        return int(t.candidates[0])
    return ASK


@compiled
def greedy(t: Tables) -> int:
    """Return the index of the candidate with the fewest missing bytes; their number for HOLD."""
    clock = t.clock[0]
    best, fewest = 0, -1
    for i in range(clock.candidates):
        task = t.candidates[i]
        missing = t.candidate_missing[i]
        if t.starts[task] == t.ends[task]:
            missing = expected_nbytes(t, task)
        if fewest < 0 or missing < fewest:
            best, fewest = i, missing
    if (
        t.rules[0].policy == GREEDY_HOLD
        and clock.hold_successor >= 0
        and clock.hold_missing < fewest
    ):
        return int(clock.candidates)
    return best


@compiled
def _first_in_order(t: Tables, worker: int, now: float) -> int:
    if t.rules[0].guided:
        task = _first_of_all(t, worker)
        return task if task >= 0 else _from_elsewhere(t, worker, now)
    found = _in_order(t, worker, 1)
    return int(t.scratch[0]) if found else _from_elsewhere(t, worker, now)


@compiled
def _first_of_all(t: Tables, worker: int) -> int:
    """Find the first in Dask's order where the heaps stand in another one; -1 for none."""
    best = -1
    for home in (worker, t.rules[0].workers):
        for i in range(t.homes[home]):
            task = t.home_heap[home, i]
            if best < 0 or t.order[task] < t.order[best]:
                best = task
    return int(best)


@compiled
def _in_order(t: Tables, worker: int, count: int) -> int:
    """Write tasks at home on the worker, or without inputs, into `scratch`, as guided."""
    none = t.rules[0].workers
    here = heaps.smallest(
        t.home_heap[worker], t.homes[worker], t.guide, t.guide, count, t.scratch, t.frontier
    )
    rest = t.scratch[here:]
    roots = heaps.smallest(
        t.home_heap[none], t.homes[none], t.guide, t.guide, count, rest, t.frontier
    )
    # Insertion: both halves are sorted and short.
    for i in range(here, here + roots):
        task = t.scratch[i]
        j = i
        while j > 0 and t.guide[t.scratch[j - 1]] > t.guide[task]:
            t.scratch[j] = t.scratch[j - 1]
            j -= 1
        t.scratch[j] = task
    return min(here + roots, count)


@compiled
def _shortlist(t: Tables, worker: int) -> int:
    """Write the nearest tasks, and the first in order beside them, into `candidates`."""
    near = nearest(t, worker, t.rules[0].shortlist)
    count = near
    for i in range(_in_order(t, worker, IN_ORDER)):
        task = t.scratch[i]
        known = False
        for j in range(near):
            known = known or t.candidates[j] == task
        if not known:
            t.candidates[count] = task
            count += 1
    return int(count)


@compiled
def _sort_candidates(t: Tables, count: int) -> None:
    for i in range(1, count):
        task = t.candidates[i]
        j = i
        while j > 0 and t.guide[t.candidates[j - 1]] > t.guide[task]:
            t.candidates[j] = t.candidates[j - 1]
            j -= 1
        t.candidates[j] = task


@compiled
def _count_missing(t: Tables, worker: int) -> int:
    fewest = -1
    for i in range(t.clock[0].candidates):
        task = t.candidates[i]
        missing = 0
        for j in range(t.starts[task], t.ends[task]):
            array = t.sources[j]
            if not shelves.is_resident(t, worker, array):
                missing += t.nbytes[array]
        t.candidate_missing[i] = missing
        if fewest < 0 or missing < fewest:
            fewest = missing
    return int(fewest)


@compiled
def _from_elsewhere(t: Tables, worker: int, now: float) -> int:
    """Take a task away from its home, for a thread that would have nothing to do."""
    rules = t.rules[0]
    home = -1
    for other in range(rules.workers):
        if other != worker and t.homes[other] and (home < 0 or t.homes[other] > t.homes[home]):
            home = other
    if home < 0:
        return NOTHING
    count = heaps.smallest(
        t.home_heap[home], t.homes[home], t.guide, t.guide, IN_ORDER, t.scratch, t.frontier
    )
    task, least = NOTHING, -1
    for i in range(count):
        to_send = 0
        for j in range(t.starts[t.scratch[i]], t.ends[t.scratch[i]]):
            array = t.sources[j]
            if not shelves.is_held(t, worker, array):
                to_send += t.nbytes[array]
        if least < 0 or to_send < least:
            task, least = t.scratch[i], to_send
    if t.workers[worker].in_flight >= rules.threads and least > 0:
        return NOTHING
    prefix = t.prefixes[t.prefix[task]]
    seconds = max(prefix.seconds if prefix.finished else UNKNOWN_SECONDS, _overdue(t, home, now))
    waiting = t.homes[home] - max(0, rules.threads - t.workers[home].in_flight)
    waiting_there = waiting / rules.threads * seconds
    sending = least / rules.network_bandwidth
    if least > 0:
        sending += SENDING_SECONDS
    return NOTHING if sending > waiting_there else int(task)


@compiled
def _overdue(t: Tables, worker: int, now: float) -> float:
    row = t.workers[worker]
    if row.in_flight < t.rules[0].threads:
        return 0.0
    first = math.inf
    for i in range(row.in_flight):
        first = min(first, t.sent_at[worker, i])
    return float(now - max(row.last_end, first))


@compiled
def _find_hold(t: Tables, worker: int, fewest: int, now: float) -> None:
    """Describe what holding the slot promises, where it is allowed."""
    clock, row = t.clock[0], t.workers[worker]
    if row.in_flight == 0 or t.shelves[worker].limit == NO_LIMIT or fewest == 0:
        return
    if not math.isnan(row.hold_until) and now >= row.hold_until:
        return
    successor = _nearest_successor(t, worker, fewest)
    if successor < 0:
        return
    clock.hold_saved = (fewest - clock.hold_missing) / row.bandwidth
    until = min(_idle_from(t, worker, now) + clock.hold_saved, now + t.rules[0].hold_limit)
    if not math.isnan(row.hold_until):
        until = min(until, row.hold_until)
    if until > now:
        clock.hold_successor = successor
        clock.hold_until = until


@compiled
def _nearest_successor(t: Tables, worker: int, fewest: int) -> int:
    best = -1
    for i in range(t.workers[worker].in_flight):
        running = t.in_flight[worker, i]
        looked_at = 0
        for j in range(t.reader_starts[running], t.reader_ends[running]):
            successor = t.readers[j]
            if t.tasks[successor].unfinished != 1 or not will_read(t, successor):
                continue
            if t.order[successor] == FAR:
                continue  # once ready, it would still stand behind the tasks at hand
            looked_at += 1
            if looked_at > SUCCESSORS:
                break
            missing = 0
            for k in range(t.starts[successor], t.ends[successor]):
                array = t.sources[k]
                if not shelves.is_resident(t, worker, array):
                    missing += expected_nbytes(t, array)
            if missing < fewest or (
                best >= 0 and missing == fewest and t.order[successor] < t.order[best]
            ):
                best, fewest = successor, missing
    t.clock[0].hold_missing = fewest
    return int(best)


@compiled
def _idle_from(t: Tables, worker: int, now: float) -> float:
    row = t.workers[worker]
    if row.in_flight < t.rules[0].threads:
        return now
    first = math.inf
    for i in range(row.in_flight):
        seconds = t.prefixes[t.prefix[t.in_flight[worker, i]]].seconds
        first = min(first, max(t.sent_at[worker, i], row.last_end) + seconds)
    return float(max(now, first))
