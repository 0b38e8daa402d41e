from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from dask_mlsched.core import features
from dask_mlsched.learning.decisions import Decisions, InvalidDecisionsError
from dask_mlsched.learning.labelled_rounds import LabelledRounds, evened, joined, legal_rows
from dask_mlsched.learning.labelling import LabelSettings, labelled
from dask_mlsched.learning.replay_decisions import read_folder
from learning.instances import NEAREST, product


@pytest.fixture
def rounds(tmp_path: Path) -> LabelledRounds:
    made = LabelledRounds(tmp_path)
    for number in (1, 2):
        made.write(number, _labelled(number))
    return made


def _labelled(number: int):
    settings = LabelSettings(decisions=2 + number)
    return labelled(product(3), NEAREST, number, 0, (number,), settings)


def test_all_rounds_so_far_are_read(rounds: LabelledRounds):
    assert len(rounds.read(1)) == 3
    both = rounds.read(2)
    assert both.groups.tolist() == [1, 1, 1, 2, 2, 2, 2]
    assert legal_rows(both).shape == (both.legal.sum(), features.COUNT)


def test_a_round_that_is_written_again_replaces_what_there_was(rounds: LabelledRounds):
    before = rounds.read(2)
    rounds.write(2, _labelled(2))
    np.testing.assert_array_equal(rounds.read(2).costs, before.costs)


def test_the_buffers_of_a_folder_are_read_together(rounds: LabelledRounds, tmp_path: Path):
    np.testing.assert_array_equal(read_folder(tmp_path).costs, rounds.read(2).costs)
    np.testing.assert_array_equal(read_folder(rounds.path(1)).costs, rounds.read(1).costs)


def test_a_folder_without_labels_is_refused(tmp_path: Path):
    with pytest.raises(InvalidDecisionsError, match="holds 0 replay buffers"):
        read_folder(tmp_path)


def decisions(costs: list[list[float]], groups: list[int]) -> Decisions:
    actions = len(costs[0])
    return Decisions.from_arrays(np.ones((len(costs), actions, 2)), costs, None, groups)


def test_runs_weigh_alike_whatever_their_costs_are():
    even = evened(decisions([[0, 2], [0, 6], [0, np.nan], [0, 0]], [1, 1, 2, 3]))
    assert np.nanmean(even.costs[:2]) == 1
    assert np.nan_to_num(even.costs[2:]).tolist() == [[0, 0], [0, 0]]


def test_joined_decisions_keep_their_groups_apart():
    both = joined(decisions([[0, 1]], [4]), decisions([[0, 2, 3]], [4]))
    assert both.costs.shape == (2, 3)
    assert both.legal.tolist() == [[True, True, False], [True] * 3]
    assert len(set(both.groups.tolist())) == 2
    assert joined(both, None) is both
