"""Specialising to a DAG: never worse than the candidates, the same again, within the budget."""

from __future__ import annotations

import numpy as np
import pytest

from core.recorded_simulations import MACHINE_LIMIT, block_product
from core.rollouts import COPY
from dask_mlsched.core import features
from dask_mlsched.core.chooser import Settings
from dask_mlsched.core.compiled.rollout import Rollout
from dask_mlsched.core.costs import CopyCost, Costs
from dask_mlsched.core.dag import Dag
from dask_mlsched.core.graph_message import Objective
from dask_mlsched.core.machine import Machine
from dask_mlsched.core.network import linear
from dask_mlsched.core.simulator import simulate
from dask_mlsched.learning import specialise as module
from dask_mlsched.learning.specialise import Specialist, after, specialise

SETTINGS = Settings(bandwidth=COPY.bandwidth)
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
    assert {"stock", "order", "greedy", "greedy-hold", "generalist"} <= set(made.foretold)


def test_what_was_foretold_is_what_a_run_comes_to() -> None:
    dag = block_product(4)
    made = on(dag)
    run = Rollout(
        dag, machine(), SETTINGS, np.arange(len(dag)), made.network, may_hold=made.may_hold
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
    (first,) = seen
    assert first.evaluations == 5
    assert long.foretold[long.arm][0] <= first.foretold[first.arm][0]
    assert "searched" not in first.foretold


def test_the_same_seed_and_as_many_runs_give_the_same_network() -> None:
    one, again = on(block_product(4)), on(block_product(4))
    assert one.foretold == again.foretold
    for name, array in one.network._asdict().items():
        np.testing.assert_array_equal(array, getattr(again.network, name))


@pytest.mark.parametrize("runs", [0, 7])
def test_it_ends_when_time_is_up(runs: int) -> None:
    assert on(block_product(4), runs).evaluations == 5 + runs


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
