"""Thresholds: the design's by default, and nothing that no threshold can be."""

from __future__ import annotations

import math
from dataclasses import asdict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dask_mlsched.core.thresholds import Thresholds

NAMES = sorted(asdict(Thresholds()))
COUNTS = ("merge_after", "promote_pairs", "sent_back_runs", "slow_runs")


def test_the_defaults_are_those_of_the_design() -> None:
    default = Thresholds()
    assert (default.same_family, default.near_family, default.covered_gap) == (0.9, 0.6, 0.25)
    assert (default.split_gain, default.merge_loss, default.rollback_gap) == (0.05, 0.02, 0.05)
    assert (default.promote_pairs, default.promote_loss, default.promote_live_loss) == (
        *(5, 0.02),
        0.03,
    )
    assert (default.bad_run, default.slow_runs, default.held_share) == (1.5, 5, 0.2)


@given(st.data())
def test_what_can_be_is_taken_and_the_rest_has_its_default(data: st.DataObject) -> None:
    numbers = st.one_of(st.integers(0, 10**6), st.floats(0, 1e300))
    values = {
        name: data.draw(st.integers(2, 10**6) if name in COUNTS else numbers)
        for name in data.draw(st.lists(st.sampled_from(NAMES), unique=True))
    }
    assert asdict(Thresholds.of(values)) == {**asdict(Thresholds()), **values}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("value", [-1, -0.001, math.nan, math.inf, True, "0.1", None, [0.1]])
def test_what_cannot_be_is_one_clear_error(name: str, value: object) -> None:
    for make in (lambda: Thresholds.of({name: value}), lambda: Thresholds(**{name: value})):  # type: ignore[arg-type]  # not a number
        with pytest.raises(ValueError, match=f"threshold '{name}' is ") as caught:
            make()
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", COUNTS)
def test_half_a_run_is_none(name: str) -> None:
    with pytest.raises(ValueError, match=r"expected a whole number, [12] or more"):
        Thresholds.of({name: 2.5})


@pytest.mark.parametrize("name", COUNTS)
def test_none_at_all_is_too_few(name: str) -> None:
    """Without runs to compare nothing could be judged, and merging one model is none."""
    with pytest.raises(ValueError, match=f"threshold '{name}' is 0; expected a whole number, "):
        Thresholds.of({name: 0})


def test_an_unknown_name_is_told_with_those_that_are_known() -> None:
    with pytest.raises(ValueError, match=r"unknown threshold 'merge-loss'; expected .*merge_loss"):
        Thresholds.of({"merge-loss": 0.1, "split_gain": 0.1})
