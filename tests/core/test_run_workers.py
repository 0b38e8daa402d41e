"""Which workers a run had, and what differed between them."""

from __future__ import annotations

import pytest

from core.recorded import RecordedDask
from dask_mlsched.core import events as ev
from dask_mlsched.core.calibration import calibrate, repeat
from dask_mlsched.core.chooser import Settings
from dask_mlsched.core.policies import Greedy
from dask_mlsched.core.resident_bytes import resident_bytes
from dask_mlsched.core.run_workers import RunWorkers, run_workers
from dask_mlsched.core.timeline import timeline
from dask_mlsched.core.trace import Header, Step, Trace

HEADER = Header("1.2.3", 0.0, "greedy", "manage", Settings())
GRAPH = ev.GraphArrived(0.0, (ev.TaskSpec(0, (), (0, 0, 0)), ev.TaskSpec(1, (), (0, 0, 1))))
BEGUN = ev.TaskStarted(1.0, 0, 0)
ENDED = ev.TaskFinished(2.0, 0, 10, 0.5)


def joined(worker: int, threads: int = 2, limit: int | None = 100) -> ev.WorkerJoined:
    return ev.WorkerJoined(0.0, worker, threads, limit)


def left(worker: int) -> ev.WorkerLeft:
    return ev.WorkerLeft(0.0, worker)


def seen(worker: int, limit: int | None) -> ev.LimitSeen:
    return ev.LimitSeen(0.0, worker, limit)


def workers_of(*events: ev.Event) -> RunWorkers:
    return run_workers(Trace(HEADER, tuple(map(Step, (GRAPH, *events)))))


@pytest.mark.parametrize(
    ("events", "count"),
    [
        ([joined(0), BEGUN, ENDED], 1),
        ([joined(0), joined(1), BEGUN, ENDED], 2),
        # A live worker tells its limit later than it joins, perhaps after the first task began.
        ([joined(0, limit=None), joined(1), BEGUN, seen(0, 100), ENDED], 2),
        ([joined(0), joined(1, limit=None), seen(1, 100), BEGUN, ENDED], 2),
        # These had no part in the run.
        ([joined(1, threads=8), left(1), joined(0), BEGUN, ENDED], 1),
        ([joined(0), left(0), joined(0), BEGUN, ENDED], 1),
        ([joined(0), BEGUN, ENDED, joined(1, threads=8)], 1),
        ([joined(0), joined(1), BEGUN, ENDED, left(1), left(0)], 2),
        ([joined(0), BEGUN, ENDED, seen(0, 5)], 1),
    ],
)
def test_equal_workers_that_were_there_all_the_time(events: list[ev.Event], count: int):
    assert workers_of(*events) == RunWorkers(count, 2, 100, None)


@pytest.mark.parametrize(
    ("events", "found"),
    [
        (
            [joined(0, 1), joined(1, 8), BEGUN, ENDED],
            RunWorkers(2, 1, 100, "workers of 1 and 8 threads"),
        ),
        (
            [joined(0, 4), joined(1, 1), joined(2, 8), BEGUN, ENDED],
            RunWorkers(3, 1, 100, "workers of 1 to 8 threads"),
        ),
        (
            [joined(0), joined(1, limit=5_000), BEGUN, ENDED],
            RunWorkers(2, 2, 100, "fast tiers of 100 and 5,000 bytes"),
        ),
        (
            [joined(0), BEGUN, seen(0, 50), ENDED],
            RunWorkers(1, 2, 50, "fast tiers of 50 and 100 bytes"),
        ),
        (
            [joined(0), joined(1, limit=None), BEGUN, ENDED],
            RunWorkers(2, 2, 100, "workers with and without a limited fast tier"),
        ),
        (
            [joined(0), joined(1), BEGUN, left(1), ENDED],
            RunWorkers(2, 2, 100, "a worker left in the run"),
        ),
        (
            [joined(0), BEGUN, joined(1), joined(2), ENDED],
            RunWorkers(3, 2, 100, "2 workers came in the run"),
        ),
        (
            [joined(0), joined(1), BEGUN, left(1), joined(1, 8), ENDED],
            RunWorkers(
                3,
                2,
                100,
                "workers of 2 and 8 threads, a worker left in the run, a worker came in the run",
            ),
        ),
    ],
)
def test_what_differs_is_said_in_one_line(events: list[ev.Event], found: RunWorkers):
    assert workers_of(*events) == found


def test_workers_without_tiers_are_equal():
    events = (joined(0, limit=None), joined(1, limit=None), BEGUN, ENDED)
    assert workers_of(*events) == RunWorkers(2, 2, None, None)


def test_a_cluster_that_was_restarted_before_the_run_is_simulated_as_it_was_then():
    dask = RecordedDask(Greedy(), bandwidth=8.0)
    for worker in (0, 1, 2):
        dask.join(worker, limit=60)
    dask.leave(0)
    dask.leave(1)
    dask.join(1, limit=60)
    dask.submit("a-1 a-2 a-3 -> b-1 -> c-1\na-1 -> b-2 -> c-1")
    dask.run()
    trace = dask.trace()
    found = calibrate(trace)
    assert (found.machine.workers, found.unequal) == (2, None)
    assert {each.worker for each in found.taken.sent} == {0, 1}
    # Decisions, timeline and levels number workers alike.
    assert [each.number for each in timeline(trace).workers] == [0, 1]
    assert [each.worker for each in resident_bytes(trace)] == [0, 1]
    repetition = repeat(found)
    assert {each.worker for each in repetition.run.schedule} == {0, 1}
    assert (repetition.differences.unknown, repetition.differences.out_of_turn) == (0, 0)
