"""New networks for a cluster, from the one that serves it: by search, and by a fit to decisions.

Both go on from the champion, and gently: it is better than what these few runs alone would lead
to. What counts is the makespan over the champion's, half on this cluster's own runs and half on
instances that ship, against forgetting; what gets longer counts three times as much as what gets
shorter, and much more where the gate would not let it through. A challenger that the gate refuses
is tried again nearer to the champion, where it gains less and loses less.
A fit has to be clearly better than the search, as in `trainer`: hidden layers cost time to serve.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from statistics import fmean, geometric_mean
from typing import Final, Literal, TypeAlias

import numpy as np

from dask_mlsched.core.network import Network, hidden_of
from dask_mlsched.learning.decisions import Decisions, InvalidDecisionsError
from dask_mlsched.learning.gate import LOSS, Suite
from dask_mlsched.learning.instance import cost_of
from dask_mlsched.learning.processes import Processes
from dask_mlsched.learning.search import CrossEntropy, SearchSettings
from dask_mlsched.learning.verdict import by_family, judge

MadeBy: TypeAlias = Literal["search", "fit"]

#: Narrow: the champion is good already.
SEARCH: Final = SearchSettings(population=16, elites=6, sigma=0.15)

#: Instances of each half that a round of the search is run on.
DRAWN: Final = 4

#: Rounds between two looks at all instances; looks without a better network that end the search.
LOOK_EVERY: Final = 3
PATIENCE: Final = 8

#: How far towards the middle of the search networks are tried at each look.
LOOKED_AT: Final = (1.0, 0.5, 0.25)

#: How far towards a challenger networks are tried, one after the other.
SHARES: Final = (1.0, 0.7, 0.5, 0.35, 0.25, 0.15, 0.1)

#: What a makespan that is longer by more than the gate allows costs beside its logarithm.
REFUSED_WEIGHT: Final = 3.0

#: Share of the time that the search has.
SHARE: Final = 0.6

#: More decisions than this, the newest ones, would not be gone through in the rest of it.
MOST_DECISIONS: Final = 4_000


@dataclass(frozen=True, eq=False)
class Challenger:
    """A network that may be better."""

    network: Network
    made_by: MadeBy
    #: Mean cost on what it was searched with, where that of what is usual there is 0.
    cost: float


class OutOfTimeError(Exception):
    """Ends a fit whose time is up."""


def challenger(
    champion: Network,
    instances: Suite,
    decisions: Decisions | None,
    *,
    seed: int,
    elapsed: Callable[[], float],
    seconds: float,
    usual: Sequence[float] | None = None,
    search: SearchSettings = SEARCH,
) -> Challenger | None:
    """Make the best network of what there is time for; None if none is better than the champion.

    Parameters
    ----------
    instances
        What to search on; at least one.
    decisions
        Labelled ones; None for a search alone.
    elapsed, seconds
        How long it has taken so far, and may take; on any clock. Asked before each network is run.
    usual
        Of each instance, the makespan over that of Dask alone that costs are compared with; the
        champion's by default.
    search
        How wide the search is.
    """
    share = 1.0 if decisions is None else SHARE
    with Processes(instances.instances) as processes:
        trial = _Trial(processes, len(instances.own), champion, usual)
        best, cost = _searched(
            trial, champion, seed, search, expired=lambda: elapsed() >= share * seconds
        )
        found: MadeBy = "search"
        if decisions is not None:
            fitted = _fitted(best, decisions, seed, expired=lambda: elapsed() >= seconds)
            if fitted is not None and (fit_cost := trial.cost(fitted)) < cost - _margin():
                best, cost, found = fitted, fit_cost, "fit"
    return None if best is champion else Challenger(best, found, cost)


class _Trial:
    """Runs networks on own and shipped instances, which count by halves."""

    def __init__(
        self,
        processes: Processes,
        own: int,
        champion: Network,
        usual: Sequence[float] | None,
    ) -> None:
        self._processes = processes
        #: Of each instance, the makespan that costs are compared with.
        self._usual = (
            [each.makespan for each in judge(processes, champion).outcomes]
            if usual is None
            else usual
        )
        everything = range(len(processes.instances))
        halves: tuple[Sequence[int], ...] = (everything[:own], everything[own:])
        self._halves = [half for half in halves if half]

    def cost(self, network: Network) -> float:
        """Return the mean cost over all instances."""
        return self._mean(network, self._halves)

    def drawn(self, rng: np.random.Generator) -> list[list[int]]:
        """Draw some instances of each half."""
        return [
            rng.choice(half, min(DRAWN, len(half)), replace=False).tolist() for half in self._halves
        ]

    def _mean(self, network: Network, halves: Sequence[Sequence[int]]) -> float:
        return fmean(self._of_families(network, half) for half in halves)

    def _of_families(self, network: Network, places: Sequence[int]) -> float:
        """Return the mean cost of families: of a single DAG, much is luck."""
        outcomes = judge(self._processes, network, places).outcomes
        ratios = [
            outcome.makespan / self._usual[place]
            for place, outcome in zip(places, outcomes, strict=True)
        ]
        families = by_family([self._processes.instances[place] for place in places], ratios)
        return fmean(_cost(geometric_mean(each)) for each in families.values())

    def costs(
        self,
        networks: Sequence[Network],
        halves: Sequence[Sequence[int]],
        expired: Callable[[], bool],
    ) -> list[float] | None:
        """Return the mean cost of each network on some instances; None if time is up before."""
        costs = []
        for network in networks:
            if expired():
                return None
            costs.append(self._mean(network, halves))
        return costs


def _cost(ratio: float) -> float:
    return cost_of(ratio) + REFUSED_WEIGHT * max(0.0, math.log(ratio) - math.log(1 + LOSS))


def _searched(
    trial: _Trial,
    start: Network,
    seed: int,
    search: SearchSettings,
    *,
    expired: Callable[[], bool],
) -> tuple[Network, float]:
    """Search on from the champion; return the best network and its cost."""
    best, least = start, trial.cost(start)
    distribution = CrossEntropy(start, search)
    idle = 0
    while idle < PATIENCE:
        rng = np.random.default_rng((seed, len(distribution.rounds)))
        costs = trial.costs(distribution.ask(rng), trial.drawn(rng), expired)
        if costs is None:
            break
        distribution.tell(costs)
        if len(distribution.rounds) % LOOK_EVERY:
            continue
        idle += 1
        # The whole way may be too far for what ships.
        for share in LOOKED_AT:
            network = on_the_way(start, distribution.network, share)
            found = trial.cost(network)
            if found < least:
                best, least, idle = network, found, 0
    return best, least


def on_the_way(start: Network, end: Network, share: float) -> Network:
    """Return what lies between two networks that differ in what is searched for alone."""
    way = np.float32(share)
    return start._replace(
        skip=start.skip + way * (end.skip - start.skip), w3=start.w3 + way * (end.w3 - start.w3)
    )


def _margin() -> float:
    # Torch is there already, by the fit.
    from dask_mlsched.learning.trainer import MARGIN

    return MARGIN


def comparable(champion: Network, made: Network) -> bool:
    """Tell whether there is a way between two networks: their hidden layers are the same."""
    return champion.w1.shape == made.w1.shape and all(
        np.array_equal(getattr(champion, name), getattr(made, name))
        for name in ("mean", "scale", "w1", "b1", "w2", "b2")
    )


def _fitted(
    start: Network, decisions: Decisions, seed: int, *, expired: Callable[[], bool]
) -> Network | None:
    """Fit to decisions, from a network on; None if there are too few, or time is up."""
    # Only here: it is what takes torch.
    from dask_mlsched.learning.fit import Epoch, fit
    from dask_mlsched.learning.hardware import use_one_thread
    from dask_mlsched.learning.labelled_rounds import evened
    from dask_mlsched.learning.training import TrainSettings

    def go_on(_: Epoch) -> None:
        if expired():
            raise OutOfTimeError

    if expired():
        return None
    use_one_thread()
    usual = TrainSettings().fit
    hidden = hidden_of(start)
    settings = replace(usual, seed=seed, hidden=hidden if any(hidden) else usual.hidden)
    newest = decisions.take(np.arange(len(decisions))[-MOST_DECISIONS:])
    try:
        return fit(evened(newest), settings, start=start, on_epoch=go_on).network
    except (OutOfTimeError, InvalidDecisionsError):
        return None
