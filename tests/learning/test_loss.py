"""Losses are what their formulas say, computed here with numpy, one decision at a time."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from dask_mlsched.learning.loss import expected_cost, slog, usable, weighted_cross_entropy

NAN = np.nan


def np_slog(c: np.ndarray) -> np.ndarray:
    return np.sign(c) * np.log(1 + np.abs(c))


def parts(f: np.ndarray, g: np.ndarray, c: np.ndarray) -> tuple[np.ndarray, float]:
    """Return p, and what both losses have, for actions that all count."""
    p = np.exp(f) / np.exp(f).sum()
    return p, 0.3 * ((g - np_slog(c)) ** 2).sum() - 0.01 * -(p * np.log(p)).sum()


def expected_cost_of(f: np.ndarray, g: np.ndarray, c: np.ndarray) -> float:
    p, common = parts(f, g, c)
    return float((p * c).sum() + common)


def cross_entropy_of(f: np.ndarray, g: np.ndarray, c: np.ndarray) -> float:
    p, common = parts(f, g, c)
    return float(-(c - c.min()).mean() * np.log(p[c == c.min()].sum()) + common)


LOSSES = [(expected_cost, expected_cost_of), (weighted_cross_entropy, cross_entropy_of)]


def batch(n: int, actions: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Draw scores, regrets with a heavy tail, and what is legal; some labels are missing."""
    rng = np.random.default_rng(seed)
    scores = rng.normal(size=(n, actions, 2))
    costs = rng.pareto(1.2, size=(n, actions))
    costs -= costs.min(axis=1, keepdims=True)
    costs[rng.random(costs.shape) < 0.2] = NAN
    return scores, costs, rng.random((n, actions)) < 0.8


def call(loss, scores, costs, legal) -> float:
    return loss(torch.tensor(scores), torch.tensor(costs), torch.tensor(legal)).item()


@pytest.mark.parametrize(("loss", "formula"), LOSSES)
@pytest.mark.parametrize("actions", [2, 33])
def test_a_loss_is_the_mean_of_its_formula_over_labelled_decisions(loss, formula, actions: int):
    scores, costs, legal = batch(50, actions)
    counts = legal & ~np.isnan(costs)
    each = [
        formula(s[m, 0], s[m, 1], c[m])
        for s, c, m in zip(scores, costs, counts, strict=True)
        if m.any()
    ]
    assert call(loss, scores, costs, legal) == pytest.approx(np.mean(each), rel=1e-12)


@pytest.mark.parametrize(("loss", "formula"), LOSSES)
def test_what_is_illegal_or_unlabelled_changes_nothing(loss, formula):
    f, g, c = np.array([0.5, -1.0]), np.array([0.1, 0.2]), np.array([3.0, 0.0])
    scores = np.array([[[0.5, 0.1], [50.0, 7.0], [-1.0, 0.2], [90.0, -9.0]]])
    costs = np.array([[3.0, 1.0, 0.0, NAN]])
    legal = np.array([[True, False, True, True]])
    assert call(loss, scores, costs, legal) == pytest.approx(formula(f, g, c))


@pytest.mark.parametrize(("loss", "_"), LOSSES)
def test_gradients_are_finite_whatever_is_missing(loss, _):
    scores, costs, legal = batch(20, 5)
    legal[3] = False
    costs[4] = NAN
    scores = torch.tensor(scores * 100, requires_grad=True)
    loss(scores, torch.tensor(costs), torch.tensor(legal)).backward()
    assert torch.isfinite(scores.grad).all()
    assert not scores.grad[3:5].any()
    assert not scores.grad[~usable(torch.tensor(costs), torch.tensor(legal))].any()


@pytest.mark.parametrize(("loss", "_"), LOSSES)
def test_a_batch_without_labels_costs_nothing(loss, _):
    scores, costs, legal = batch(4, 3)
    assert call(loss, scores, np.full_like(costs, NAN), legal) == 0
    assert call(loss, scores, costs, np.zeros_like(legal)) == 0


@pytest.mark.parametrize(("loss", "_"), LOSSES)
def test_descent_leads_to_the_cheapest_action(loss, _):
    costs, legal = torch.tensor([[4.0, 0.0, 2.0]]), torch.ones(1, 3, dtype=torch.bool)
    scores = torch.zeros(1, 3, 2, requires_grad=True)
    optimizer = torch.optim.Adam([scores], lr=0.1)
    for _step in range(300):
        optimizer.zero_grad()
        loss(scores, costs, legal).backward()
        optimizer.step()
    assert scores[0, :, 0].softmax(-1)[1] > 0.95
    np.testing.assert_allclose(scores[0, :, 1].detach(), np_slog(costs[0].numpy()), atol=0.02)


def test_the_gradient_of_the_expected_cost_is_that_of_its_softmax():
    # d/df_a of sum p c is p_a (c_a - sum p c); the entropy's is taken off with finite differences.
    scores, costs, legal = batch(1, 4)
    costs, legal = np.nan_to_num(costs), np.ones_like(legal)
    tensor = torch.tensor(scores, requires_grad=True)
    expected_cost(tensor, torch.tensor(costs), torch.tensor(legal)).backward()
    for action in range(4):
        step = np.zeros_like(scores)
        step[0, action, 0] = 1e-6
        up, down = (call(expected_cost, scores + sign * step, costs, legal) for sign in (1, -1))
        assert tensor.grad[0, action, 0].item() == pytest.approx((up - down) / 2e-6, rel=1e-4)


def test_several_best_actions_share_the_probability():
    costs, legal = [[0.0, 0.0, 3.0]], [[True] * 3]
    scores = np.zeros((1, 3, 2))
    scores[0, 0, 0] = 50.0
    first = call(weighted_cross_entropy, scores, costs, legal)
    scores[0, :2, 0] = 0.0, 50.0
    assert call(weighted_cross_entropy, scores, costs, legal) == pytest.approx(first)


def test_decisions_without_a_choice_to_make_pull_at_no_preference():
    scores = torch.randn(1, 3, 2, generator=torch.Generator().manual_seed(0)).requires_grad_()
    legal = torch.tensor([[True, False, False]])
    weighted_cross_entropy(scores, torch.tensor([[0.0, 5.0, 6.0]]), legal).backward()
    assert not scores.grad[..., 0].any()


def test_slog_is_odd_and_slow():
    values = torch.tensor([-np.e + 1, -1e-9, 0.0, 1e-9, np.e - 1], dtype=torch.float64)
    expected = [-1.0, -1e-9, 0.0, 1e-9, 1.0]
    assert slog(values).tolist() == pytest.approx(expected, rel=1e-7, abs=0)
