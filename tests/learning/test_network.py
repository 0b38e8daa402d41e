"""Torch and serving give the same scores, and a network can go on from one that there is."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from core.networks import by_formula, random_network
from dask_mlsched.core.network import InvalidNetworkError, Network, forward, hidden_of, linear
from dask_mlsched.learning.network import HIDDEN, ScoringNetwork


def served(network: Network, x: np.ndarray) -> np.ndarray:
    out = np.empty((len(x), 2), np.float32)
    forward(network, x, out)
    return out


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def trained(model: ScoringNetwork, x: np.ndarray) -> np.ndarray:
    with torch.no_grad():
        return model(torch.from_numpy(x)).numpy()


def fresh(features: int, hidden: tuple[int, int] = HIDDEN, seed: int = 0) -> ScoringNetwork:
    zeros, ones = np.zeros(features, np.float32), np.ones(features, np.float32)
    return ScoringNetwork(zeros, ones, hidden, generator=seeded(seed))


@given(st.integers(1, 40), st.sampled_from([(0, 0), (1, 1), (32, 32), (7, 19)]), st.integers(0, 99))
@settings(max_examples=30, deadline=None)
def test_torch_and_serving_agree(features: int, hidden: tuple[int, int], seed: int):
    rng = np.random.default_rng(seed)
    network = random_network(rng, features, hidden)
    model = ScoringNetwork.from_network(network)
    x = rng.normal(scale=3, size=(33, features)).astype(np.float32)
    np.testing.assert_allclose(trained(model, x), served(network, x), rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(trained(model, x), by_formula(network, x), rtol=1e-4, atol=1e-4)


def test_what_is_exported_comes_back_bit_by_bit():
    network = random_network(np.random.default_rng(0), 6, (5, 4))
    back = ScoringNetwork.from_network(network).export()
    assert all(np.array_equal(a, b) for a, b in zip(network, back, strict=True))
    assert hidden_of(back) == (5, 4)


def test_training_does_not_change_what_was_exported():
    model = fresh(4)
    before = model.export()
    with torch.no_grad():
        model.skip += 1
    assert before.skip.tolist() == [0.0] * 4


def test_a_new_network_prefers_nothing_but_learns_in_every_layer():
    model = fresh(4)
    x = torch.randn(8, 3, 4, generator=seeded())
    assert model(x).shape == (8, 3, 2)
    assert not model(x).any()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(2):
        optimizer.zero_grad()
        (model(x) - 1).square().mean().backward()
        optimizer.step()
    assert all(parameter.grad.any() for parameter in model.parameters())


def test_the_seed_decides_the_weights():
    assert torch.equal(fresh(4, seed=1).w1, fresh(4, seed=1).w1)
    assert not torch.equal(fresh(4, seed=1).w1, fresh(4, seed=2).w1)


def test_a_linear_score_can_be_started_from():
    rng = np.random.default_rng(0)
    start = linear(rng.normal(size=5), rng.normal(size=5), rng.uniform(1, 2, 5))
    model = ScoringNetwork.from_network(start, (8, 8), generator=seeded())
    x = rng.normal(size=(9, 5)).astype(np.float32)
    np.testing.assert_allclose(trained(model, x), served(start, x), rtol=1e-6, atol=1e-6)
    assert model.w1.any()
    assert hidden_of(model.export()) == (8, 8)


def test_mean_and_scale_are_not_trained():
    assert {name for name, _ in fresh(3).named_parameters()}.isdisjoint({"mean", "scale"})


def test_other_sizes_than_those_of_a_network_are_refused():
    network = random_network(np.random.default_rng(0), 3, (4, 4))
    with pytest.raises(ValueError, match=r"\(4, 4\) units, not \(8, 8\).*keep its sizes"):
        ScoringNetwork.from_network(network, (8, 8))


@pytest.mark.parametrize("hidden", [(0, 4), (4, 0), (-1, -1)])
def test_sizes_that_make_no_network_are_refused(hidden: tuple[int, int]):
    with pytest.raises(ValueError, match=r"hidden is .*expected two numbers of units"):
        fresh(3, hidden)


def test_weights_that_ran_away_are_not_exported():
    model = fresh(3)
    with torch.no_grad():
        model.w2[0, 0] = torch.nan
    with pytest.raises(InvalidNetworkError, match="w2 holds nan"):
        model.export()
