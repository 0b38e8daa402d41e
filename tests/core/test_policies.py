"""The hand-written policies' scores."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace

import pytest

from dask_mlsched.core.policies import (
    NAMES,
    Candidate,
    Fifo,
    Greedy,
    GreedyHold,
    HoldOption,
    Policy,
    Random,
    Situation,
    make,
    propensity,
)

MISSING_30 = Candidate(1, (0, 0, 1), 30, 0, 5, root=False)
MISSING_10 = Candidate(2, (0, 0, 2), 10, 20, 5, root=False)
#: Misses nothing, but what it makes takes up 20.
ROOT = Candidate(3, (0, 0, 3), 0, 0, 20, root=True)
HOLD = HoldOption(until=2.0, successor=9, missing_bytes=5, saved_seconds=1.0)


def situation(*candidates: Candidate, hold: HoldOption | None = None) -> Situation:
    return Situation(1.0, 0, 100, 50, candidates, hold)


def choice(policy: Policy, at: Situation) -> int:
    scores = policy.score(at)
    assert len(scores) == len(at.candidates) + (at.hold is not None)
    return max(range(len(scores)), key=scores.__getitem__)


@pytest.mark.parametrize("name", [name for name in NAMES if name != "stock"])
def test_every_name_makes_a_policy_of_that_name(name: str):
    policy = make(name, random.Random(0))
    assert isinstance(policy, Policy)
    assert policy.name == name


@pytest.mark.parametrize("name", ["stock", "no-such"])
def test_other_names_are_an_error_that_lists_the_right_ones(name: str):
    with pytest.raises(ValueError, match=f"unknown policy '{name}'; expected one of stock, random"):
        make(name, random.Random(0))


@pytest.mark.parametrize("name", [name for name in NAMES if name != "stock"])
def test_every_policy_scores_hold_where_it_is_offered(name: str):
    policy = make(name, random.Random(0))
    candidates = (MISSING_30, MISSING_10)
    assert len(policy.score(situation(*candidates))) == 2
    assert len(policy.score(situation(*candidates, hold=HOLD))) == 3


@pytest.mark.parametrize("policy", [Random(random.Random(0)), Fifo(), Greedy()])
def test_only_greedy_hold_ever_holds(policy: Policy):
    nothing_better = replace(HOLD, missing_bytes=0)
    assert choice(policy, situation(MISSING_30, hold=nothing_better)) == 0


def test_greedy_takes_the_fewest_missing_bytes():
    assert choice(Greedy(), situation(MISSING_30, MISSING_10)) == 1


def test_greedy_counts_a_root_s_output_as_if_it_were_loaded():
    assert choice(Greedy(), situation(MISSING_30, ROOT)) == 1
    assert choice(Greedy(), situation(MISSING_10, ROOT)) == 0


def test_greedy_takes_the_first_of_equals():
    assert choice(Greedy(), situation(MISSING_10, replace(MISSING_10, task=8))) == 0


def test_greedy_hold_waits_for_a_successor_that_misses_fewer_bytes():
    assert choice(GreedyHold(), situation(MISSING_10, MISSING_30, hold=HOLD)) == 2


def test_greedy_hold_runs_what_misses_no_more_than_the_successor():
    as_good = replace(HOLD, missing_bytes=10)
    assert choice(GreedyHold(), situation(MISSING_10, hold=as_good)) == 0


def test_random_chooses_every_candidate_equally_often():
    policy = Random(random.Random(0))
    at = situation(MISSING_30, MISSING_10, ROOT)
    chosen = Counter(choice(policy, at) for _ in range(3000))
    assert all(900 < chosen[index] < 1100 for index in range(3))


def test_random_repeats_with_its_seed():
    at = situation(MISSING_30, MISSING_10, ROOT)
    scores = [Random(random.Random(7)).score(at) for _ in range(2)]
    assert scores[0] == scores[1]


def test_a_policy_that_does_not_state_a_propensity_is_taken_for_certain():
    at = situation(MISSING_30, MISSING_10, ROOT)
    assert [propensity(Greedy(), at, action) for action in range(3)] == [1.0, 1.0, 1.0]


def test_random_states_the_chances_that_it_gives():
    at = situation(MISSING_30, MISSING_10, ROOT, hold=HOLD)
    chances = [propensity(Random(random.Random(0)), at, action) for action in range(4)]
    assert chances == [1 / 3, 1 / 3, 1 / 3, 0.0]
