"""The active set and the k-constraint on small products."""

from __future__ import annotations

from itertools import product

import pytest

from core.driver import VirtualDask
from core.graphs import Drawn, gemm
from dask_mlsched.core import events as ev
from dask_mlsched.core.planners.active_set import ActiveSet
from dask_mlsched.core.planners.k_constraint import KConstraint
from dask_mlsched.core.policies import Policy


def with_blocks(
    policy: Policy, size: int, limit: int = 120, workers: int = 1, lookahead: int = 0
) -> VirtualDask:
    """Have the blocks of A and B (10 bytes each) in the slow tier, and submit their product."""
    dask = VirtualDask(policy, lookahead=lookahead, bandwidth=10.0, network_bandwidth=10.0)
    for worker in range(workers):
        dask.join(worker, limit=limit)
    for key, x, y in product("ab", range(size), range(size)):
        dask.scatter(f"{key}-{x}-{y}", 10, range(workers))
    for worker in range(workers):
        dask.handle(ev.ResidencySeen(0.0, worker, ()))
    drawn = gemm(size)
    products = {key: deps for key, deps in drawn.dependencies.items() if key[0] == "c"}
    dask.submit(Drawn(products, dict.fromkeys(products, 10)))
    return dask


def place(key: str) -> tuple[int, int, int]:
    i, j, k = (int(part) for part in key.split("-")[1:])
    return i, j, k


def cube(key: str) -> tuple[int, ...]:
    return tuple(each // 2 for each in place(key))


def test_the_active_set_goes_cube_by_cube():
    # Two by two by two blocks fit (test_products); in each cube, Dask's order.
    dask = with_blocks(ActiveSet(), 4)
    in_dasks_order = sorted(dask.keys("parked", "waiting"), key=place)
    assert dask.run() == sorted(in_dasks_order, key=cube)
    assert {run.reason for run in dask.runs} == {"policy"}


def test_the_next_cube_is_released_when_all_of_the_last_one_is_done():
    dask = with_blocks(ActiveSet(), 4, lookahead=2)
    while True:
        sent = len(dask.sent)
        dask.decide()
        for key in dask.sent[sent:]:
            before = [each for each in dask.tasks if each[0] == "c" and cube(each) < cube(key)]
            assert all(dask.tasks[each].state in ("memory", "released") for each in before), key
        time = dask.next_time()
        if time is None:
            break
        dask.now = time
        for worker in dask.workers.values():
            for key in [key for key, end in worker.ends.items() if end <= time]:
                dask.finish(key)
    assert not dask.keys("parked", "waiting", "processing")


def test_cubes_go_to_workers_by_their_block_of_c():
    dask = with_blocks(ActiveSet(), 4, workers=2)
    dask.run()
    worker_of = {dask.key(run.task): run.worker for run in dask.runs}
    # Blocks of C in turn: (0, 0) and (1, 0) to worker 0, the others to worker 1.
    assert worker_of == {key: cube(key)[1] for key in worker_of}


def test_what_makes_blocks_runs_with_the_first_cube_that_reads_them():
    dask = VirtualDask(ActiveSet(), lookahead=0, bandwidth=10.0)
    dask.join(0, limit=120)
    drawn = gemm(4)
    drawn.nbytes = dict.fromkeys(drawn.dependencies, 10)
    dask.submit(drawn)
    dask.run()
    last_of_first_row = max(i for i, key in enumerate(dask.sent) if key[:4] in ("c-0-", "c-1-"))
    first_of_second = min(i for i, key in enumerate(dask.sent) if key[:4] in ("a-2-", "a-3-"))
    assert last_of_first_row < first_of_second


def steps(dask: VirtualDask) -> list[int]:
    return [place(key)[2] for key in dask.sent if key[0] == "c"]


def test_the_k_constraint_goes_step_by_step():
    # All chains are as long, so that the longest rest is that of the earliest step.
    dask = with_blocks(KConstraint(), 3)
    in_dasks_order = sorted(dask.keys("parked", "waiting"), key=place)
    assert dask.run() == sorted(in_dasks_order, key=lambda key: place(key)[2])
    assert {run.reason for run in dask.runs} == {"policy"}


@pytest.mark.parametrize("ahead", [1, 2])
def test_what_makes_the_blocks_of_a_step_is_withheld_until_an_earlier_one_is_consumed(ahead: int):
    dask = VirtualDask(KConstraint(ahead), lookahead=3)
    dask.join(0, threads=2, limit=300)
    drawn = gemm(3)
    drawn.nbytes = dict.fromkeys(drawn.dependencies, 10)
    dask.submit(drawn)
    dask.decide()
    while (time := dask.next_time()) is not None:
        undone = [place(k)[2] for k in dask.keys("parked", "waiting", "processing") if k[0] == "c"]
        consumed = min(undone, default=3)
        for key in dask.keys("processing", "memory"):
            k = int(key.split("-")[{"a": 2, "b": 1, "c": 3}[key[0]]])
            assert k < consumed + ahead, key
        dask.advance(time)
    assert not dask.keys("parked", "waiting", "processing")


def test_a_step_is_released_when_nothing_is_active():
    # The products of step 0 need an array of Dask's own, which no worker can compute now: they
    # stay, and so does step 0. Step 1 runs though its turn has not come.
    dask = VirtualDask(KConstraint(ahead=1), lookahead=0, failures=1)
    dask.join(0, limit=45)
    drawn = gemm(2)
    for i, j in product(range(2), repeat=2):  # sums that do not wait for each other
        drawn.dependencies[f"c-{i}-{j}-1"].remove(f"c-{i}-{j}-0")
        drawn.dependencies[f"s-{i}-{j}"] = [f"c-{i}-{j}-0", f"c-{i}-{j}-1"]
    dask.pause(0)
    dask.submit(drawn, dasks_own=["a-0-0", "a-1-0"])
    dask.workers[0].paused = False
    dask.handle(ev.WorkerResumed(dask.now, 0))
    dask.decide()
    while (time := dask.next_time()) is not None:
        dask.advance(time)
    assert sorted(key for key in dask.sent if key[0] == "c") == [
        f"c-{i}-{j}-1" for i, j in product(range(2), repeat=2)
    ]
    assert dask.controller.chooser.reasons["nothing planned"] == 0


def test_a_graph_that_is_no_product_is_a_failure_and_runs_in_dasks_order():
    for planner in (ActiveSet(), KConstraint()):
        dask = VirtualDask(planner, failures=2, lookahead=0)
        dask.join(0, limit=45)
        dask.submit("a b c -> p\nd")
        assert dask.run() == ["a", "b", "c", "p", "d"]
        guard = dask.controller.chooser.guard
        assert guard is not None
        assert guard.off
        assert "expected products of two arrays" in str(guard.last_failure)


def test_no_step_ahead_is_an_error():
    with pytest.raises(ValueError, match="ahead is 0; expected at least 1 step"):
        KConstraint(0)
