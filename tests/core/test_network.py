"""The served network gives what its formula says, whatever its sizes, and refuses what is none."""

from __future__ import annotations

from typing import Any

import numba as nb
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.networks import by_formula, random_network
from dask_mlsched.core.network import (
    InvalidNetworkError,
    Network,
    check,
    difference,
    forward,
    hidden_of,
    linear,
    shapes,
)


def scores(network: Network, x: np.ndarray) -> np.ndarray:
    out = np.full((len(x), 2), 99.0, np.float32)
    forward(network, x, out)
    return out


@given(
    st.integers(0, 33),
    st.integers(1, 40),
    st.tuples(st.integers(0, 40), st.integers(0, 40)),
    st.integers(0, 2**32 - 1),
)
@settings(max_examples=60, deadline=None)
def test_scores_are_those_of_the_formula(actions: int, features: int, hidden: tuple, seed: int):
    rng = np.random.default_rng(seed)
    network = random_network(rng, features, hidden)
    check(network)
    x = rng.normal(scale=3, size=(actions, features)).astype(np.float32)
    np.testing.assert_allclose(scores(network, x), by_formula(network, x), rtol=1e-4, atol=1e-4)


def test_without_hidden_units_it_is_a_linear_score():
    network = linear([2.0, -1.0], mean=[1.0, 0.0], scale=[2.0, 1.0])
    assert hidden_of(network) == (0, 0)
    x = np.array([[3.0, 0.5], [1.0, 0.0]], np.float32)
    assert scores(network, x).tolist() == [[2.0 * 1.0 - 0.5, 0.0], [0.0, 0.0]]


def test_a_linear_score_takes_features_as_they_are_by_default():
    network = linear(np.array([1, -2]))
    assert scores(network, np.array([[0.5, 2.0]], np.float32))[0].tolist() == [-3.5, 0.0]


def test_features_far_out_are_cut_off():
    network = linear([1.0], mean=[10.0], scale=[2.0])
    x = np.array([[1e30], [-np.inf], [26.0], [25.0]], np.float32)
    assert scores(network, x)[:, 0].tolist() == [8.0, -8.0, 8.0, 7.5]


def test_a_feature_that_is_nan_shows_in_its_row_only():
    network = random_network(np.random.default_rng(0), 5, (8, 8))
    x = np.ones((3, 5), np.float32)
    x[1, 2] = np.nan
    found = np.isnan(scores(network, x))
    assert found.tolist() == [[False, False], [True, True], [False, False]]


def test_it_may_be_called_from_compiled_functions():
    @nb.njit
    def best(network: Any, x: Any) -> int:
        out = np.empty((x.shape[0], 2), np.float32)
        forward(network, x, out)
        return out[:, 0].argmax()

    x = np.array([[1.0], [5.0], [3.0]], np.float32)
    assert best(linear([1.0]), x) == 1
    assert best(linear([-1.0]), x) == 0


def test_the_arrays_are_not_shared_with_the_caller():
    weights = np.ones(2, np.float32)
    network = linear(weights)
    weights[:] = 7
    assert network.skip.tolist() == [1.0, 1.0]


@pytest.mark.parametrize(
    ("name", "array", "words"),
    [
        ("w1", np.zeros((3, 4)), ["w1", "float64", "float32"]),
        ("b3", [0.0, 0.0], ["b3", "list", "float32"]),
        ("w1", np.zeros((4, 3), np.float32).T, ["w1", "C-contiguous", "ascontiguousarray"]),
        ("w2", np.zeros((4, 6), np.float32), ["w2", "(4, 6)", "(4, 5)"]),
        ("w3", np.zeros((5, 1), np.float32), ["w3", "(5, 1)", "(5, 2)"]),
        ("skip", np.zeros(2, np.float32), ["skip", "(2,)", "(3,)", "3 features"]),
        ("b1", np.array([0, np.inf, 0, 0], np.float32), ["b1", "inf", "finite"]),
        ("w3", np.full((5, 2), np.nan, np.float32), ["w3", "nan", "finite"]),
        ("scale", np.array([1, 0, 1], np.float32), ["scale", "0.0", "above 0"]),
        ("mean", np.zeros((3, 1), np.float32), ["mean", "(3, 1)", "(3,)"]),
    ],
)
def test_what_is_no_network_is_refused_with_its_reason(name: str, array: Any, words: list[str]):
    network = random_network(np.random.default_rng(0), 3, (4, 5))
    check(network)
    with pytest.raises(InvalidNetworkError) as error:
        check(network._replace(**{name: array}))
    message = str(error.value)
    assert "\n" not in message
    assert [word for word in words if word not in message] == []


@pytest.mark.parametrize(
    ("weights", "mean", "scale"),
    [
        ([[1.0]], None, None),
        ([1.0], [1.0, 2.0], None),
        ([1.0], None, [0.0]),
        ([np.nan], None, None),
    ],
)
def test_a_linear_score_of_other_shapes_is_refused(weights: Any, mean: Any, scale: Any):
    with pytest.raises(InvalidNetworkError):
        linear(weights, mean, scale)


def test_shapes_follow_the_sizes():
    found = shapes(3, (4, 5))
    assert [found[name] for name in ("mean", "scale", "skip")] == [(3,)] * 3
    assert [found[name] for name in ("w1", "b1", "w2", "b2")] == [(3, 4), (4,), (4, 5), (5,)]
    assert [found[name] for name in ("w3", "b3")] == [(5, 2), (2,)]
    assert list(found) == list(Network._fields)


def test_names_that_differ_are_told():
    assert difference(("a", "b"), ("a", "b")) == ""
    assert difference(("a", "b"), ("b", "a")) == "feature 0 is a, not b"
    assert difference((), ("a",)) == "0 features, not 1"
