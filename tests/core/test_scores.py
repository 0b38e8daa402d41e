"""Scores made by hand."""

from __future__ import annotations

import numpy as np
import pytest

from dask_mlsched.core import features
from dask_mlsched.core.network import check, forward
from dask_mlsched.core.scores import FEWEST_MISSING, score


def preferences(network, **columns: list[float]) -> list[float]:
    rows = len(next(iter(columns.values())))
    x = np.zeros((rows, features.COUNT), np.float32)
    for name, values in columns.items():
        x[:, features.NAMES.index(name)] = values
    out = np.zeros((rows, 2), np.float32)
    forward(network, x, out)
    return out[:, 0].tolist()


def test_a_score_is_the_weighted_sum_of_what_is_named():
    network = score(missing=-2.0, age=0.5)
    check(network)
    assert preferences(network, missing=[1.0, 0.5], age=[0.0, 1.0], rank=[9.0, 9.0]) == [-2.0, -0.5]


def test_what_misses_least_is_preferred():
    first, second, third = preferences(FEWEST_MISSING, missing=[0.5, 0.0, 0.2], hold=[0, 0, 1])
    assert second > third > first


def test_a_feature_that_there_is_not_is_refused():
    with pytest.raises(ValueError, match="no feature 'speed'; expected some of hold, missing"):
        score(speed=1.0)
