"""Intervals cover what they say, and chances are those of flipped signs, exactly."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dask_mlsched.learning.statistics import chance_above, mean_interval

#: Not so near each other that sums round to the same.
FIGURES = st.integers(-1000, 1000).map(lambda n: n / 64)


@pytest.mark.parametrize("count", range(1, 13))
def test_of_n_that_are_all_above_the_chance_is_two_to_the_minus_n(count: int) -> None:
    figures = np.linspace(0.5, 2, count).tolist()
    assert chance_above(figures) == 2.0**-count
    assert chance_above([-each for each in figures]) == 1


def test_small_ones_by_hand() -> None:
    assert chance_above([]) == 1
    assert chance_above([0.0, 0.0]) == 1
    # Of the four ways to flip 3 and -1, those with a mean of 1 or more: (3, -1) and (3, 1).
    assert chance_above([3, -1]) == 0.5
    assert chance_above([3, -1], level=1) == 0.75
    assert chance_above([0.1, 0.2, 0.3]) == 1 / 8


@given(st.lists(FIGURES, min_size=1, max_size=9), FIGURES)
@settings(max_examples=60, deadline=None)
def test_it_is_the_share_of_the_ways_to_flip_signs(figures: list[float], level: float) -> None:
    moved = [each - level for each in figures]
    ways = [
        sum(each * sign for each, sign in zip(moved, signs, strict=True))
        for signs in itertools.product((1, -1), repeat=len(moved))
    ]
    expected = sum(each >= sum(moved) for each in ways) / len(ways)
    assert chance_above(figures, level) == expected


@given(st.lists(FIGURES, min_size=1, max_size=12))
@settings(max_examples=60, deadline=None)
def test_both_ways_together_are_all_ways_and_those_that_are_equal(figures: list[float]) -> None:
    above, below = chance_above(figures), chance_above([-each for each in figures])
    assert 2.0 ** -len(figures) <= above <= 1
    assert above + below >= 1
    assert chance_above(figures[::-1]) == above
    assert chance_above([each + 5 for each in figures], 5) == above


def test_of_many_figures_it_is_drawn_and_nearly_exact() -> None:
    rng = np.random.default_rng(0)
    figures = rng.normal(0.4, 1, 20)
    # By the normal approximation, which flipped signs follow.
    z = figures.sum() / math.sqrt((figures**2).sum())
    assert chance_above(figures) == pytest.approx(0.5 * math.erfc(z / math.sqrt(2)), abs=0.02)
    assert chance_above(figures) == chance_above(figures)


def test_where_nothing_is_different_few_seem_so() -> None:
    rng = np.random.default_rng(0)
    seem = [chance_above(rng.normal(0, 1, 6)) < 0.05 for _ in range(400)]
    assert np.mean(seem) <= 0.06


@pytest.mark.parametrize(("count", "least"), [(5, 0.78), (10, 0.86), (40, 0.9)])
def test_intervals_cover_the_mean(count: int, least: float) -> None:
    """Of five figures they are too narrow, which the bootstrap is known for."""
    rng = np.random.default_rng(1)
    covered = 0
    for _ in range(300):
        low, high = mean_interval(rng.normal(0.3, 0.1, count))
        covered += low <= 0.3 <= high
    assert least <= covered / 300 <= 0.99


@given(st.lists(FIGURES, min_size=2, max_size=8))
@settings(max_examples=40, deadline=None)
def test_an_interval_lies_within_the_figures_around_their_mean(figures: list[float]) -> None:
    low, high = mean_interval(figures)
    assert min(figures) - 1e-9 <= low <= np.mean(figures) + 1e-9
    assert np.mean(figures) - 1e-9 <= high <= max(figures) + 1e-9
    assert mean_interval(figures) == (low, high)
    wider = mean_interval(figures, 0.99)
    assert wider[0] <= low
    assert high <= wider[1]


def test_of_one_figure_or_none_nothing_is_known() -> None:
    assert mean_interval([1.0]) == mean_interval([]) == (-math.inf, math.inf)
    assert mean_interval([1.0, 1.0]) == (1, 1)
