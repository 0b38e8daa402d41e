"""A model and its specialists against the hand-written policies."""

from __future__ import annotations

import random

import pytest

from dask_mlsched.benchmarks import contest
from dask_mlsched.benchmarks.contest import BASELINES, MEASURES, Round, one_round, run_contest
from dask_mlsched.core import policies
from dask_mlsched.core.simulator import simulate
from dask_mlsched.learning.instance import Instance
from dask_mlsched.learning.processes import Processes
from learning.instances import NEAREST, factorization, product


@pytest.fixture(scope="module")
def rounds() -> list[Round]:
    return run_contest(NEAREST, Processes([product(5), factorization(6)]), runs=20)


def test_everybody_takes_part(rounds: list[Round]):
    assert set(BASELINES) == set(policies.NAMES) - {"stock", "random"}
    for each in rounds:
        assert set(each.baselines) == set(BASELINES)
        for ratios in (*each.baselines.values(), each.generalist, each.specialist):
            assert set(ratios) == set(MEASURES)
            assert all(ratio > 0 for ratio in ratios.values())


def test_a_specialist_is_no_worse_than_dask_and_the_model_that_it_begins_at(rounds: list[Round]):
    for each in rounds:
        for measure in MEASURES:
            assert each.specialist[measure] <= min(1.0, each.generalist[measure])


def test_decisions_take_time_for_all_but_dask():
    instance = product(5)
    timed = one_round(instance, NEAREST, 0, 0)
    policy = policies.make("greedy", random.Random(0))
    free = simulate(
        instance.dag, instance.machine, policy, order=instance.order, settings=instance.settings
    )
    assert timed.baselines["greedy"]["makespan"] > free.makespan / instance.stock_makespan
    assert timed.generalist["makespan"] > instance.run(NEAREST).makespan


def test_hfp_evicts_as_the_others_do_and_not_by_a_rule_that_knows_what_comes():
    instance: Instance = product(6, ratio=3.0)
    policy = policies.make("hfp", random.Random(0))
    own = simulate(
        instance.dag, instance.machine, policy, order=instance.order, settings=instance.settings
    )
    with_belady = (own.bytes_loaded + own.bytes_evicted) / instance.stock_bytes
    assert contest._baseline(instance, "hfp")["bytes"] != with_belady
    darts = policies.make("darts", random.Random(0))
    by_age = simulate(
        instance.dag, instance.machine, darts, order=instance.order, settings=instance.settings
    )
    found = contest._baseline(instance, "darts")["bytes"] * instance.stock_bytes
    assert round(found) == by_age.bytes_loaded + by_age.bytes_evicted


def a_round(specialist: float, **baselines: float) -> Round:
    both = dict.fromkeys(MEASURES, specialist)
    return Round(
        "a round",
        10,
        {name: dict.fromkeys(MEASURES, ratio) for name, ratio in baselines.items()},
        both,
        both,
    )


def test_the_best_of_the_others_may_be_dask_alone():
    assert a_round(0.5, greedy=0.8, darts=0.7).best_baseline("bytes") == ("darts", 0.7)
    assert a_round(0.5, greedy=1.8, darts=1.7).best_baseline("bytes") == ("stock", 1.0)
    assert a_round(0.5, greedy=0.8).over_best("bytes") == pytest.approx(0.625)
    assert a_round(0.5, greedy=1.8).over_best("makespan") == pytest.approx(0.5)


def test_a_summary_has_geometric_means_and_counts_defeats():
    found = contest.summary([a_round(0.5, greedy=0.25), a_round(0.125, greedy=0.5)], "bytes")
    assert found.specialist == pytest.approx(0.25)
    assert found.over_best == pytest.approx(2**-0.5)
    assert (found.over_best_worst, found.specialist_worst, found.beaten) == (2.0, 0.5, 1)


def test_people_and_programs_get_the_same(rounds: list[Round]):
    document = contest.as_json({"test": rounds}, 20)
    split = document["splits"]["test"]
    assert (document["runs"], len(split["instances"])) == (20, 2)
    assert split["summary"]["bytes"]["specialist"] == contest.summary(rounds, "bytes").specialist
    tables = contest.tables({"test": rounds})
    assert [table.title for table in tables] == [
        "test: bytes over Dask alone",
        "test: makespan over Dask alone",
    ]
    assert all(table.row_count == len(rounds) + 2 for table in tables)


@pytest.mark.slow
def test_two_processes_come_to_the_same(rounds: list[Round]):
    instances = [product(5), factorization(6)]
    with Processes(instances, 2) as two:
        again = run_contest(NEAREST, two, runs=20)
    assert again == rounds
