"""What the parts of a model are worth, on instances where it is known."""

from __future__ import annotations

import json

import numpy as np
import pytest

from core.recorded_simulations import block_product
from core.test_hold_sanity import chain
from dask_mlsched.benchmarks.ablations import (
    ARMS,
    LINEAR,
    MODEL,
    NEVER_HOLD,
    NO_VICTIMS,
    ORDER,
    RANDOM_HOLD,
    Ablation,
    Arm,
    ablate,
    as_json,
    geomeans,
)
from dask_mlsched.benchmarks.ablations_report import holding, markdown, parts, tables
from dask_mlsched.core.chooser import Settings
from dask_mlsched.core.costs import CopyCost, Costs
from dask_mlsched.core.dag import Dag
from dask_mlsched.core.machine import Machine
from dask_mlsched.core.scores import FEWEST_MISSING, score
from dask_mlsched.learning.instance import Instance

COPY = CopyCost(bandwidth=10.0)


def product() -> Instance:
    dag = block_product(4)
    return Instance.measured("product", "product", dag, np.arange(len(dag)), limit=800_000)


def on_chain(dag: Dag, limit: int, threads: int = 1, lookahead: int = 1) -> Instance:
    """Put a DAG of `test_hold_sanity` on its machine; as if Dask took 10 s and moved 100 bytes."""
    return Instance(
        name="chain",
        family="chain",
        dag=dag,
        order=np.arange(len(dag)),
        machine=Machine(limit, threads=threads, costs=Costs(COPY, COPY, COPY)),
        settings=Settings(lookahead=lookahead, bandwidth=10.0, hold_limit=100.0),
        stock_makespan=10.0,
        stock_bytes=100,
    )


def ablated(instance: Instance, network=FEWEST_MISSING, **options: object) -> Ablation:
    (found,) = ablate([instance], network, **options)  # type: ignore[arg-type]
    return found


def test_every_arm_is_a_ratio_to_dask_alone():
    instance = product()
    found = ablated(instance)
    assert (found.name, found.tasks) == ("product", len(instance.dag))
    assert tuple(found.arms) == ARMS
    without_hold = instance.run(None)
    assert found.arms[ORDER].makespan == pytest.approx(without_hold.makespan)
    assert found.arms[ORDER].bytes_moved == pytest.approx(without_hold.bytes_moved)
    lru = instance.run(FEWEST_MISSING)
    assert found.arms[NO_VICTIMS].makespan == pytest.approx(lru.makespan)
    assert found.arms[NO_VICTIMS].holds == lru.holds


def test_a_model_that_is_the_linear_score_is_as_good_as_that():
    found = ablated(product())
    assert found.arms[MODEL] == found.arms[LINEAR]
    other = ablated(product(), score(missing=1.0))
    assert other.arms[MODEL] != other.arms[LINEAR] == found.arms[LINEAR]


def test_victims_are_worth_what_lru_moves_more():
    arms = ablated(product()).arms
    assert arms[MODEL].bytes_moved < arms[NO_VICTIMS].bytes_moved


# HOLD


def test_where_hold_is_needed_it_saves():
    found = ablated(on_chain(chain(), 100))
    model = found.arms[MODEL]
    assert (model.offered, model.chosen, model.holds, model.hold_rate) == (2, 2, 2, 1.0)
    assert model.makespan == pytest.approx(1.7)
    assert model.held_share == pytest.approx(2 / 17)
    assert found.arms[NEVER_HOLD].makespan == pytest.approx(2.9)
    assert found.saved_by_holding == pytest.approx(12 / 29)
    assert found.bytes_saved_by_holding == pytest.approx(0.5)
    assert found.arms[NEVER_HOLD].holds == 0


def test_where_hold_is_useless_it_saves_nothing():
    found = ablated(on_chain(chain(last=True), 130))
    assert found.arms[MODEL].holds == 2
    assert (found.saved_by_holding, found.bytes_saved_by_holding) == (0.0, 0.0)


def test_where_hold_is_harmful_it_costs():
    found = ablated(on_chain(chain(last=True), 130, threads=2, lookahead=0))
    assert found.saved_by_holding < 0


def test_a_coin_holds_less_often_than_a_model_that_always_does():
    taken = [ablated(on_chain(chain(), 100), seed=seed).arms[RANDOM_HOLD] for seed in range(20)]
    assert {arm.chosen for arm in taken} == {0, 1, 2}
    assert 0 < np.mean([arm.chosen for arm in taken]) < 2
    again = ablated(on_chain(chain(), 100), seed=3).arms[RANDOM_HOLD]
    assert again == taken[3]


def test_where_hold_is_never_offered_its_rate_is_none():
    found = ablated(on_chain(chain(made=True), 10_000))
    for arm in found.arms.values():
        assert (arm.offered, arm.chosen, arm.hold_rate) == (0, 0, 0.0)
    assert (found.saved_by_holding, found.bytes_saved_by_holding) == (0.0, 0.0)


# The report


def test_progress_names_every_arm():
    told: list[tuple[str, float]] = []
    ablate([product()], FEWEST_MISSING, on_arm=lambda *each: told.append(each))
    assert [name for name, _ in told] == [f"product: {name}" for name in ARMS]
    assert [share for _, share in told] == pytest.approx(np.arange(6) / 6)


def of_ratios(makespan: float, moved: float) -> Ablation:
    return Ablation("a", 1, dict.fromkeys(ARMS, Arm(makespan, moved, 4, 1, 1, 0.25)))


def test_means_are_geometric_and_survive_runs_that_move_nothing():
    means = geomeans([of_ratios(0.5, 0.0), of_ratios(2.0, 1.0)])
    assert means[MODEL] == (pytest.approx(1.0), pytest.approx(1e-3**0.5))
    assert geomeans([])[MODEL] == (1.0, 1.0)


def test_tables_and_pages_have_a_row_for_each_instance():
    found = [of_ratios(0.5, 0.25), ablated(on_chain(chain(), 100))]
    first, second = holding(found)
    assert first == ("a", "1", "4", "1", "25%", "25.0%", "0.500", "0.500", "+0.0%", "+0.0%")
    assert second[-2:] == ("+41.4%", "+50.0%")
    rows = parts(found)
    assert rows[0] == ("a", *["0.50 / 0.25"] * 6)
    assert [row[0] for row in rows] == ["a", "chain", "geomean"]
    assert [table.row_count for table in tables(found)] == [2, 3]
    page = markdown(found)
    assert "| chain | 7 | 2 | 2 | 100% |" in page
    assert page.count("\n| --- |") == 2


def test_programs_find_everything():
    found = json.loads(json.dumps(as_json([ablated(on_chain(chain(), 100))]), allow_nan=False))
    (instance,) = found["instances"]
    assert instance["saved_by_holding"] == pytest.approx(12 / 29)
    assert set(instance["arms"]) == set(found["geomeans"]) == set(ARMS)
    assert instance["arms"][MODEL]["hold_rate"] == 1.0
