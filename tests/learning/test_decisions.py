"""Decisions are checked when they are made, and held out by groups."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dask_mlsched.learning.decisions import Decisions, InvalidDecisionsError
from dask_mlsched.learning.holdout import judge, split
from dask_mlsched.learning.replay import ReplayBuffer
from learning.decisions import NAMES, decision

NAN = np.nan


def some(n: int = 6, actions: int = 3, **given: Any) -> Decisions:
    arrays: dict[str, Any] = {
        "features": np.arange(n * actions * 2).reshape(n, actions, 2),
        "costs": np.zeros((n, actions)),
    }
    return Decisions.from_arrays(**arrays | given)


def test_a_replay_buffer_gives_decisions(tmp_path: Path):
    with ReplayBuffer.create(tmp_path / "buffer", NAMES, 8) as buffer:
        for number, actions in enumerate((2, 4, 1)):
            buffer.add(decision(number, actions))
        buffer.label(2, [0.0, 1.0, NAN, 2.0])
        decisions = Decisions.from_records(buffer.records())
        one = Decisions.from_records(buffer.records(labelled=True))
    assert decisions.features.shape == (3, 4, 3)
    assert decisions.legal.sum(1).tolist() == [2, 4, 1]
    assert decisions.labelled.tolist() == [[False] * 4, [True, True, False, True], [False] * 4]
    assert np.array_equal(decisions.features[1], decision(1, 4).features)
    assert decisions.groups.tolist() == [2**63, 2**63 + 1, 2**63 + 2]
    assert len(one) == 1


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"costs": np.zeros((5, 3))}, "(5, 3)"),
        ({"costs": np.zeros(6)}, "[N, A]"),
        ({"legal": np.ones((6, 2))}, "(6, 2)"),
        ({"groups": np.zeros(5)}, "(5,)"),
        ({"features": np.zeros((6, 3))}, "[N, A, F]"),
        ({"costs": np.full((6, 3), -1.0)}, "-1.0"),
        ({"costs": np.full((6, 3), np.inf)}, "infinite"),
        ({"features": np.full((6, 3, 2), NAN)}, "decision 0 has a feature of action 0"),
    ],
)
def test_arrays_that_are_no_decisions_are_refused(given: Any, words: str):
    with pytest.raises(InvalidDecisionsError) as error:
        some(**given)
    assert words in str(error.value)


def test_features_are_standardised_over_legal_actions():
    x = np.array([[[1.0, 5.0], [3.0, 5.0], [1e9, 1e9]]])
    mean, scale = some(features=x, costs=np.zeros((1, 3)), legal=[[True, True, False]]).standard()
    assert (mean.tolist(), scale.tolist()) == ([2.0, 5.0], [1.0, 1.0])


def test_rounding_is_no_deviation():
    x = np.full((100, 1, 1), 1e6, np.float32)
    x[::2] = np.nextafter(x[::2], 2e6)
    assert some(features=x, costs=np.zeros((100, 1))).standard()[1] == 1


def test_decisions_have_a_checksum():
    assert some().checksum() == some().checksum()
    assert some().checksum() != some(costs=np.eye(6)[:, :3]).checksum()
    assert some().take(np.array([1, 2])).costs.shape == (2, 3)


@pytest.mark.parametrize("seed", range(5))
def test_groups_are_held_out_as_a_whole(seed: int):
    groups = np.repeat(np.arange(20), 5)
    learnt, held = split(some(100, groups=groups), 0.2, np.random.default_rng(seed))
    assert sorted([*learnt, *held]) == list(range(100))
    assert len(held) == 20
    assert set(groups[learnt]).isdisjoint(groups[held])


@pytest.mark.parametrize("groups", [[1, 1], [1, 2], [1, 1, 1, 2], [1] * 50])
@pytest.mark.parametrize("share", [0.0, 0.2, 1.0])
def test_neither_side_of_a_split_is_empty(groups: list[int], share: float):
    decisions = some(len(groups), groups=groups)
    learnt, held = split(decisions, share, np.random.default_rng(0))
    assert len(learnt) > 0
    assert len(held) > 0


def test_choices_are_judged_by_their_costs():
    costs = [[1.0, 0.0, 9.0], [2.0, NAN, 0.0], [NAN, 0.0, 5.0]]
    legal = [[True, True, False], [True] * 3, [True] * 3]
    preferences = np.array([[0, 1, 9], [1, 9, 0], [9, 0, 1]], np.float32)
    found = judge(preferences, some(3, costs=costs, legal=legal), np.array([0, 2, 1]))
    # The first chooses 1, as 2 is illegal; the others what is preferred among known costs.
    assert found.regret == pytest.approx((0 + 2 + 5) / 3)
    assert found.first == pytest.approx((1 + 2) / 2)
    assert found.baseline == pytest.approx((1 + 0 + 0) / 3)
    assert judge(preferences, some(3, costs=costs, legal=legal)).baseline is None
