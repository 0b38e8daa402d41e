"""Direct search for a linear score: the cross-entropy method over the weights `skip`.

Weights are drawn from a normal distribution, and the distribution is moved to those whose runs
cost least (Rubinstein 1999; de Boer et al. 2005, section 4). Nothing is learnt from single
decisions, so nothing has to be labelled, and whatever a run is judged by can be searched for. It
starts every training, and specialises a network to one DAG.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from dask_mlsched.core.network import Network

Weights = npt.NDArray[np.float64]


@dataclass(frozen=True)
class SearchSettings:
    """How wide and how long the search is."""

    #: Networks of one round, and those of them that the next round begins from.
    population: int = 32
    elites: int = 8
    rounds: int = 30
    #: Standard deviation of each weight at first, of the standardised features.
    sigma: float = 0.5
    #: It never gets smaller than this, so that a lucky round does not end the search.
    least_sigma: float = 0.03
    #: Share of the old distribution that stays in each round: against noise of the costs.
    inertia: float = 0.3

    def __post_init__(self) -> None:
        """Refuse what cannot be searched with."""
        if not 1 <= self.elites < self.population:
            msg = (
                f"elites is {self.elites} and population {self.population}; expected at least 1 "
                "elite, and fewer than the population"
            )
            raise ValueError(msg)


@dataclass(frozen=True)
class SearchRound:
    """How the search stands after a round."""

    #: From 1 on.
    number: int
    #: Costs of the best network of the round, of the elites, and of all.
    best: float
    elites: float
    mean: float


@dataclass(frozen=True)
class Found:
    """What a search came to."""

    network: Network
    cost: float
    rounds: tuple[SearchRound, ...]


class CrossEntropy:
    """The distribution: `ask` it for networks, `tell` it what they cost.

    Parameters
    ----------
    start
        What the search begins at; only its `skip` is changed.
    settings
        How.
    rng
        Draws the weights.
    """

    def __init__(self, start: Network, settings: SearchSettings, rng: np.random.Generator) -> None:
        self._start = start
        self._settings = settings
        self._rng = rng
        self.rounds: list[SearchRound] = []
        #: [F] mean and standard deviation of the weights.
        self.mean: Weights = start.skip.astype(np.float64)
        self.sigma: Weights = np.full(len(self.mean), settings.sigma)
        self._drawn: Weights = np.empty((0, len(self.mean)))

    @property
    def network(self) -> Network:
        """The middle of the distribution: of all networks, the one least owed to luck."""
        return self._with(self.mean)

    def ask(self) -> list[Network]:
        """Draw the networks of a round; the first one is the middle."""
        shape = (self._settings.population, len(self.mean))
        self._drawn = self.mean + self.sigma * self._rng.standard_normal(shape)
        self._drawn[0] = self.mean
        return [self._with(weights) for weights in self._drawn]

    def tell(self, costs: Sequence[float]) -> SearchRound:
        """Move the distribution, given the costs [P] of the networks that `ask` returned."""
        settings = self._settings
        known = np.asarray(costs, np.float64)
        # Stable, so that equal costs choose the same ones everywhere.
        order = np.argsort(known, kind="stable")
        elites = self._drawn[order[: settings.elites]]
        stays = settings.inertia
        self.sigma = stays * self.sigma + (1 - stays) * elites.std(0)
        self.sigma = np.maximum(self.sigma, settings.least_sigma)
        self.mean = stays * self.mean + (1 - stays) * elites.mean(0)
        made = SearchRound(
            len(self.rounds) + 1,
            float(known[order[0]]),
            float(known[order[: settings.elites]].mean()),
            float(known.mean()),
        )
        self.rounds.append(made)
        return made

    def _with(self, weights: Weights) -> Network:
        return self._start._replace(skip=weights.astype(np.float32))


def search(
    start: Network,
    cost: Callable[[Network], float],
    rng: np.random.Generator,
    settings: SearchSettings | None = None,
    *,
    expired: Callable[[], bool] = lambda: False,
) -> Found:
    """Search for the network that costs least, all judged by the same cost.

    Parameters
    ----------
    start
        What to begin at; the result is never worse.
    cost
        Of one network, such as `Instance.cost` of the DAG that is to be specialised to.
    rng
        The same one gives the same result, unless time ran out.
    settings
        How.
    expired
        Asked before each run; True ends the search with the best network so far.
    """
    settings = settings or SearchSettings()
    best, least = start, cost(start)
    distribution = CrossEntropy(start, settings, rng)
    for _ in range(settings.rounds):
        costs: list[float] = []
        for network in distribution.ask():
            if expired():
                return Found(best, least, tuple(distribution.rounds))
            costs.append(cost(network))
            if costs[-1] < least:
                best, least = network, costs[-1]
        distribution.tell(costs)
    return Found(best, least, tuple(distribution.rounds))
