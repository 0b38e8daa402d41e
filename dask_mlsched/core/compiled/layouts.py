"""How the rows of a compiled run are laid out, and what the numbers in them mean."""

from __future__ import annotations

from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt

#: As the network takes them.
Singles: TypeAlias = npt.NDArray[np.float32]

#: Rows of one of the layouts below.
Records: TypeAlias = Any

#: What decides. The names are those of the policies, but for `ORDER`, which leaves every choice to
#: Dask's order, and `NETWORK`, which scores features.
ORDER: Final = 0
GREEDY: Final = 1
GREEDY_HOLD: Final = 2
NETWORK: Final = 3

#: What evicts.
LRU: Final = 0
LUF: Final = 1
NEXT_USE: Final = 2

#: Where an array is on a shelf.
NOWHERE: Final = 0
RESIDENT: Final = 1
SLOW: Final = 2

#: Stands for "without limit" among bytes.
NO_LIMIT: Final = -1

#: From one place in Dask's order to the next: what lies between is for tasks that share a place.
STEP: Final = 2**22

#: Missing bytes of a task of which no input is resident.
FAR: Final = 2**62

TASK: Final = np.dtype(
    [
        ("size", np.int64),  # bytes: expected since it was sent, measured since it has finished
        ("unfinished", np.int32),  # inputs that do not exist
        ("to_read", np.int32),  # readers that have not run
        ("parked_readers", np.int32),
        ("worker", np.int32),  # while it is on one, else -1
        ("home", np.int32),  # W: no worker
        ("fetching", np.int32),  # inputs on their way to its worker
        ("hints", np.int32),  # victims that travel with it, from `hint_start` in `victims`
        ("hint_start", np.int64),
        ("next_result", np.int32),  # after this one in its worker's `first_result`, -1 for none
        ("pinned", np.int64),  # equal to the clock's `pins`: must not be evicted now
        ("state", np.int8),
        ("released", np.bool_),
        ("ahead", np.bool_),  # waits for a thread, and its inputs have been asked for
    ],
    align=True,
)

#: One array on one shelf, in a circle of resident ones by use; see `shelves`.
PLACE: Final = np.dtype(
    [
        ("older", np.int32),
        ("younger", np.int32),
        ("used", np.int64),  # the shelf's clock when it was used last
        ("where", np.int8),
        ("clean", np.bool_),  # there is a copy in the slow tier
    ],
    align=True,
)

SHELF: Final = np.dtype(
    [
        ("limit", np.int64),
        ("resident_bytes", np.int64),
        ("slow_bytes", np.int64),
        ("resident", np.int64),  # how many
        ("slow", np.int64),
        ("clock", np.int64),  # uses so far
    ],
    align=True,
)

WORKER: Final = np.dtype(
    [
        ("near", np.int64),  # size of its heap of near tasks
        ("last_sent", np.float64),
        ("last_end", np.float64),
        ("bandwidth", np.float64),
        ("copied_bytes", np.float64),
        ("copied_seconds", np.float64),
        ("held_since", np.float64),  # NaN: not held
        ("hold_until", np.float64),
        ("free_at", np.float64),  # its event loop
        ("copier_free_at", np.float64),  # with overlap
        ("moved_bytes", np.int64),  # since the last report
        ("moved_seconds", np.float64),
        ("bytes_loaded", np.int64),
        ("bytes_evicted", np.int64),
        ("in_flight", np.int32),
        ("queued", np.int32),
        ("waiting", np.int32),
        ("running", np.int32),
        ("moves", np.int32),
        ("users", np.int32),
        ("last_task", np.int32),  # that was sent there last, -1 before
        ("first_result", np.int32),  # of those that no task reads, by when they were expected; -1
        ("last_result", np.int32),
        ("in_line", np.bool_),  # in this pass of decisions
    ],
    align=True,
)

PREFIX: Final = np.dtype(
    [
        ("finished", np.int64),
        ("unfinished", np.int64),
        ("nbytes", np.float64),
        ("seconds", np.float64),
    ],
    align=True,
)

HAPPENING: Final = np.dtype(
    [
        ("time", np.float64),
        ("count", np.int64),
        ("kind", np.int32),
        ("a", np.int32),
        ("b", np.int32),
    ],
    align=True,
)

#: A line of the log: what a store did for a task, -1 for none.
MOVE: Final = np.dtype([("task", np.int32), ("array", np.int32), ("loaded", np.bool_)], align=True)

CLOCK: Final = np.dtype(
    [
        ("now", np.float64),
        ("count", np.int64),
        ("happenings", np.int64),  # in the queue
        ("logged", np.int64),
        ("scheduler_free_at", np.float64),
        ("pass_time", np.float64),
        ("ended", np.int64),
        ("started", np.int64),
        ("parked", np.int64),
        ("computed_bytes", np.int64),
        ("bytes_sent", np.int64),
        ("holds", np.int64),
        ("hold_seconds", np.float64),
        ("runs", np.int64),
        ("asked", np.int64),  # decisions of the policy
        ("pins", np.int64),
        ("hinted", np.int64),  # victims so far
        ("weighed", np.int64),  # decisions described, see `features`
        ("victims_weighed", np.int64),
        ("longest", np.float64),  # path, in steps
        ("known", np.int64),  # tasks, which live may be fewer than there are rows
        ("came", np.int64),  # in `came` and `gone`
        ("gone", np.int64),
        ("candidates", np.int64),
        ("hold_successor", np.int64),  # -1: no hold
        ("hold_missing", np.int64),
        ("hold_until", np.float64),
        ("hold_saved", np.float64),
        ("at_worker", np.int64),  # of the decision at hand
        ("makespan", np.float64),
        ("stirred", np.bool_),
        ("fits", np.bool_),
        ("in_pass", np.bool_),
        ("prefers_hold", np.bool_),
    ],
    align=True,
)

RULES: Final = np.dtype(
    [
        ("tasks", np.int64),
        ("workers", np.int64),
        ("threads", np.int64),
        ("lookahead", np.int64),
        ("policy", np.int64),
        ("eviction", np.int64),
        ("shortlist", np.int64),
        ("hold_limit", np.float64),
        ("network_bandwidth", np.float64),
        ("keep_clean", np.bool_),  # the stores do
        ("may_hold", np.bool_),
        ("load_bandwidth", np.float64),
        ("load_latency", np.float64),
        ("evict_bandwidth", np.float64),
        ("evict_latency", np.float64),
        ("send_bandwidth", np.float64),
        ("send_latency", np.float64),
        ("message", np.float64),
        ("decision", np.float64),
        ("task", np.float64),
        ("slow_limit", np.int64),
        ("log", np.bool_),
        ("widest", np.int64),  # most inputs of a task
        ("round_trip", np.float64),
        ("guided", np.bool_),  # whether the guide is another order than Dask's
        ("overlap", np.bool_),
    ],
    align=True,
)
