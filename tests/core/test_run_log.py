"""A run's log: enough to simulate it again, one run after the other, and within its limit."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.driver import VirtualDask
from core.graphs import Drawn, gemm
from core.recorded import RecordedDask
from dask_mlsched.core import events as ev
from dask_mlsched.core.calibration import calibrate
from dask_mlsched.core.measured import MeasuredGraph
from dask_mlsched.core.policies import GreedyHold
from dask_mlsched.core.run_log import LoggedRun, RunLog, restated
from dask_mlsched.core.trace import Header, Step, Trace


def logged(dask: VirtualDask, log: RunLog | None = None) -> RunLog:
    dask.controller.log = RunLog() if log is None else log
    assert dask.controller.log is not None
    return dask.controller.log


def ended(dask: VirtualDask, log: RunLog) -> LoggedRun:
    run = log.run()
    log.begin_run(dask.controller.books, dask.now)
    return run


def as_trace(run: LoggedRun, header: Header) -> Trace:
    return Trace(header, tuple(Step(event, tuple(said)) for event, said in run.entries))


def renamed(drawn: Drawn, before: str) -> Drawn:
    return Drawn(
        {before + key: [before + dep for dep in deps] for key, deps in drawn.dependencies.items()},
        {before + key: nbytes for key, nbytes in drawn.nbytes.items()},
    )


def ran(size: int = 3) -> RecordedDask:
    dask = RecordedDask(GreedyHold(), bandwidth=8.0, hold_limit=64.0)
    logged(dask)
    dask.join(0, threads=1, limit=30)
    dask.submit(gemm(size))
    dask.run()
    return dask


def test_a_logged_run_is_calibrated_like_a_recorded_one():
    dask = ran()
    log = dask.controller.log
    assert log is not None
    run = ended(dask, log)
    assert not run.cut
    recorded = dask.trace()
    ours = calibrate(as_trace(run, recorded.header))
    theirs = calibrate(recorded)
    assert run.begun == len(theirs.taken.sent)
    assert ours.live == theirs.live
    # What decisions took is not in a log.
    costs = replace(theirs.machine.costs, decision=0.0)
    assert ours.machine == replace(theirs.machine, costs=costs)
    assert list(ours.taken.dag.nbytes) == list(theirs.taken.dag.nbytes)
    assert [(s.task, s.worker, s.held) for s in ours.taken.sent] == [
        (s.task, s.worker, s.held) for s in theirs.taken.sent
    ]


def test_without_a_log_nothing_is_kept():
    dask = VirtualDask(GreedyHold(), bandwidth=8.0)
    dask.join(0, threads=1, limit=30)
    dask.submit(gemm(2))
    dask.run()
    assert dask.controller.log is None


def test_a_log_is_cut_at_its_limit_and_says_so():
    dask = VirtualDask(GreedyHold(), bandwidth=8.0)
    log = logged(dask, RunLog(limit=10))
    dask.join(0, threads=1, limit=30)
    dask.submit(gemm(2))
    dask.run()
    assert len(log) == 10
    run = ended(dask, log)
    assert run.cut
    assert run.begun > 10
    assert log.begun == 0
    assert not log.run().cut


def test_the_next_run_knows_what_is_there():
    dask = ran(2)
    log = dask.controller.log
    assert log is not None
    ended(dask, log)
    graph = MeasuredGraph()
    for event in restated(dask.controller.books, dask.now):
        graph.handle(event)
    there = [
        task for task in range(len(dask.controller.graph)) if dask.controller.graph.known(task)
    ]
    assert len(graph.keys()) == len(there)
    assert len(log) == len(restated(dask.controller.books, dask.now))


def test_an_illegal_event_is_not_logged():
    dask = VirtualDask()
    log = logged(dask)
    dask.join(0)
    before = len(log)
    with pytest.raises(ValueError, match="UNKNOWN"):
        dask.controller.handle(ev.TaskReady(dask.now, 5))
    assert len(log) == before


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(1, 3), min_size=1, max_size=3), st.integers(1, 2))
def test_every_run_of_several_can_be_simulated(sizes: list[int], workers: int):
    dask = RecordedDask(GreedyHold(), bandwidth=8.0, hold_limit=64.0)
    log = logged(dask)
    for worker in range(workers):
        dask.join(worker, threads=1, limit=30)
    header = dask.trace().header
    for number, size in enumerate(sizes):
        dask.submit(renamed(gemm(size), f"run{number} "))
        dask.run()
        run = ended(dask, log)
        calibration = calibrate(as_trace(run, header))
        assert run.begun == len(calibration.taken.sent)
        assert calibration.machine.workers == workers
