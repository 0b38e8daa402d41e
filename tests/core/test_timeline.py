"""What every thread did: five activities that never overlap and leave nothing out."""

from __future__ import annotations

import random
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core.graphs import gemm, random_graph
from core.recorded import RecordedDask
from core.recorded_simulations import COSTS, block_product, recorded
from dask_mlsched.core import events as ev
from dask_mlsched.core.calibration import calibrate
from dask_mlsched.core.chooser import Settings
from dask_mlsched.core.machine import Machine
from dask_mlsched.core.policies import GreedyHold
from dask_mlsched.core.timeline import ACTIVITIES, Timeline, WorkerTimeline, timeline
from dask_mlsched.core.trace import Header, Step, Trace
from dask_mlsched.core.worker_log import worker_logs

HEADER = Header("1.2.3", 0.0, "greedy", "manage", Settings())


def trace_of(*entries: ev.Event | Step) -> Trace:
    steps = (each if isinstance(each, Step) else Step(each) for each in entries)
    return Trace(HEADER, tuple(steps))


def one_worker(*entries: ev.Event | Step, threads: int = 1) -> WorkerTimeline:
    """Read a run of tasks 0, 1 and 2, of which 1 and 2 read 0, on one worker."""
    specs = tuple(ev.TaskSpec(n, (0,) if n else (), (0, 0, n)) for n in range(3))
    start = (ev.WorkerJoined(0.0, 0, threads, 100), ev.GraphArrived(0.0, specs))
    (worker,) = timeline(trace_of(*start, *entries)).workers
    return worker


def row(worker: WorkerTimeline, thread: int = 0) -> list[tuple[str, float, float]]:
    return [(each.activity, each.start, each.end) for each in worker.threads[thread]]


def ran(task: int, sent: float, heard: float, seconds: float) -> tuple[ev.Event, ev.Event]:
    return ev.TaskStarted(sent, task, 0), ev.TaskFinished(heard, task, 10, seconds)


def moved(time: float, *copies: tuple[int, bool, int, float]) -> ev.ArraysMoved:
    return ev.ArraysMoved(time, 0, (), 0, 0.0, copies)


def test_what_is_not_computed_nor_copied_nor_held_is_idle():
    worker = one_worker(*ran(0, 1.0, 2.0, 1.0), *ran(1, 3.0, 5.0, 2.0))
    assert row(worker) == [("compute", 0.0, 1.0), ("idle", 1.0, 2.0), ("compute", 2.0, 4.0)]
    assert worker.seconds() == {"compute": 3, "load": 0, "evict": 0, "hold": 0, "idle": 1}


def test_a_thread_waits_for_the_loads_of_its_next_task():
    worker = one_worker(
        *ran(0, 1.0, 2.0, 1.0),
        ev.TaskStarted(2.0, 1, 0),
        moved(3.0, (0, True, 10, 0.5)),
        ev.TaskFinished(4.0, 1, 10, 1.0),
    )
    assert row(worker) == [
        ("compute", 0.0, 1.0),
        ("idle", 1.0, 1.5),
        ("load", 1.5, 2.0),
        ("compute", 2.0, 3.0),
    ]
    assert [(each.task, each.nbytes) for each in worker.copies] == [(0, 10)]


def test_copies_beside_computing_stand_in_their_own_row_alone():
    worker = one_worker(
        ev.TaskStarted(1.0, 0, 0), moved(2.0, (2, False, 7, 0.5)), ev.TaskFinished(3.0, 0, 10, 2.0)
    )
    assert row(worker) == [("compute", 0.0, 2.0)]
    assert [(each.activity, each.start, each.end) for each in worker.copies] == [
        ("evict", 0.5, 1.0)
    ]


def test_a_thread_without_a_task_does_not_wait_for_copies():
    evicted = moved(4.0, (0, False, 10, 1.0))
    worker = one_worker(*ran(0, 1.0, 2.0, 1.0), evicted, *ran(1, 5.0, 6.0, 1.0))
    assert row(worker)[1] == ("idle", 1.0, 4.0)
    assert len(worker.copies) == 1


def test_where_a_slot_is_held_and_nothing_is_computed_the_thread_holds():
    held = Step(ev.Decide(2.0), (ev.Hold(2.0, 0, 9.0, 1.0),))
    run = Step(ev.Decide(3.5), (ev.Run(3.5, 1, 0, "policy", 0, 1, 0, 1.5),))
    worker = one_worker(*ran(0, 1.0, 2.0, 1.0), held, run, *ran(1, 4.0, 5.0, 1.0))
    assert row(worker)[1:3] == [("hold", 1.0, 2.5), ("idle", 2.5, 3.0)]


def test_a_hold_while_the_thread_computes_takes_no_time_of_it():
    held = Step(ev.Decide(1.25), (ev.Hold(1.25, 0, 1.75, 1.0),))
    worker = one_worker(ev.TaskStarted(1.0, 0, 0), held, ev.TaskFinished(2.0, 0, 10, 1.0))
    assert row(worker) == [("compute", 0.0, 1.0)]


def test_a_worker_is_there_from_when_it_joined_until_it_left():
    specs = tuple(ev.TaskSpec(n, (), (0, 0, n)) for n in range(2))
    found = timeline(
        trace_of(
            *(ev.WorkerJoined(0.0, 0, 1, 100), ev.WorkerJoined(0.0, 5, 1, 100)),
            ev.GraphArrived(0.0, specs),
            *ran(0, 1.0, 2.0, 1.0),
            ev.WorkerLeft(2.5, 5),
            *(ev.WorkerJoined(3.0, 5, 2, 50), ev.WorkerJoined(9.0, 6, 1, 50)),
            *ran(1, 4.0, 5.0, 1.0),
        )
    )
    assert [(each.number, each.start, each.end) for each in found.workers] == [
        (0, 0.0, 4.0),
        (1, 0.0, 1.5),
        (2, 2.0, 4.0),
    ]
    assert [len(each.threads) for each in found.workers] == [1, 1, 2]
    check(found)


def test_what_had_no_room_is_told():
    worker = one_worker(*ran(0, 1.0, 2.0, 0.5), *ran(1, 2.0, 2.5, 2.5))
    assert worker.cut_seconds == pytest.approx(1.5)
    assert worker.seconds()["compute"] == pytest.approx(1.5)


def check(found: Timeline) -> None:
    """See that spans of a row are within the run, in order, and that threads' have no gaps."""
    for worker in found.workers:
        assert 0 <= worker.start <= worker.end <= found.makespan
        for spans in worker.threads:
            assert spans[0].start == worker.start
            assert spans[-1].end == worker.end
            assert all(each.start < each.end for each in spans)
            assert all(one.end == other.start for one, other in pairwise(spans))
        for copies in (worker.copies,):
            assert all(worker.start <= each.start < each.end <= worker.end for each in copies)
            assert all(one.end <= other.start + 1e-9 for one, other in pairwise(copies))
        there = (worker.end - worker.start) * len(worker.threads)
        assert sum(worker.seconds().values()) == pytest.approx(there)
        assert set(worker.seconds()) == set(ACTIVITIES)


SLOW = [HealthCheck.too_slow, HealthCheck.data_too_large]
POLICIES = st.sampled_from(["stock", "random", "greedy", "greedy-hold", "fifo"])


@settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(
    POLICIES,
    st.integers(1, 3),
    st.integers(1, 3),
    st.sampled_from([None, 600_000]),
    st.booleans(),
    st.floats(0, 1),
)
def test_the_rows_of_simulated_runs_are_whole_even_if_the_trace_is_cut(
    policy: str, workers: int, threads: int, limit: int | None, overlap: bool, share: float
):
    machine = Machine(limit, workers=workers, threads=threads, costs=COSTS, overlap=overlap)
    _, trace = recorded(block_product(3, workers), machine, policy, overlap=overlap)
    check(timeline(trace, COSTS.message))
    cut = replace(trace, entries=trace.entries[: int(share * len(trace.entries))])
    if any(isinstance(event, ev.TaskFinished) for event in cut.events()):
        check(timeline(cut, COSTS.message))


@settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(st.randoms(use_true_random=False), st.integers(0, 30), st.integers(0, 2))
def test_the_rows_of_runs_with_accidents_are_whole(rng: random.Random, when: int, lookahead: int):
    dask = RecordedDask(GreedyHold(), bandwidth=8.0, lookahead=lookahead, hold_limit=64.0)
    dask.join(0, threads=1, limit=64)
    dask.join(1, threads=2, limit=64)
    dask.submit(random_graph(rng, 30) if rng.random() < 0.5 else gemm(3))
    dask.decide()
    happenings = [
        lambda: dask.leave(1),
        lambda: dask.pause(0),
        lambda: dask.join(2, limit=96),
        lambda: dask.resume(0),
    ]
    for step in range(40):
        time = dask.next_time()
        if time is not None:
            dask.advance(time)
        if step >= when and happenings:
            happenings.pop(0)()
    dask.run()
    check(timeline(dask.trace()))


@pytest.mark.parametrize("threads", [1, 2])
def test_every_task_computes_for_as_long_as_was_measured(threads: int):
    machine = Machine(600_000, workers=2, threads=threads, costs=COSTS)
    _, trace = recorded(block_product(4), machine, "greedy")
    found = timeline(trace, calibrate(trace).machine.costs.message)
    measured = sum(task.seconds for worker in worker_logs(trace).workers for task in worker.tasks)
    assert found.seconds()["compute"] == pytest.approx(measured)
    assert sum(each.cut_seconds for each in found.workers) < 0.02 * found.makespan


def test_what_a_simulated_thread_waited_for_is_found():
    # One thread, whose event loop copies before each task and after it: all copies are waited for.
    # Some are reported before they were made, as simulated workers do, and stand too early.
    run, trace = recorded(block_product(4), Machine(600_000, costs=COSTS), "random")
    (worker,) = timeline(trace, COSTS.message).workers
    shown, copied = worker.seconds(), worker.copy_seconds()
    assert 0.8 * copied < shown["load"] + shown["evict"] <= copied
    loads = sum(each.activity == "load" for each in worker.copies)
    loading = COSTS.load.latency * loads + run.bytes_loaded / COSTS.load.bandwidth
    assert 0.8 * loading < shown["load"] <= loading


def test_tasks_stand_where_they_were_simulated():
    run, trace = recorded(block_product(4), Machine(600_000, costs=COSTS), "random")
    (worker,) = timeline(trace, COSTS.message).workers
    began = {each.task: each.start for each in worker.threads[0] if each.activity == "compute"}
    # A record begins when the loads do; computing ends some evictions before the record does.
    off = [
        max(0.0, each.start - began[each.task], began[each.task] - each.end)
        for each in run.schedule
    ]
    assert len(off) == len(began)
    assert sum(off) / len(off) < 0.2e-3
