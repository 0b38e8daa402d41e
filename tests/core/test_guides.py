"""Orders planned for a whole DAG: each has every task once, and moves what its plan moves."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.compiled.test_rollout import dags
from dask_mlsched.benchmarks.dask_order import dask_order
from dask_mlsched.benchmarks.families.factorizations import cholesky
from dask_mlsched.benchmarks.families.products import block_sparse, gemm
from dask_mlsched.benchmarks.working_set import working_set
from dask_mlsched.core import features, guides, policies
from dask_mlsched.core.chooser import Settings
from dask_mlsched.core.compiled.rollout import Rollout
from dask_mlsched.core.costs import CopyCost, Costs
from dask_mlsched.core.dag import Dag, DagTask, Integers
from dask_mlsched.core.machine import Machine
from dask_mlsched.core.network import linear
from dask_mlsched.core.simulator import simulate

COPY = CopyCost(1e9)
#: Has no preference, so that it follows what it is shown.
FLAT = linear(np.zeros(features.COUNT))

PRODUCTS: dict[str, Callable[[], Dag]] = {
    "chain": partial(gemm, tiles=5, size=32),
    "chain, made": partial(gemm, tiles=4, size=32, given=False),
    "tree": partial(gemm, tiles=5, size=32, accumulation="tree"),
    "sparse": partial(block_sparse, seed=2, tiles=8, smallest=16, largest=48, density=0.4),
}


def machine(dag: Dag, ratio: float = 3.0) -> Machine:
    return Machine(round(working_set(dag) / ratio), costs=Costs(COPY, COPY, COPY))


def moved(dag: Dag, guide: Integers | None) -> int:
    order, on = dask_order(dag), machine(dag)
    run = Rollout(dag, on, Settings(bandwidth=1e9), order, FLAT, guide=guide, may_hold=False)
    return run.run().bytes_moved


@given(dags(), st.integers(0, 9), st.sampled_from([20_000.0, math.inf]))
@settings(max_examples=60, deadline=None)
def test_each_task_has_a_place_of_its_own_and_what_is_given_comes_first(
    dag: Dag, seed: int, limit: float
) -> None:
    order = np.random.default_rng(seed).permutation(len(dag))
    made = guides.of_product(dag, order, limit)
    for guide in (guides.packed(dag, order, limit), *made.values()):
        assert sorted(guide.tolist()) == list(range(len(dag)))
        assert sorted(guide[dag.given].tolist()) == list(range(int(dag.given.sum())))


@pytest.mark.parametrize("name", PRODUCTS)
def test_following_the_cubes_moves_what_the_active_set_moves(name: str) -> None:
    dag = PRODUCTS[name]()
    order, on = dask_order(dag), machine(dag)
    guide = guides.of_product(dag, order, on.limit or math.inf)["cubes"]
    policy = policies.make("active-set", random.Random(0))
    plan = simulate(dag, on, policy, order=order, settings=Settings(bandwidth=1e9))
    # Not the same: the planner waits until a cube is done, and estimates sizes at first.
    assert moved(dag, guide) <= 1.15 * (plan.bytes_loaded + plan.bytes_evicted)


def test_cubes_and_packages_move_less_than_dask_order_on_a_dense_product() -> None:
    dag = gemm(tiles=8, size=32)
    order, limit = dask_order(dag), float(machine(dag).limit or 0)
    in_order = moved(dag, None)
    assert moved(dag, guides.of_product(dag, order, limit)["cubes"]) < 0.6 * in_order
    assert moved(dag, guides.packed(dag, order, limit)) < 0.8 * in_order


def test_a_sum_comes_before_all_products() -> None:
    dag = gemm(tiles=4, size=32, accumulation="tree")
    prefixes = np.array(dag.prefixes)[dag.prefix]
    for guide in guides.of_product(dag, dask_order(dag), 1e5).values():
        assert guide[prefixes == "S"].max() < guide[prefixes == "P"].min()


@pytest.mark.parametrize(("name", "along"), [("rows", 0), ("columns", 1)])
def test_a_row_or_a_column_of_the_result_is_done_before_the_next(name: str, along: int) -> None:
    dag = block_sparse(seed=2, tiles=8, smallest=16, largest=48, density=0.4)
    guide = guides.of_product(dag, dask_order(dag), 1e5)[name]
    lines = [
        int(dag.keys[task].split("-")[1 + along])
        for task in np.argsort(guide)
        if dag.keys[task].startswith("C")
    ]
    changes = [here for before, here in pairwise([None, *lines]) if here != before]
    assert len(changes) == len(set(changes)) > 4


@pytest.mark.parametrize("name", ["rows", "columns"])
def test_what_a_line_needs_is_made_for_it_and_not_before_the_one_above(name: str) -> None:
    dag = block_sparse(seed=2, tiles=8, smallest=16, largest=48, density=0.4)
    guide = guides.of_product(dag, dask_order(dag), 1e5)[name]
    products = [task for task in range(len(dag)) if dag.keys[task].startswith("C")]
    first = min(products, key=guide.__getitem__)
    made = [task for task in range(len(dag)) if guide[task] <= guide[first] + 2]
    assert set(dag.dependencies(first).tolist()) <= set(made)
    last = max(products, key=guide.__getitem__)
    assert guide[last] > len(dag) - 6


def test_lines_move_least_where_one_operand_fits_and_results_leave_first() -> None:
    dag = block_sparse(seed=0, tiles=12, smallest=32, largest=64, density=0.3)
    order = dask_order(dag)
    on = replace(machine(dag, 2.5), keep_clean=True)
    settings = Settings(bandwidth=1e9, keep_clean=True, eviction="next-use")

    def moved_by(guide: Integers) -> int:
        run = Rollout(dag, on, settings, order, FLAT, guide=guide, may_hold=False)
        return run.run().bytes_moved

    by = {
        name: moved_by(guide)
        for name, guide in guides.of_product(dag, order, float(on.limit or 0)).items()
    }
    assert min(by["rows"], by["columns"]) < by["cubes"]


def test_what_is_no_product_has_none_of_its_orders() -> None:
    dag = cholesky(tiles=5, size=16)
    assert guides.of_product(dag, dask_order(dag), 1e6) == {}


def test_tasks_that_share_an_array_are_packed_together() -> None:
    """Dask's order goes back and forth between two arrays of which one fits at a time."""
    arrays = [DagTask(name, (), 100, 1.0, "a") for name in "ab"]
    readers = [DagTask(f"{'ab'[i % 2]}{i}", ("ab"[i % 2],), 1, 1.0, "r") for i in range(8)]
    dag = Dag.build("to and fro", [*arrays, *readers])
    guide = guides.packed(dag, np.arange(len(dag)), 110)
    in_turn = [dag.keys[task][0] for task in np.argsort(guide)]
    assert "".join(in_turn) in ("aaaaabbbbb", "bbbbbaaaaa")
