"""Recorded runs in hindsight: the gate, the sample, the costs."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from core.recorded_simulations import COSTS, block_product, recorded
from core.test_walk import DAG, MACHINE, recording
from dask_mlsched.core import hindsight
from dask_mlsched.core.calibration import calibrate
from dask_mlsched.core.dag import Dag, DagTask
from dask_mlsched.core.judgement import Gate, Survey, judge, median_task_seconds, survey
from dask_mlsched.core.machine import Machine
from dask_mlsched.core.scores import FEWEST_MISSING, score
from dask_mlsched.core.walk import Walk

# The gate


def test_the_larger_error_counts():
    assert Gate(live=2.0, simulated=1.9, walked=2.3).error == pytest.approx(0.15)
    assert Gate(live=2.0, simulated=1.6, walked=2.0).error == pytest.approx(0.2)


def test_a_tenth_is_near_enough():
    assert Gate(live=10.0, simulated=9.0, walked=11.0).passed
    assert not Gate(live=10.0, simulated=8.9, walked=10.0).passed
    assert not Gate(live=10.0, simulated=10.0, walked=11.1).passed


def test_a_run_that_took_no_time_is_only_like_another():
    assert Gate(0.0, 0.0, 0.0).passed
    assert not Gate(0.0, 0.0, 0.1).passed


def test_the_verdict_says_what_was_expected_only_where_it_was_missed():
    assert Gate(2.0, 2.0, 2.1).verdict == "2 s live, 2 s simulated, 2.1 s compiled: 5.0% off"
    assert Gate(2.0, 3.0, 2.1).verdict.endswith("compiled: 50.0% off; expected 10% at most")


@pytest.mark.parametrize("policy", ["stock", "greedy", "greedy-hold", "darts"])
def test_simulated_runs_pass(policy: str):
    found = survey(calibrate(recorded(DAG, MACHINE, policy)[1]), FEWEST_MISSING)
    assert found.gate.passed, found.gate.verdict


def test_a_run_that_took_longer_than_anything_explains_fails():
    calibration = recording("greedy")[1]
    live = replace(calibration.live, makespan=2 * calibration.live.makespan)
    found = survey(replace(calibration, live=live), FEWEST_MISSING)
    assert not found.gate.passed
    assert found.gate.error == pytest.approx(0.5, abs=0.01)


# The sample


def surveyed(*recorded: int) -> Survey:
    return Survey(Gate(1.0, 1.0, 1.0), Counter(), recorded)


def test_samples_are_spread_evenly():
    assert surveyed(*range(10)).sample(2) == [2, 7]
    assert surveyed(0, 1, 5, 9).sample(4) == [0, 1, 5, 9]


def test_samples_are_drawn_without_repetition_and_in_order():
    found = surveyed(*range(0, 200, 2)).sample(50, np.random.default_rng(0))
    assert len(set(found)) == 50
    assert found == sorted(found)
    assert all(number % 2 == 0 for number in found)
    assert found != surveyed(*range(0, 200, 2)).sample(50, np.random.default_rng(1))


@pytest.mark.parametrize("rng", [None, np.random.default_rng(0)])
def test_there_are_no_more_than_there_are(rng):
    assert surveyed(3, 4).sample(9, rng) == [3, 4]
    assert surveyed().sample(9, rng) == []


def test_only_recorded_decisions_are_sampled():
    calibration = recording("random")[1]
    found = survey(calibration, FEWEST_MISSING)
    assert found.courses["beside"] > 0
    assert len(found.recorded) == found.courses["recorded"]
    expected = [
        each.decision.number
        for each in Walk(calibration, FEWEST_MISSING)
        if each.course == "recorded"
    ]
    assert found.recorded == expected


# Costs


def test_decisions_are_judged_where_they_were_taken():
    calibration = recording("random")[1]
    numbers = survey(calibration, FEWEST_MISSING).sample(5)
    found = {each.decision.number: each for each in judge(calibration, FEWEST_MISSING, numbers)}
    assert list(found) == numbers
    walk = Walk(calibration, FEWEST_MISSING)
    for choice in walk:
        if choice.decision.number in found:
            judgement = found[choice.decision.number]
            expected = hindsight.costs(walk.rollout, choice.decision)
            np.testing.assert_array_equal(judgement.costs, expected)
            assert judgement.taken == choice.taken
            assert judgement.regret == expected[choice.taken]
            assert judgement.costs[judgement.best] == 0


def test_random_choices_are_regretted_more_than_greedy_ones():
    def mean_regret(policy: str) -> float:
        calibration = recording(policy)[1]
        numbers = survey(calibration, FEWEST_MISSING).sample(30)
        found = judge(calibration, FEWEST_MISSING, numbers)
        return float(np.mean([each.regret for each in found]))

    assert mean_regret("random") > 2 * mean_regret("greedy")


def test_nothing_is_judged_where_nothing_is_asked():
    calibration = recording("greedy")[1]
    assert list(judge(calibration, FEWEST_MISSING, [])) == []


def test_a_clairvoyant_changes_costs():
    calibration = recording("greedy")[1]
    numbers = survey(calibration, FEWEST_MISSING).sample(8)
    other = score(missing=1.0)
    own = [each.costs for each in judge(calibration, FEWEST_MISSING, numbers)]
    both = [
        each.costs
        for each in judge(calibration, FEWEST_MISSING, numbers, clairvoyant=other, beta=1.0)
    ]
    assert [len(costs) for costs in own] == [len(costs) for costs in both]
    assert not all(np.allclose(a, b) for a, b in zip(own, both, strict=True))


def test_of_one_that_is_right_already_nothing_else_is_best():
    calibration = recording("greedy")[1]
    numbers = survey(calibration, FEWEST_MISSING).sample(30)
    found = list(judge(calibration, FEWEST_MISSING, numbers))
    right = [each for each in found if each.regret == 0]
    assert right
    assert all(each.best == each.taken for each in right)
    assert all(each.best != each.taken for each in found if each.regret > 0)


# The unit of costs


def of_seconds(*seconds: float, given: int = 0) -> Dag:
    tasks = [DagTask(f"t{i}", (), 8, each, "p") for i, each in enumerate(seconds)]
    tasks += [DagTask(f"g{i}", (), 8, 0.0, "g", given=True) for i in range(given)]
    return Dag.build("seconds", tasks)


def test_the_median_is_of_tasks_and_not_of_what_is_given():
    assert median_task_seconds(of_seconds(1.0, 2.0, 9.0, given=5)) == 2.0


def test_tasks_that_take_no_time_do_not_make_the_median_nothing():
    assert median_task_seconds(of_seconds(0.0, 0.0, 0.0, 2.0, 4.0)) == 3.0
    assert median_task_seconds(of_seconds(0.0, 0.0)) == 0.0
    assert median_task_seconds(of_seconds(given=2)) == 0.0


def test_a_run_where_everything_fits_has_next_to_nothing_to_judge():
    machine = Machine(limit=100_000_000, costs=COSTS)
    calibration = calibrate(recorded(block_product(3), machine, "greedy")[1])
    found = survey(calibration, FEWEST_MISSING)
    assert found.gate.passed
    # Until the first task of each kind has ended, it is not known that all will fit.
    assert sum(found.courses.values()) < 5
    for each in judge(calibration, FEWEST_MISSING, found.sample(10)):
        # What is left are messages that cross.
        assert each.regret < 0.05 * found.gate.live


@pytest.mark.parametrize(
    ("simulated", "walked", "passed", "foretold"),
    [(1.05, 1.05, True, True), (1.05, 1.5, False, True), (0.85, 1.0, False, False)],
)
def test_the_simulator_may_be_near_enough_alone(
    simulated: float, walked: float, passed: bool, foretold: bool
) -> None:
    gate = Gate(1.0, simulated, walked)
    assert (gate.passed, gate.foretold) == (passed, foretold)
