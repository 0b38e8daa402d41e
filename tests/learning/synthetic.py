"""Decisions whose costs are known: to run or to hold, with a heavy tail."""

from __future__ import annotations

import numpy as np

from dask_mlsched.learning.decisions import Decisions

FEATURES = 8
RUN, HOLD = 0, 1


def run_or_hold(n: int, seed: int, share: float = 0.45) -> Decisions:
    """Draw decisions: row 0 is RUN, row 1 HOLD.

    Whether holding is better depends on three features and is nearly certain; what the worse of the
    two costs depends on another by orders of magnitude, and has a heavy tail.
    """
    rng = np.random.default_rng(seed)
    state = rng.normal(size=(n, FEATURES - 1))
    holding = state[:, 0] + np.abs(state[:, 1]) + 0.5 * state[:, 2] > 0.8
    holding ^= rng.random(n) < 0.02
    cost = np.exp(1.2 * state[:, 4] + rng.standard_t(3, n) * 0.7) * share
    features = np.zeros((n, 2, FEATURES), np.float32)
    features[:, :, :-1] = state[:, None]
    features[:, HOLD, -1] = 1
    costs = np.zeros((n, 2), np.float32)
    costs[np.arange(n), np.where(holding, RUN, HOLD)] = np.minimum(cost, 300)
    return Decisions.from_arrays(features, costs)
