"""Direct search for a score: the cross-entropy method over the weights that it is linear in.

Weights are drawn from a normal distribution, and the distribution is moved to those whose runs
cost least (Rubinstein 1999; de Boer et al. 2005, section 4). Features go together, such as the
bytes that are missing and those that come in, so the distribution has a full covariance; it and
the length of the steps follow the path of the mean, as in CMA-ES (Hansen 2016, arXiv:1604.00772,
figure 6). With a variance for each weight alone, the search ended sooner and at worse networks.

Nothing is learnt from single decisions, so nothing has to be labelled, and whatever a run is
judged by can be searched for. It starts every training, and specialises a network to one DAG.
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
    population: int = 28
    elites: int = 14
    rounds: int = 40
    #: Standard deviation of each weight at first, of the standardised features.
    sigma: float = 0.4
    #: The step never gets longer than so many times that.
    widest: float = 2.5

    def __post_init__(self) -> None:
        """Refuse what cannot be searched with."""
        if not 2 <= self.elites < self.population:
            msg = (
                f"elites is {self.elites} and population {self.population}; expected at least 2 "
                "elites, and fewer than the population"
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
        What the search begins at. Changed are its `skip`, and, if it has hidden units, what they
        add to the preference, ``w3[:, 0]``: W weights together.
    settings
        How.
    spread
        [W] what the deviations of the settings are multiplied by; 1 by default.
    """

    def __init__(
        self, start: Network, settings: SearchSettings, spread: Weights | None = None
    ) -> None:
        self._start = start
        self._settings = settings
        mean = np.concatenate([start.skip, start.w3[:, 0]]).astype(np.float64)
        n = len(mean)
        self._spread = np.ones(n) if spread is None else spread
        self.rounds: list[SearchRound] = []
        #: [W] the middle; of what is drawn over `spread`: [W, W] covariance; [W] the path of the
        #: mean, and the same in steps without covariance; [] the length of a step.
        self.state: dict[str, Weights] = {
            "mean": mean,
            "covariance": np.eye(n),
            "path": np.zeros(n),
            "step_path": np.zeros(n),
            "step": np.array(settings.sigma),
        }
        weights = np.log(settings.elites + 0.5) - np.log(np.arange(1, settings.elites + 1))
        self._weights: Weights = weights / weights.sum()
        self._rates = _Rates.of(n, float(1 / np.square(self._weights).sum()))
        self._drawn: Weights = np.empty((0, n))

    @property
    def network(self) -> Network:
        """The middle of the distribution: of all networks, the one least owed to luck."""
        return self._with(self.state["mean"])

    def ask(self, rng: np.random.Generator) -> list[Network]:
        """Draw the networks of a round."""
        lengths, axes = self._axes()
        normal = rng.standard_normal((self._settings.population, len(lengths)))
        self._drawn = (normal * lengths) @ axes.T
        steps = self.state["step"] * self._drawn * self._spread
        return [self._with(self.state["mean"] + step) for step in steps]

    def tell(self, costs: Sequence[float]) -> SearchRound:
        """Move the distribution, given the costs [P] of the networks that `ask` returned."""
        settings, rates, state = self._settings, self._rates, self.state
        known = np.asarray(costs, np.float64)
        # Stable, so that equal costs choose the same ones everywhere.
        order = np.argsort(known, kind="stable")
        elites = self._drawn[order[: settings.elites]]
        move: Weights = self._weights @ elites
        lengths, axes = self._axes()
        state["mean"] = state["mean"] + state["step"] * move * self._spread
        straight = axes @ ((axes.T @ move) / lengths)
        state["step_path"] = (1 - rates.step_path) * state["step_path"] + np.sqrt(
            rates.step_path * (2 - rates.step_path) * rates.effective
        ) * straight
        # Against what a path of random steps would be long.
        length = float(np.linalg.norm(state["step_path"])) / rates.expected
        state["path"] = (1 - rates.path) * state["path"] + np.sqrt(
            rates.path * (2 - rates.path) * rates.effective
        ) * move * (length < 1.4 + 2 / (len(move) + 1))
        state["covariance"] = (
            (1 - rates.one - rates.many) * state["covariance"]
            + rates.one * np.outer(state["path"], state["path"])
            + rates.many * (elites.T * self._weights) @ elites
        )
        step = state["step"] * np.exp(rates.step_path / rates.damping * (length - 1))
        state["step"] = np.minimum(step, settings.widest * settings.sigma)
        made = SearchRound(
            len(self.rounds) + 1,
            float(known[order[0]]),
            float(known[order[: settings.elites]].mean()),
            float(known.mean()),
        )
        self.rounds.append(made)
        return made

    def _axes(self) -> tuple[Weights, Weights]:
        """Return [W] lengths and [W, W] directions of the axes of the covariance."""
        squares, axes = np.linalg.eigh(self.state["covariance"])
        return np.sqrt(np.maximum(squares, 1e-12)), axes

    def _with(self, weights: Weights) -> Network:
        features = len(self._start.skip)
        w3 = self._start.w3.copy()
        w3[:, 0] = weights[features:]
        return self._start._replace(skip=weights[:features].astype(np.float32), w3=w3)


@dataclass(frozen=True)
class _Rates:
    """How fast the parts of the distribution change; the defaults of CMA-ES (its table 1)."""

    #: How many elites their weights are worth.
    effective: float
    path: float
    step_path: float
    one: float
    many: float
    damping: float
    #: The length of a vector of n normal numbers.
    expected: float

    @classmethod
    def of(cls, n: int, effective: float) -> _Rates:
        step_path = (effective + 2) / (n + effective + 5)
        one = 2 / ((n + 1.3) ** 2 + effective)
        many = min(1 - one, 2 * (effective - 2 + 1 / effective) / ((n + 2) ** 2 + effective))
        return cls(
            effective=effective,
            path=(4 + effective / n) / (n + 4 + 2 * effective / n),
            step_path=step_path,
            one=one,
            many=many,
            damping=1 + 2 * max(0.0, ((effective - 1) / (n + 1)) ** 0.5 - 1) + step_path,
            expected=n**0.5 * (1 - 1 / (4 * n) + 1 / (21 * n**2)),
        )


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
    distribution = CrossEntropy(start, settings)
    for _ in range(settings.rounds):
        costs: list[float] = []
        for network in distribution.ask(rng):
            if expired():
                return Found(best, least, tuple(distribution.rounds))
            costs.append(cost(network))
            if costs[-1] < least:
                best, least = network, costs[-1]
        distribution.tell(costs)
    return Found(best, least, tuple(distribution.rounds))
