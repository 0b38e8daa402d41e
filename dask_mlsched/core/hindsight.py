"""What each action of a decision costs, now that it is known what came after.

A run waits for a decision with actions a. Each is forced on a copy of the run, and the rest is
simulated to its end, T_a seconds in all, with the true sizes and times of every task. Its
*hindsight cost* is what it loses against the best one::

    T_a = (1 - beta) * T_a[the current policy goes on] + beta * T_a[a clairvoyant rule goes on]
    c_a = T_a - min over b of T_b

This is the roll-out of LOLS (Chang et al., "Learning to Search Better than Your Teacher", ICML
2015, algorithm 1), whose reference policy is replaced, with probability beta, by a
rule that knows the DAG: states are the learner's own, and every action has a cost, as in Hindsight
Learning (Sinclair et al., ICML 2023) and PARROT (Liu et al., ICML 2020). A cost without a
clairvoyant tells what an action is worth to the policy as it is, one with it what it may be worth
to a better one; the clairvoyant's own choice is never a label.

The regret of a decision is the cost of what was taken. Where compute times have noise, it was drawn
before the run began, so all actions meet the same times.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dask_mlsched.core.compiled.rollout import Decision, Rollout
from dask_mlsched.core.dag import Floats
from dask_mlsched.core.network import Network


def costs(
    rollout: Rollout,
    decision: Decision,
    actions: Sequence[int] | None = None,
    *,
    clairvoyant: Network | None = None,
    beta: float = 0.0,
    rng: np.random.Generator | None = None,
) -> Floats:
    """Work out the hindsight cost of every action of a decision.

    About ten microseconds for each action and each task that is left, and as much again for some
    thousand tasks to copy the run.

    Parameters
    ----------
    rollout
        Stands where its `until` has returned `decision`; it is not changed.
    decision
        What it waits for.
    actions
        Those to try; by default all.
    clairvoyant
        Knows the DAG, such as a network with the best weights that are known for it.
    beta
        With this probability it decides the rest, and the run's own policy else.
    rng
        Draws who does, once for all actions, so that they can be compared; None for what is to be
        expected, which takes both roll-outs of each action where `beta` is neither 0 nor 1.

    Returns
    -------
    Floats
        [A] seconds of makespan more than with the best action that was tried, in the order of the
        decision's features: 0 or more, one of them 0. NaN for actions that were not tried.

    Raises
    ------
    ValueError
        If `beta` is no probability or asks for a clairvoyant where there is none, or if an action
        is none of the decision's.
    SimulationError
        If the slow tier overflows in the rest of a run.
    """
    count = len(decision.features)
    tried = range(count) if actions is None else actions
    if not tried or not all(0 <= action < count for action in tried):
        msg = f"actions are {list(tried)}; expected some of 0 to {count - 1}"
        raise ValueError(msg)
    share = _share(beta, clairvoyant, rng)
    # A clairvoyant without a share, and a policy without one, need not be rolled out.
    rules = [(1.0 - share, None), (share, clairvoyant)]
    makespans = np.full(count, np.nan)
    for action in tried:
        makespans[action] = sum(
            weight * _makespan(rollout, action, rule) for weight, rule in rules if weight > 0
        )
    made: Floats = makespans - np.nanmin(makespans)
    return made


def regret(costs: Floats, taken: int) -> float:
    """Return what the action that was taken cost; NaN if it was not tried.

    Examples
    --------
    >>> regret(np.array([0.5, 0.0, np.nan]), 0)
    0.5
    """
    return float(costs[taken])


def best(costs: Floats, taken: int | None = None) -> int:
    """Return the action without regret: what was taken if that has none, else the first.

    Examples
    --------
    >>> best(np.array([0.5, 0.0, 0.0])), best(np.array([0.5, 0.0, 0.0]), taken=2)
    (1, 2)
    """
    if taken is not None and costs[taken] == 0:
        return taken
    return int(np.nanargmin(costs))


def normalised(costs: Floats, median_task_seconds: float) -> Floats:
    """Turn seconds into median task times, in which runs of any size can be compared.

    Raises
    ------
    ValueError
        If tasks take no time: then there is nothing to compare with.
    """
    if not median_task_seconds > 0:
        msg = (
            f"the median task takes {median_task_seconds!r} seconds; expected more than 0: "
            "leave the run out, or measure its tasks"
        )
        raise ValueError(msg)
    made: Floats = costs / median_task_seconds
    return made


def _share(beta: float, clairvoyant: Network | None, rng: np.random.Generator | None) -> float:
    """Return the weight of the clairvoyant's roll-out."""
    if not 0 <= beta <= 1:
        msg = f"beta is {beta!r}; expected a probability, from 0 to 1"
        raise ValueError(msg)
    if beta > 0 and clairvoyant is None:
        msg = f"beta is {beta!r} without a clairvoyant; give a network, or beta=0"
        raise ValueError(msg)
    return beta if rng is None else float(rng.random() < beta)


def _makespan(rollout: Rollout, action: int, rule: Network | None) -> float:
    run = rollout.copy(rule)
    run.take(action)
    return run.run().makespan
