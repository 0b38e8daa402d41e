"""Hindsight costs against runs that are made anew for every action."""

from __future__ import annotations

import numpy as np
import pytest

from core.rollouts import MOST_MISSING, product_rollout
from dask_mlsched.core.compiled.rollout import Decision, Rollout
from dask_mlsched.core.hindsight import best, costs, normalised, regret
from dask_mlsched.core.network import Network
from dask_mlsched.core.scores import FEWEST_MISSING


def waiting(number: int, network: Network = FEWEST_MISSING) -> tuple[Rollout, Decision]:
    rollout = product_rollout(network)
    decision = rollout.until(number)
    assert decision is not None
    return rollout, decision


def makespans(number: int, network: Network, then: Network) -> np.ndarray:
    """Begin anew for each action: up to the decision by one network, and on by another."""
    _, decision = waiting(number, network)
    found = []
    for action in range(len(decision.features)):
        rollout, _ = waiting(number, network)
        rollout.take(action)
        # Answered one by one, so that nothing depends on how `copy` swaps networks.
        guide = product_rollout(then)
        following = number + 1
        while (each := rollout.until(following)) is not None:
            rollout.take(answer(guide, each))
            following += 1
        found.append(rollout.figures().makespan)
    return np.array(found)


def answer(guide: Rollout, decision: Decision) -> int:
    scores = decision.features @ guide.network.skip
    return int(np.argmax(scores))


@pytest.mark.parametrize("number", [0, 5, 17])
def test_costs_are_makespans_less_the_least(number):
    rollout, decision = waiting(number)
    expected = makespans(number, FEWEST_MISSING, FEWEST_MISSING)
    np.testing.assert_allclose(costs(rollout, decision), expected - expected.min(), atol=1e-12)


def test_some_decision_matters():
    rollout = product_rollout()
    spread = []
    number = 0
    while (decision := rollout.until(number)) is not None:
        spread.append(costs(rollout, decision).max())
        rollout.take(decision.preferred)
        number += 1
    assert max(spread) > 0


def test_costs_leave_the_run_where_it_stands():
    rollout, decision = waiting(5)
    before = {name: array.tobytes() for name, array in rollout.arrays.items()}
    costs(rollout, decision, clairvoyant=MOST_MISSING, beta=0.5)
    after = {name: array.tobytes() for name, array in rollout.arrays.items()}
    assert [name for name, there in after.items() if there != before[name]] == []
    assert rollout.network is FEWEST_MISSING


def test_actions_that_are_not_tried_have_no_cost():
    rollout, decision = waiting(5)
    found = costs(rollout, decision, [1, 2])
    assert np.flatnonzero(~np.isnan(found)).tolist() == [1, 2]
    assert np.nanmin(found) == 0
    every = costs(rollout, decision)
    assert found[2] - found[1] == pytest.approx(every[2] - every[1])


@pytest.mark.parametrize("actions", [[], [-1], [0, 99]])
def test_actions_that_there_are_not_are_refused(actions):
    rollout, decision = waiting(5)
    with pytest.raises(ValueError, match=r"expected some of 0 to \d+"):
        costs(rollout, decision, actions)


# The clairvoyant


def test_a_clairvoyant_with_all_the_weight_decides_the_rest():
    rollout, decision = waiting(5)
    expected = makespans(5, FEWEST_MISSING, MOST_MISSING)
    found = costs(rollout, decision, clairvoyant=MOST_MISSING, beta=1.0)
    np.testing.assert_allclose(found, expected - expected.min(), atol=1e-12)


def test_without_random_numbers_costs_are_what_is_to_be_expected():
    rollout, decision = waiting(5)
    expected = 0.75 * makespans(5, FEWEST_MISSING, FEWEST_MISSING) + 0.25 * makespans(
        5, FEWEST_MISSING, MOST_MISSING
    )
    found = costs(rollout, decision, clairvoyant=MOST_MISSING, beta=0.25)
    np.testing.assert_allclose(found, expected - expected.min(), atol=1e-12)


def test_with_random_numbers_one_of_both_decides_for_all_actions():
    rollout, decision = waiting(5)
    rng = np.random.default_rng(0)
    own = costs(rollout, decision)
    clairvoyant = costs(rollout, decision, clairvoyant=MOST_MISSING, beta=1.0)
    assert not np.allclose(own, clairvoyant)
    drawn = [
        costs(rollout, decision, clairvoyant=MOST_MISSING, beta=0.3, rng=rng) for _ in range(100)
    ]
    by_clairvoyant = sum(np.array_equal(each, clairvoyant) for each in drawn)
    assert by_clairvoyant + sum(np.array_equal(each, own) for each in drawn) == 100
    assert 15 < by_clairvoyant < 45


def test_a_run_under_a_policy_without_weights_can_have_a_clairvoyant():
    rollout = product_rollout()
    greedy = product_rollout()
    greedy.arrays["rules"]["policy"] = 1  # GREEDY: as a run that was begun with its name
    decision, same = rollout.until(0), greedy.until(0)
    assert decision is not None
    assert same is not None
    expected = costs(rollout, decision, clairvoyant=MOST_MISSING, beta=1.0)
    found = costs(greedy, same, clairvoyant=MOST_MISSING, beta=1.0)
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("beta", [-0.1, 1.1, float("nan")])
def test_a_beta_that_is_no_probability_is_refused(beta):
    rollout, decision = waiting(0)
    with pytest.raises(ValueError, match="expected a probability"):
        costs(rollout, decision, clairvoyant=MOST_MISSING, beta=beta)


def test_a_share_for_no_clairvoyant_is_refused():
    rollout, decision = waiting(0)
    with pytest.raises(ValueError, match="without a clairvoyant; give a network"):
        costs(rollout, decision, beta=0.5)


# What is read out of costs

COSTS = np.array([0.5, 0.0, np.nan, 0.0])


def test_regret_is_the_cost_of_what_was_taken():
    assert regret(COSTS, 0) == 0.5
    assert regret(COSTS, 1) == 0
    assert np.isnan(regret(COSTS, 2))


def test_what_was_taken_is_best_if_nothing_is_better():
    assert best(COSTS) == 1
    assert best(COSTS, 3) == 3
    assert best(COSTS, 0) == 1
    assert best(COSTS, 2) == 1


def test_normalised_costs_are_in_median_task_times():
    np.testing.assert_array_equal(normalised(COSTS, 0.25), [2.0, 0.0, np.nan, 0.0])


@pytest.mark.parametrize("seconds", [0.0, -1.0, float("nan")])
def test_tasks_that_take_no_time_are_no_measure(seconds):
    with pytest.raises(ValueError, match="expected more than 0"):
        normalised(COSTS, seconds)
