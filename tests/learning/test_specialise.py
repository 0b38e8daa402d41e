"""Specialising to a DAG: never worse than the candidates, the same again, within the budget."""

from __future__ import annotations

import numpy as np
import pytest

from core.recorded_simulations import MACHINE_LIMIT, block_product
from core.rollouts import COPY
from dask_mlsched.benchmarks.families.factorizations import cholesky
from dask_mlsched.benchmarks.families.products import gemm
from dask_mlsched.core import features
from dask_mlsched.core.chooser import Settings
from dask_mlsched.core.compiled.rollout import Rollout
from dask_mlsched.core.costs import CopyCost, Costs
from dask_mlsched.core.dag import Dag
from dask_mlsched.core.graph_message import ARMS, Objective
from dask_mlsched.core.machine import Machine
from dask_mlsched.core.network import linear
from dask_mlsched.core.simulator import simulate
from dask_mlsched.learning import specialise as module
from dask_mlsched.learning.specialise import Specialist, after, specialise

SETTINGS = Settings(bandwidth=COPY.bandwidth)
#: For a block product: Dask alone, four networks in Dask's order, three in each of two others.
CANDIDATES = 17
#: Runs what misses most: worse than Dask alone.
BAD = linear(np.where(np.array(features.NAMES) == "missing", 1.0, 0.0))


def machine(limit: int | None = MACHINE_LIMIT, copy: CopyCost = COPY) -> Machine:
    return Machine(limit, costs=Costs(copy, copy, copy))


def on(
    dag: Dag,
    runs: int = 60,
    *,
    seed: int = 0,
    limit: int | None = MACHINE_LIMIT,
    objective: Objective = "makespan",
    seen: list[Specialist] | None = None,
) -> Specialist:
    return specialise(
        dag,
        machine(limit),
        SETTINGS,
        np.arange(len(dag)),
        BAD,
        expired=after(runs),
        rng=np.random.default_rng(seed),
        objective=objective,
        on_candidates=None if seen is None else seen.append,
    )


def test_it_is_never_worse_than_a_candidate() -> None:
    made = on(block_product(4))
    makespan = made.foretold[made.arm][0]
    assert all(makespan <= other for other, _ in made.foretold.values())
    own = {"stock", "order", "greedy", "greedy-hold", "generalist"}
    guided = {
        name + suffix
        for name in ("packed", "cubes", "rows", "columns")
        for suffix in ("", "-greedy", "-generalist")
    }
    assert own | guided <= set(made.foretold) <= set(ARMS)


def test_what_was_foretold_is_what_a_run_comes_to() -> None:
    dag = block_product(4)
    made = on(dag)
    run = Rollout(
        dag,
        machine(),
        SETTINGS,
        np.arange(len(dag)),
        made.network,
        may_hold=made.may_hold,
        guide=made.guide,
    ).run()
    assert (run.makespan, run.bytes_moved) == made.foretold[made.arm]


def test_dask_alone_is_simulated_as_it_schedules() -> None:
    dag = block_product(3)
    stock = simulate(dag, machine(), None, order=np.arange(len(dag)), stock=True)
    moved = stock.bytes_loaded + stock.bytes_evicted
    assert on(dag, 0).foretold["stock"] == (stock.makespan, moved)


def test_more_time_is_never_worse_and_begins_with_the_candidates() -> None:
    seen: list[Specialist] = []
    long = on(block_product(4), 80, seen=seen)
    assert [each.evaluations for each in seen] == [5, CANDIDATES]
    makespans = [each.foretold[each.arm][0] for each in (*seen, long)]
    assert makespans == sorted(makespans, reverse=True)
    assert "searched" not in seen[-1].foretold


def test_a_better_order_than_that_of_dask_is_found_and_told() -> None:
    seen: list[Specialist] = []
    made = on(gemm(tiles=8, size=32), 0, limit=150_000, objective="bytes", seen=seen)
    assert seen[0].guide is None
    assert made.arm.startswith(("packed", "cubes", "rows", "columns"))
    assert made.guide is not None
    assert sorted(made.guide.tolist()) == list(range(len(made.guide)))
    assert made.foretold[made.arm][1] < 0.8 * seen[0].foretold[seen[0].arm][1]


def test_that_dask_alone_is_best_is_not_told_before_all_candidates_have_run() -> None:
    """Its tasks would be Dask's from then on, though another order turns out to be better."""
    seen: list[Specialist] = []
    dag = gemm(tiles=5, size=32, accumulation="tree", given=False)
    made = on(dag, 0, limit=300_000, seen=seen)
    own = ("stock", "order", "greedy", "greedy-hold", "generalist")
    assert min(own, key=lambda arm: made.foretold[arm]) == "stock"  # type: ignore[index]  # arms
    assert [each.evaluations for each in seen] == [CANDIDATES]
    assert seen[0].guide is not None


def test_large_graphs_are_not_packed_and_those_that_are_no_product_have_no_cubes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "PACKED_TASKS", 10)
    assert "packed" not in on(block_product(3)).foretold
    assert "cubes" in on(block_product(3)).foretold
    monkeypatch.setattr(module, "PRODUCT_TASKS", 10)
    assert on(block_product(3), 0).evaluations == 5
    other = on(cholesky(tiles=8, size=16), 0, limit=40_000)
    assert not {"packed", "cubes"} & set(other.foretold)


def test_the_same_seed_and_as_many_runs_give_the_same_network() -> None:
    one, again = on(block_product(4)), on(block_product(4))
    assert one.foretold == again.foretold
    for name, array in one.network._asdict().items():
        np.testing.assert_array_equal(array, getattr(again.network, name))


@pytest.mark.parametrize("runs", [0, 7])
def test_it_ends_when_time_is_up(runs: int) -> None:
    assert on(block_product(4), runs).evaluations == CANDIDATES + runs


def test_it_ends_by_itself_when_nothing_gets_better() -> None:
    made = on(block_product(3), 100_000)
    assert made.evaluations < 10_000


def test_nothing_is_searched_where_everything_fits() -> None:
    made = on(block_product(3), limit=10**9)
    assert made.foretold["stock"][1] == 0
    assert made.evaluations == 3


def test_dask_order_stands_in_for_dask_where_that_takes_too_long_to_simulate(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "STOCK_TASKS", 10)
    made = on(block_product(3))
    assert "stock" not in made.foretold
    assert "order" in made.foretold


def test_bytes_are_made_small_where_the_speed_of_copies_is_unknown() -> None:
    made = on(block_product(4), objective="bytes")
    moved = made.foretold[made.arm][1]
    assert all(moved <= other for _, other in made.foretold.values())
