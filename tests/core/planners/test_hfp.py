"""Hierarchical fair packing by hand, and how its order is carried out."""

from __future__ import annotations

import pytest

from core.driver import VirtualDask
from dask_mlsched.core import events as ev
from dask_mlsched.core.planners import hfp
from dask_mlsched.core.planners.hfp import Hfp
from dask_mlsched.core.planners.packages import pack

A0, A1, B0, B1 = range(4)
SIZES = dict.fromkeys(range(4), 10)


def test_what_shares_and_fits_becomes_one_package():
    # Room for three arrays. Task 0 shares 10 bytes with 1 (A0) and with 2 (B0); both unions need
    # 30, and 1 is the first. Task 2 shares B0 with that package, which would need 40, and A1 with
    # task 3, which needs 30. The two packages only fit together without limit.
    arrays = {0: (A0, B0), 1: (A0, B1), 2: (A1, B0), 3: (A1, B1)}
    assert pack([0, 1, 2, 3], arrays, SIZES, 30) == [0, 1, 2, 3]
    # In another order of the tasks, 0 meets 2 first: the packages are columns now.
    assert pack([0, 2, 1, 3], arrays, SIZES, 30) == [0, 2, 1, 3]


def test_larger_arrays_count_more():
    arrays = {0: (A0, B0), 1: (A0, B1), 2: (A1, B0), 3: (A1, B1)}
    assert pack([0, 1, 2, 3], arrays, {**SIZES, B0: 11, B1: 11}, 32) == [0, 2, 1, 3]


def test_rows_are_joined_where_their_ends_share_most():
    # No two tasks fit together, so that each is a block. 0 joins 1, with which it shares 20
    # bytes. Then 2 joins [0, 1]: it shares A1 with the far end, so that row is turned.
    sizes = {**SIZES, B0: 20}
    arrays = {0: (A0, B0), 1: (B0, A1), 2: (A1, B1)}
    assert pack([0, 1, 2], arrays, sizes, 1) == [2, 1, 0]


def test_tasks_that_share_nothing_keep_their_order():
    arrays = {7: (A0,), 5: (A1,), 6: (B0,)}
    assert pack([7, 5, 6], arrays, SIZES, 100) == [7, 5, 6]


def test_nothing_is_packed_into_nothing():
    assert pack([], {}, {}, 1) == []


def product_of(names: str, workers: int = 1, limit: int = 30) -> VirtualDask:
    """Have a, b, c and d (10 bytes each) in the slow tier, and tasks that read two of them."""
    dask = VirtualDask(Hfp(), lookahead=0, bandwidth=10.0, network_bandwidth=10.0)
    for worker in range(workers):
        dask.join(worker, limit=limit)
    for key in "abcd":
        dask.scatter(key, 10, range(workers))
    for worker in range(workers):
        dask.handle(ev.ResidencySeen(0.0, worker, ()))
    dask.submit("\n".join(f"{x} {y} -> {x}{y}:0" for x, y in names.split()))
    return dask


def test_tasks_run_in_the_order_of_packing():
    # Dask's order alternates between rows; the packages are {ac, ad} and {bc, bd}.
    dask = product_of("ac bc ad bd")
    # Without sizes all arrays count 10, as those that exist: no two tasks fit with their outputs.
    dask.run()
    assert {run.reason for run in dask.runs} == {"policy"}
    order = dask.sent
    assert {order.index("ac") - order.index("ad"), order.index("bc") - order.index("bd")} <= {1, -1}


def test_evictions_are_belady_s():
    # One device of three arrays, four tasks in a row: each next task brings one array in and has
    # no more use for another: four arrays are loaded once, and a goes when b comes.
    dask = product_of("ac ad bd bc")
    dask.run()
    missing = sum(run.missing_bytes for run in dask.runs)
    evicted = [dask.key(array) for run in dask.runs for array in run.evict]
    assert missing == 40
    assert len(evicted) == 1
    last_use = max(i for i, key in enumerate(dask.sent) if evicted[0] in key)
    comes = next(i for i, run in enumerate(dask.runs) if run.evict)
    assert last_use < comes


def test_each_worker_takes_a_part_of_the_order():
    dask = product_of("ac ad bd bc", workers=2)
    dask.run()
    by_worker = [{dask.key(r.task) for r in dask.runs if r.worker == w} for w in (0, 1)]
    assert by_worker in ([{"ac", "ad"}, {"bc", "bd"}], [{"ac", "bc"}, {"ad", "bd"}])


def test_too_many_tasks_are_a_failure_that_names_the_cure(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(hfp, "MOST_TASKS", 3)
    dask = product_of("ac ad bd bc")
    dask.decide()
    guard = dask.controller.chooser.guard
    assert guard is not None
    assert "hfp got 4 tasks to plan; expected at most 3" in str(guard.last_failure)
    assert dask.runs[0].reason == "policy failed"
