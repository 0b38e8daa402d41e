"""Decisions that are held out: which, and what a network's choices among them cost."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from dask_mlsched.learning.decisions import Decisions


@dataclass(frozen=True)
class Figures:
    """Mean costs of choices, in median task times; NaN where no choice has a label."""

    #: Of the preferred action.
    regret: float
    #: Of always taking the first one: Dask's order.
    first: float
    #: Of the baseline's action; None without one.
    baseline: float | None


def split(
    decisions: Decisions, share: float, rng: np.random.Generator
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """Choose which decisions to learn from and which to hold out, by groups.

    The decisions of one run are alike: held out one by one, they would show what was learnt by
    heart. A single group is split all the same.

    Returns
    -------
    tuple of array
        [n], [N - n] indices, each in order, neither empty for two decisions or more.
    """
    group = np.unique(decisions.groups, return_inverse=True)[1]
    count = int(group.max(initial=0)) + 1
    if count == 1:
        group, count = np.arange(len(decisions)), len(decisions)
    order = rng.permutation(count)
    sizes = np.bincount(group, minlength=count)[order]
    # As many groups as come nearest to the share, but one at least on each side.
    reached = np.abs(np.cumsum(sizes) - share * len(decisions))
    held = np.isin(group, order[: min(int(np.argmin(reached)) + 1, count - 1)])
    return np.flatnonzero(~held), np.flatnonzero(held)


def judge(
    preferences: npt.NDArray[np.float32],
    decisions: Decisions,
    baseline: npt.NDArray[np.intp] | None = None,
) -> Figures:
    """Say what choices cost.

    Parameters
    ----------
    preferences
        [N, A]; the largest of an action whose cost is known is the choice.
    baseline
        [N] the actions of another policy, to compare with.
    """
    chosen = np.where(decisions.labelled, preferences, -np.inf).argmax(1)
    return Figures(
        _mean_cost(decisions, chosen),
        _mean_cost(decisions, np.zeros_like(chosen)),
        None if baseline is None else _mean_cost(decisions, baseline),
    )


def _mean_cost(decisions: Decisions, actions: npt.NDArray[np.intp]) -> float:
    costs = decisions.costs[np.arange(len(decisions)), actions]
    known = costs[~np.isnan(costs)]
    return float(known.mean(dtype=np.float64)) if known.size else float("nan")
