"""Decisions of simulated runs with what their actions would have cost: what a fit learns from.

A run goes on under the present network, so that states are those that it brings itself into
(DAgger), but for a share of random choices, so that there are others as well. At some decisions,
drawn at random, a few actions are tried out to the end of the run. Nothing here needs torch.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from dask_mlsched.core.compiled.rollout import Decision
from dask_mlsched.core.dag import Dag, Floats
from dask_mlsched.core.hindsight import costs, normalised
from dask_mlsched.core.network import Network, forward
from dask_mlsched.learning.decision_record import DecisionRecord
from dask_mlsched.learning.instance import Instance


@dataclass(frozen=True)
class LabelSettings:
    """Which decisions are labelled, and how thoroughly."""

    #: Decisions of each run.
    decisions: int = 12
    #: Actions tried besides the preferred one and HOLD: the best by score, and random ones.
    by_score: int = 2
    random: int = 2
    #: Share of the decisions at which a random action is taken.
    exploration: float = 0.05


@dataclass(frozen=True)
class Labelled:
    """A decision and the hindsight costs of its actions."""

    record: DecisionRecord
    #: [A] regrets in median task times; NaN for actions that were not tried.
    costs: Floats


def labelled(
    instance: Instance,
    network: Network,
    run: int,
    family: int,
    seed: tuple[int, ...],
    settings: LabelSettings,
) -> list[Labelled]:
    """Run an instance once, and label some of the decisions.

    Takes as long as running the rest of the DAG for every action that is tried.

    Parameters
    ----------
    instance, network
        What is run, and under which network.
    run, family
        Numbers for the records.
    seed
        The same one gives the same decisions, actions and costs.
    settings
        Which and how thoroughly.
    """
    rng = np.random.default_rng(seed)
    median = median_task_seconds(instance.dag)
    chosen, explored = _drawn(instance, network, settings, rng)
    rollout = instance.rollout(network)
    made = []
    for number in sorted(chosen | explored):
        decision = rollout.until(number)
        if decision is None:
            # Random choices have led to fewer decisions than there were before.
            break
        taken = decision.preferred
        if decision.number in chosen:
            actions = _tried(decision, network, settings, rng)
            label = normalised(costs(rollout, decision, actions), median)
            made.append(Labelled(_record(decision, run, family, median), label))
        if decision.number in explored:
            taken = int(rng.integers(len(decision.features)))
        rollout.take(taken)
    return made


def median_task_seconds(dag: Dag) -> float:
    """Return the median of the tasks' seconds, of those that take any time."""
    return float(np.median(dag.seconds[dag.seconds > 0]))


def _drawn(
    instance: Instance, network: Network, settings: LabelSettings, rng: np.random.Generator
) -> tuple[set[int], set[int]]:
    """Choose by their numbers the decisions to label, and those that are taken at random."""
    first = instance.rollout(network)
    first.run()
    asked = int(first.arrays["clock"]["asked"][0])
    labels = min(asked, settings.decisions)
    explorations = min(asked, int(rng.binomial(asked, settings.exploration)))
    chosen = rng.choice(asked, labels, replace=False)
    explored = rng.choice(asked, explorations, replace=False)
    return set(chosen.tolist()), set(explored.tolist())


def _tried(
    decision: Decision, network: Network, settings: LabelSettings, rng: np.random.Generator
) -> list[int]:
    count = len(decision.features)
    scores = np.empty((count, 2), np.float32)
    forward(network, decision.features, scores)
    by_score: npt.NDArray[np.intp] = np.argsort(-scores[:, 0], kind="stable")
    others = rng.permutation(count)
    actions = {decision.preferred, *by_score[: 1 + settings.by_score].tolist()}
    actions.update(others[: settings.random].tolist())
    if decision.may_hold:
        actions.add(count - 1)
    return sorted(actions)


def _record(decision: Decision, run: int, family: int, median: float) -> DecisionRecord:
    return DecisionRecord(
        features=decision.features,
        has_hold=decision.may_hold,
        taken=decision.preferred,
        log_propensity=0.0,
        worker=decision.worker,
        time=decision.time,
        run=run,
        family=family,
        median_task_seconds=median,
        source="simulated",
    )
