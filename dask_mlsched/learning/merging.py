"""One model in the place of several: a shared one for some families, or a generalist for all.

What is proposed first: the champion, each family's model, the mean of their weights, and a score
that is distilled from their choices. From the best of these a search goes on over the runs of the
families, where costs are over those of the models that serve them now. A shared model has to be
hardly slower for each family than the family's own. A generalist is also searched with DAGs that
ship, has to pass the gate of every generalist, and stands for the families for which it is hardly
slower than their own models.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, geometric_mean
from typing import Final

import numpy as np

from dask_mlsched.core.network import Network, hidden_of
from dask_mlsched.core.thresholds import Thresholds
from dask_mlsched.learning.challengers import SHARES, challenger, comparable, on_the_way
from dask_mlsched.learning.decisions import Decisions
from dask_mlsched.learning.distilling import Lesson, distil
from dask_mlsched.learning.gate import Comparison, Suite, compare, judged
from dask_mlsched.learning.instance import Instance
from dask_mlsched.learning.search import SearchSettings
from dask_mlsched.learning.shipped import Shipped
from dask_mlsched.learning.variants import Variants
from dask_mlsched.learning.verdict import judge_here

#: The search is over many DAGs at once, and begins well.
SEARCH: Final = SearchSettings(population=14, elites=5, sigma=0.25)


@dataclass(frozen=True, eq=False)
class Parent:
    """A family with its model."""

    family: str
    network: Network
    variants: Variants


@dataclass(frozen=True, eq=False)
class Merge:
    """What came of an attempt."""

    network: Network
    #: What the search began at, or "search" if it found something better.
    made_by: str
    #: The families that it stands for.
    families: tuple[str, ...]
    #: family -> its makespan over that of the family's own model.
    ratios: Mapping[str, float]
    objection: str | None
    figures: dict[str, float]


def merge(
    parents: Sequence[Parent],
    champion: Network,
    thresholds: Thresholds,
    *,
    seed: int,
    elapsed: Callable[[], float],
    seconds: float,
) -> Merge:
    """Make one model for some families, and judge it.

    Parameters
    ----------
    parents
        At least two.
    elapsed, seconds
        How long it has taken so far, and may take, on any clock.
    """
    network, made_by = _made(parents, champion, (), None, seed, elapsed, seconds)
    ratios = _ratios(parents, network)
    worst = max(ratios, key=lambda family: ratios[family])
    objection = None
    if ratios[worst] > 1 + thresholds.merge_loss:
        objection = (
            f"{ratios[worst]:.4f} of the makespan of {worst}'s own model; "
            f"expected {1 + thresholds.merge_loss} at most"
        )
    return Merge(network, made_by, tuple(ratios), ratios, objection, _told(ratios))


def generalise(
    parents: Sequence[Parent],
    champion: Network,
    shipped: Shipped,
    decisions: Decisions | None,
    thresholds: Thresholds,
    *,
    seed: int,
    elapsed: Callable[[], float],
    seconds: float,
) -> Merge:
    """Make a generalist of the champion and the models of families, and judge it.

    One that its gate refuses is tried again nearer to the champion, where it wins and loses less.

    Parameters
    ----------
    parents
        At least one; a family without a model of its own comes with the champion's network.
    decisions
        Labelled ones, oldest first; None without any.
    elapsed, seconds
        How long it has taken so far, and may take, on any clock.
    """
    network, made_by = _made(parents, champion, shipped.searched, decisions, seed, elapsed, seconds)
    judged_on = [each for parent in parents for each in parent.variants.judged]
    suite = Suite(judged_on, shipped.judged)
    before = judged(suite, champion)
    first: Merge | None = None
    for share in SHARES:
        if share < 1 and not comparable(champion, network):
            break
        tried = network if share == 1 else on_the_way(champion, network, share)
        made = _as_generalist(
            tried,
            made_by,
            parents,
            compare(suite, before, tried, thresholds.promote_loss),
            thresholds,
        )
        made.figures["share"] = share
        if made.objection is None:
            return made
        first = first or made
    assert first is not None
    return first


def _as_generalist(
    network: Network,
    made_by: str,
    parents: Sequence[Parent],
    compared: Comparison,
    thresholds: Thresholds,
) -> Merge:
    ratios = _ratios(parents, network)
    families = tuple(
        family for family, ratio in ratios.items() if ratio <= 1 + thresholds.merge_loss
    )
    figures = {name: round(each, 5) for name, each in compared.figures.items()}
    return Merge(network, made_by, families, ratios, compared.objection, figures | _told(ratios))


def _ratios(parents: Sequence[Parent], network: Network) -> dict[str, float]:
    return {parent.family: ratio_of(parent, network) for parent in parents}


def _told(ratios: Mapping[str, float]) -> dict[str, float]:
    """Return ratios as figures of a card."""
    return {f"ratio of {family}": round(ratio, 5) for family, ratio in ratios.items()}


def _made(
    parents: Sequence[Parent],
    champion: Network,
    shipped: Sequence[Instance],
    decisions: Decisions | None,
    seed: int,
    elapsed: Callable[[], float],
    seconds: float,
) -> tuple[Network, str]:
    """Propose, and search on from the best; return the result and how it was made."""
    searched = Suite([each for parent in parents for each in parent.variants.searched], shipped)
    usual = _usual(parents, champion, shipped)
    start, made_by = _best(_proposals(parents, champion), searched, usual)
    made = challenger(
        start,
        searched,
        decisions,
        seed=seed,
        elapsed=elapsed,
        seconds=seconds,
        usual=usual,
        search=SEARCH,
    )
    return (start, made_by) if made is None else (made.network, f"{made_by}, {made.made_by}")


def _proposals(parents: Sequence[Parent], champion: Network) -> dict[str, Network]:
    networks = [parent.network for parent in parents]
    found = {"the champion": champion}
    found |= {f"the model of {parent.family}": parent.network for parent in parents}
    if not any(any(hidden_of(each)) for each in (champion, *networks)):
        found["the mean of weights"] = mean_of(networks, champion)
    lessons = [Lesson(parent.network, parent.variants.searched) for parent in parents]
    found["distillation"] = distil(lessons, champion)
    return found


def mean_of(networks: Sequence[Network], like: Network) -> Network:
    """Return the mean of linear scores, for the standardised features of one of them."""
    raw = np.mean([each.skip / each.scale for each in networks], axis=0)
    return like._replace(skip=(raw * like.scale).astype(np.float32))


def _usual(
    parents: Sequence[Parent], champion: Network, shipped: Sequence[Instance]
) -> list[float]:
    """Return the makespans of what serves each instance now."""
    found: list[float] = []
    for network, instances in (
        *((parent.network, parent.variants.searched) for parent in parents),
        (champion, shipped),
    ):
        if instances:
            found += [each.makespan for each in judge_here(instances, network).outcomes]
    return found


def _best(
    proposals: Mapping[str, Network], searched: Suite, usual: Sequence[float]
) -> tuple[Network, str]:
    """Return the proposal that is best on what is searched on, and its name."""
    costs = {
        name: fmean(
            math.log(each.makespan / before)
            for each, before in zip(judged(searched, network).outcomes, usual, strict=True)
        )
        for name, network in proposals.items()
    }
    name = min(costs, key=lambda each: costs[each])
    return proposals[name], name


def ratio_of(parent: Parent, network: Network) -> float:
    """Return the makespan of a network over that of a family's own model, on what is judged on."""
    before, after = (judge_here(parent.variants.judged, each) for each in (parent.network, network))
    return geometric_mean(
        new.makespan / old.makespan
        for old, new in zip(before.outcomes, after.outcomes, strict=True)
    )
