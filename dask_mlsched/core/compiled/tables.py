"""The state of a compiled run as arrays, and what it is laid out from.

Of `n` tasks, `m` edges, `W` workers and `P` prefixes. Each worker has two shelves of arrays: number
`w` is what the scheduler predicts of it, number `W + w` what its store really holds.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final, Self

import numpy as np
from numba import types
from numba.experimental import structref

from dask_mlsched.core.chooser import Settings
from dask_mlsched.core.compiled.layouts import (
    CLOCK,
    HAPPENING,
    MOVE,
    NO_LIMIT,
    PLACE,
    PREFIX,
    RULES,
    SHELF,
    STEP,
    TASK,
    WORKER,
    Records,
    Singles,
)
from dask_mlsched.core.dag import Booleans, Dag, Floats, Integers
from dask_mlsched.core.machine import Machine, check_fits
from dask_mlsched.core.worker_line import BRIDGE


@structref.register
class _TablesType(types.StructRef):
    def preprocess_fields(self, fields: Any) -> Any:
        """Forget what numba knows of literal values."""
        return tuple((name, types.unliteral(kind)) for name, kind in fields)


class Tables(structref.StructRefProxy):
    """All arrays of a run in one value, which compiled functions take by reference."""

    #: What does not change, as in `Dag`; `order` is each task's place in Dask's order times `STEP`,
    #: and `guide` its place in the order that a network is shown, which may be another one.
    order: Integers
    guide: Integers
    nbytes: Integers
    seconds: Floats
    prefix: Integers
    starts: Integers
    ends: Integers
    sources: Integers
    reader_starts: Integers
    reader_ends: Integers
    readers: Integers
    wanted: Booleans
    #: [n, 2] steps from the first tasks and to the last ones.
    levels: Singles
    rules: Records  # [1]
    #: What does.
    clock: Records  # [1]
    tasks: Records  # [n]
    prefixes: Records  # [P]
    workers: Records  # [W]
    shelves: Records  # [2 W]
    places: Records  # [2 W, n + 1]
    #: Parked tasks with some input resident on a worker, by missing bytes: heap, index, key [W, n].
    near_heap: Integers
    near_place: Integers
    missing: Integers
    #: Parked tasks by home: heaps [W + 1, n], indexes [n], sizes [W + 1].
    home_heap: Integers
    home_place: Integers
    homes: Integers
    #: Of each worker: tasks sent, and when [W, Q]; those there to run, and those that wait for
    #: arrays, in the order of arrival.
    in_flight: Integers
    sent_at: Floats
    queue: Integers
    waiting: Integers
    #: With overlap: tasks that compute or were loaded ahead, in the order in which their inputs
    #: were asked for [W, Q]; when the copier has brought in each array [W, n].
    users: Integers
    there_at: Floats
    #: Victims of all hints, one after the other and round again.
    victims: Integers
    #: [W, …] moves since the last report: array + 1 for a load, minus that for an eviction.
    moves: Integers
    #: [n, ceil(W / 64)] bits: workers that hold an array, as predicted, and really.
    expected_on: Records
    held_by: Records
    #: What happens next, as a heap.
    happenings: Records
    #: What the stores did; [0] if nobody asks.
    log: Records
    #: [n] when each task took its thread, and gave it back; tasks in the order in which they began.
    begun: Floats
    done: Floats
    begun_order: Integers
    #: What moved in the last step; the shortlist of the decision at hand, and room to work.
    came: Integers
    gone: Integers
    candidates: Integers
    candidate_missing: Integers
    frontier: Integers
    scratch: Integers
    held_bytes: Integers  # [W]
    #: [n] how many readers the row of each array has room for; see `live`.
    reader_room: Integers
    #: [n] what `features` counts once for each decision; [V, 2] sums over the first victims.
    weighed: Integers
    unlocked: Singles
    victim_bytes: Floats
    #: [A, F] features of the decision at hand, [A, 2] what the network makes of them.
    features: Singles
    scores: Singles

    def __new__(cls, arrays: Mapping[str, np.ndarray[Any, Any]]) -> Self:
        """Hold the arrays, one for each name of `FIELDS`; they are not copied."""
        made: Self = structref.StructRefProxy.__new__(cls, *(arrays[name] for name in FIELDS))
        return made


#: The names of all arrays.
FIELDS: Final = tuple(Tables.__annotations__)

#: Those that no run changes.
FIXED: Final = frozenset(FIELDS[: FIELDS.index("clock")])

structref.define_proxy(Tables, _TablesType, list(FIELDS))

#: Most rows of a decision: the longest shortlist, what stands in order beside it, and HOLD.
MOST_CANDIDATES: Final = 40


def lay_out(
    dag: Dag,
    machine: Machine,
    settings: Settings,
    order: Integers,
    guide: Integers | None,
    *,
    policy: int,
    may_hold: bool,
    eviction: int,
    shortlist: int,
    seconds: Floats,
    columns: int,
    log: bool,
) -> dict[str, np.ndarray[Any, Any]]:
    """Make all arrays for a run that has not begun.

    Raises
    ------
    SimulationError
        If a task does not fit the machine.
    ValueError
        If two tasks have one place in the order, or in the guide.
    """
    check_fits(dag, machine.limit)
    n, w = len(dag), machine.workers
    for places, name in ((order, "Dask's order"), (guide, "the guide")):
        if places is not None and len(np.unique(places)) != n:
            msg = f"{n} tasks have {len(np.unique(places))} places in {name}; expected one each"
            raise ValueError(msg)
    most = machine.threads + settings.lookahead + BRIDGE + 1
    widest = int(np.max(np.diff(dag.starts), initial=0))
    costs = machine.costs
    arrays = empty(
        n,
        w,
        prefixes=len(dag.prefixes),
        sources=0,
        readers=0,
        most=most,
        widest=widest,
        columns=columns,
        log=log,
        overlap=machine.overlap,
    )
    arrays["rules"][0] = (
        n,
        w,
        machine.threads,
        settings.lookahead,
        policy,
        eviction,
        min(shortlist, settings.shortlist, MOST_CANDIDATES - 8),
        settings.hold_limit,
        settings.network_bandwidth,
        machine.keep_clean,
        may_hold,
        costs.load.bandwidth,
        costs.load.latency,
        costs.evict.bandwidth,
        costs.evict.latency,
        costs.send.bandwidth,
        costs.send.latency,
        costs.message,
        costs.decision,
        costs.task,
        NO_LIMIT if machine.slow_limit is None else machine.slow_limit,
        log,
        widest,
        settings.round_trip,
        guide is not None,
        machine.overlap,
    )
    limit = NO_LIMIT if machine.limit is None else machine.limit
    arrays["shelves"]["limit"] = limit
    arrays["workers"]["bandwidth"] = settings.bandwidth
    arrays["tasks"]["unfinished"] = np.diff(dag.starts)
    arrays["tasks"]["to_read"] = np.diff(dag.reader_starts)
    return {
        **arrays,
        "order": np.ascontiguousarray(order, np.int64) * STEP,
        "guide": np.ascontiguousarray(order if guide is None else guide, np.int64) * STEP,
        "nbytes": dag.nbytes,
        "seconds": seconds,
        "prefix": dag.prefix,
        "starts": dag.starts[:-1],
        "ends": dag.starts[1:],
        "sources": dag.sources,
        "reader_starts": dag.reader_starts[:-1],
        "reader_ends": dag.reader_starts[1:],
        "readers": dag.readers,
        "wanted": dag.wanted,
    }


def empty(
    n: int,
    w: int,
    *,
    prefixes: int,
    sources: int,
    readers: int,
    most: int,
    widest: int = 0,
    columns: int,
    log: bool = False,
    overlap: bool = False,
) -> dict[str, np.ndarray[Any, Any]]:
    """Make all arrays with room for so many tasks and workers, and nothing in them.

    Parameters
    ----------
    n, w
        Tasks and workers.
    prefixes, sources, readers
        Rows of those names.
    most
        Tasks that a worker has at once, at most.
    widest
        Inputs that a task has, at most.
    columns
        Features.
    log
        Whether there is a log.
    overlap
        Whether a copier beside the event loop loads ahead.
    """
    # An input that was loaded ahead may go again before its task begins.
    moves = n + (4 if overlap else 2) * most * (widest + 1)
    words = (w + 63) // 64
    workers = np.zeros(w, WORKER)
    workers["last_sent"] = -math.inf
    workers["held_since"] = workers["hold_until"] = math.nan
    workers["last_task"] = workers["first_result"] = workers["last_result"] = -1
    shelves = np.zeros(2 * w, SHELF)
    shelves["limit"] = NO_LIMIT
    places = np.zeros((2 * w, n + 1), PLACE)
    places["older"][:, n] = places["younger"][:, n] = n
    tasks = np.zeros(n, TASK)
    tasks["worker"] = -1
    return {
        "order": np.zeros(n, np.int64),
        "guide": np.zeros(n, np.int64),
        "nbytes": np.zeros(n, np.int64),
        "seconds": np.zeros(n),
        "prefix": np.zeros(n, np.int64),
        "starts": np.zeros(n, np.int64),
        "ends": np.zeros(n, np.int64),
        "sources": np.zeros(sources, np.int64),
        "reader_starts": np.zeros(n, np.int64),
        "reader_ends": np.zeros(n, np.int64),
        "readers": np.zeros(readers, np.int64),
        "wanted": np.zeros(n, np.bool_),
        "levels": np.zeros((n, 2), np.float32),
        "rules": np.zeros(1, RULES),
        "clock": np.zeros(1, CLOCK),
        "tasks": tasks,
        "prefixes": np.zeros(prefixes, PREFIX),
        "workers": workers,
        "shelves": shelves,
        "places": places,
        "near_heap": np.zeros((w, n), np.int32),
        "near_place": np.zeros((w, n), np.int32),
        "missing": np.zeros((w, n), np.int64),
        "home_heap": np.zeros((w + 1, n), np.int32),
        "home_place": np.zeros(n, np.int32),
        "homes": np.zeros(w + 1, np.int64),
        "in_flight": np.zeros((w, most), np.int32),
        "sent_at": np.zeros((w, most)),
        "queue": np.zeros((w, most), np.int32),
        "waiting": np.zeros((w, most), np.int32),
        "users": np.zeros((w, most if overlap else 0), np.int32),
        "there_at": np.zeros((w, n if overlap else 0)),
        "victims": np.zeros(2 * n + 64, np.int32),
        "moves": np.zeros((w, moves), np.int32),
        "expected_on": np.zeros((n, words), np.uint64),
        "held_by": np.zeros((n, words), np.uint64),
        "happenings": np.zeros(4 * w * most + 2 * n + 256, HAPPENING),
        "log": np.zeros(4 * n + 256 if log else 0, MOVE),
        "begun": np.zeros(n),
        "done": np.zeros(n),
        "begun_order": np.zeros(n, np.int32),
        "came": np.zeros(moves, np.int32),
        "gone": np.zeros(moves, np.int32),
        "candidates": np.zeros(MOST_CANDIDATES, np.int32),
        "candidate_missing": np.zeros(MOST_CANDIDATES, np.int64),
        "frontier": np.zeros(MOST_CANDIDATES + 2, np.int32),
        "scratch": np.zeros(2 * MOST_CANDIDATES + 2, np.int32),
        "held_bytes": np.full(w, -1, np.int64),
        "reader_room": np.zeros(n, np.int64),
        "weighed": np.zeros(n, np.int64),
        "unlocked": np.zeros(n, np.float32),
        "victim_bytes": np.zeros((16, 2)),
        "features": np.zeros((MOST_CANDIDATES, columns), np.float32),
        "scores": np.zeros((MOST_CANDIDATES, 2), np.float32),
    }
