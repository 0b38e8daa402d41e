"""The control: Dask's order, with roots withheld."""

from __future__ import annotations

from core.driver import VirtualDask
from dask_mlsched.core.planners.stock_withhold import StockWithhold


def dask_of(workers: int = 1) -> VirtualDask:
    dask = VirtualDask(StockWithhold(), lookahead=0, network_bandwidth=1e9)
    for worker in range(workers):
        dask.join(worker, limit=45)
    return dask


def test_roots_run_when_nothing_else_is_ready():
    # In Dask's order r1 and r2 would run before p, as they stand before it.
    dask = dask_of()
    dask.submit("r0\nr1\nr2\nr0 -> p\nr1 -> q", wanted=["p", "q", "r2"])
    assert dask.run() == ["r0", "p", "r1", "q", "r2"]
    assert {run.reason for run in dask.runs} == {"policy"}


def test_what_reads_something_runs_in_dasks_order():
    dask = dask_of()
    dask.scatter("x", 40, [0])
    dask.scatter("y", 40, [0])
    dask.submit("x -> p\ny -> q\nx -> r")
    assert dask.run() == ["p", "q", "r"]


def test_an_idle_worker_runs_a_root_before_it_takes_what_is_at_home_elsewhere():
    dask = dask_of(workers=2)
    dask.scatter("x", 40, [0])
    dask.submit("x -> p\nx -> q\nx -> r\nroot")
    dask.decide()
    assert [(dask.key(run.task), run.worker) for run in dask.runs] == [("p", 0), ("root", 1)]
    dask.finish("root")
    dask.decide()
    # No root is left: q moves, as it would without a policy.
    assert [(dask.key(run.task), run.worker) for run in dask.runs[2:]] == [("q", 1)]


def test_tasks_whose_home_has_gone_run_before_roots():
    dask = dask_of(workers=2)
    dask.scatter("x", 40, [1])
    dask.submit("x -> p\nx -> q\nr0 r1 r2")
    dask.decide()
    dask.pause(1)
    dask.finish("r0")
    dask.decide()
    assert [dask.key(run.task) for run in dask.runs] == ["r0", "p", "q"]
