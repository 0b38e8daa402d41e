"""Fits the policy to the DAG at hand: simulates the candidates, keeps the best, searches on.

The candidates are Dask alone, and networks for our own controller: one that leaves everything in
the order that it is shown, greedy with and without HOLD, and the generalist. Each is shown Dask's
order, and then orders that were planned for this DAG (`guides`). Since they share the generalist's
standardised features, the search may begin at any of them. That the best of all is kept is also
the guard against losing to Dask: what loses in the simulation is not used.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np

from dask_mlsched.core import features, guides
from dask_mlsched.core.chooser import Settings
from dask_mlsched.core.compiled.rollout import Rollout
from dask_mlsched.core.costs import bounds
from dask_mlsched.core.dag import Dag, Integers
from dask_mlsched.core.dask_alone import dask_alone
from dask_mlsched.core.graph_message import Arm, Objective
from dask_mlsched.core.machine import Machine
from dask_mlsched.core.network import Network
from dask_mlsched.learning.search import CrossEntropy, SearchSettings

#: With more tasks than this, Dask's order under our controller stands in for Dask alone: that
#: simulation is not compiled, and takes 100 microseconds a task.
STOCK_TASKS: Final = 5_000

#: For more tasks than this, nothing is packed: that is quadratic, and not compiled.
PACKED_TASKS: Final = 3_000

#: For more than this, no product is looked for.
PRODUCT_TASKS: Final = 20_000

#: By the order that is shown: followed as it is, and where greedy or the generalist is undecided.
_GUIDED: Final[Mapping[str, tuple[Arm, Arm, Arm]]] = {
    "packed": ("packed", "packed-greedy", "packed-generalist"),
    "cubes": ("cubes", "cubes-greedy", "cubes-generalist"),
    "rows": ("rows", "rows-greedy", "rows-generalist"),
    "columns": ("columns", "columns-greedy", "columns-generalist"),
}

#: Runs without a better network after which the search ends.
PATIENCE: Final = 120

#: Few to a round: there is time for a hundred runs or so.
SEARCH: Final = SearchSettings(population=12, elites=4, sigma=0.5)

#: What no run can be below is reached when a run is so near.
_NEAR: Final = 1e-6

#: About as many runs as the default budget has time for on an idle processor: 10 microseconds a
#: task each. A search of so many is the same on any machine.
RUNS: Final = 80


@dataclass(frozen=True, eq=False)
class Specialist:
    """The best for a DAG so far."""

    arm: Arm
    #: Of the controller's policy; for Dask alone, one that leaves everything in Dask's order.
    network: Network
    #: Whether the network may choose HOLD.
    may_hold: bool
    #: [n] the order that it is shown; None for Dask's.
    guide: Integers | None
    #: arm -> makespan in seconds and bytes moved, simulated. Without "stock" where that would have
    #: taken too long.
    foretold: dict[Arm, tuple[float, int]]
    #: Simulated runs so far.
    evaluations: int


def specialise(
    dag: Dag,
    machine: Machine,
    settings: Settings,
    order: Integers,
    start: Network,
    *,
    expired: Callable[[], bool],
    rng: np.random.Generator,
    objective: Objective = "makespan",
    on_candidates: Callable[[Specialist], None] | None = None,
) -> Specialist:
    """Find the policy for a DAG.

    The same generator and as many runs give the same result.

    Parameters
    ----------
    dag, machine, settings, order
        What is run, on what, how the controller is set, and [n] Dask's order.
    start
        The generalist.
    expired
        Asked before each run but those of the candidates; True ends the search.
    rng
        Draws networks.
    objective
        What is made small; the other decides between equals.
    on_candidates
        Called before the search: with the best candidate that is shown Dask's order, unless that
        is Dask alone; then with the best of all, if it is another.

    Returns
    -------
    Specialist
        In the simulation never worse than the best candidate.

    Raises
    ------
    dask_mlsched.core.machine.SimulationError
        If the DAG cannot be run on the machine.
    """
    trial = _Trial(dag, machine, settings, order, objective)
    tell = on_candidates or (lambda _best: None)
    trial.candidates(start)
    best, told = trial.best(), None
    # That Dask alone is best is not said too early: tasks that it was given do not come back.
    if best.arm != "stock" or trial.done(best):
        told = best.arm
        tell(best)
    if trial.done(best):
        return best
    trial.guided_candidates(start)
    best = trial.best()
    if best.arm != told:
        tell(best)
    return best if trial.done(best) else _search(trial, best, expired, rng)


def after(runs: int) -> Callable[[], bool]:
    """Make an `expired` that ends a search after so many runs."""
    left = iter(range(runs))
    return lambda: next(left, None) is None


def _search(
    trial: _Trial, best: Specialist, expired: Callable[[], bool], rng: np.random.Generator
) -> Specialist:
    """Search on from the best network, until nothing has become better for a while."""
    network, _, guide = trial.best_network()
    distribution = CrossEntropy(network, SEARCH)
    idle = 0
    while idle < PATIENCE:
        costs: list[float] = []
        # The first one drawn is the middle, which in the first round has been run.
        for network in distribution.ask(rng):
            if expired():
                return trial.best()
            costs.append(trial.run("searched", network, may_hold=True, guide=guide))
            idle += 1
            found = trial.best()
            if found.network is not best.network:
                best, idle = found, 0
                if trial.done(best):
                    return best
        distribution.tell(costs)
    return trial.best()


#: Greedy, as scores of missing bytes: what is made counts a little, too; or tasks without inputs
#: count as if they missed one array of fifty that fit.
_NEAREST: Final = {"missing": -1.0, "incoming": -0.1}
_ROOTS_LATE: Final = {"missing": -1.0, "root": -0.02}

#: What makes a run: a network, whether it may choose HOLD, and the order that it is shown.
_Maker: TypeAlias = tuple[Network, bool, Integers | None]


class _Trial:
    """Runs what there is to choose from, and remembers what it came to."""

    def __init__(
        self,
        dag: Dag,
        machine: Machine,
        settings: Settings,
        order: Integers,
        objective: Objective,
    ) -> None:
        self._run_on = dag, machine, settings, order
        self._objective = objective
        #: arm -> makespan and bytes moved, of the best run of each; what made it.
        self._foretold: dict[Arm, tuple[float, int]] = {}
        self._made_by: dict[Arm, _Maker] = {}
        self._evaluations = 0
        least = bounds(
            dag, machine.limit, machine.costs, workers=machine.workers, threads=machine.threads
        )
        self._least = least.makespan, least.bytes_moved

    def candidates(self, start: Network) -> None:
        """Run them; of equals, those that come first are kept."""
        dag, machine, settings, order = self._run_on
        in_order = linear(start)
        self.run("generalist", start, may_hold=True)
        self.run("order", in_order, may_hold=False)
        nothing_moves = self._foretold["order"][1] == 0
        if len(dag) <= STOCK_TASKS:
            stock = dask_alone(dag, order, machine, settings)
            moved = stock.bytes_loaded + stock.bytes_evicted
            self._note("stock", (stock.makespan, moved), (in_order, False, None))
            nothing_moves = moved == 0
        if not nothing_moves:
            self.run("greedy-hold", linear(start, **_NEAREST), may_hold=True)
            self.run("greedy", linear(start, **_ROOTS_LATE), may_hold=False)

    def guided_candidates(self, start: Network) -> None:
        """Run them once more, shown orders that were planned for this DAG."""
        dag, machine, _, order = self._run_on
        limit = math.inf if machine.limit is None else machine.limit
        planned: dict[str, Integers] = {}
        if len(dag) <= PACKED_TASKS:
            planned["packed"] = guides.packed(dag, order, limit)
        if len(dag) <= PRODUCT_TASKS:
            planned |= guides.of_product(dag, order, limit)
        in_order, nearest = linear(start), linear(start, **_NEAREST)
        for name, guide in planned.items():
            alone, greedy, generalist = _GUIDED[name]
            self.run(alone, in_order, may_hold=False, guide=guide)
            self.run(greedy, nearest, may_hold=True, guide=guide)
            self.run(generalist, start, may_hold=True, guide=guide)

    def run(
        self, arm: Arm, network: Network, *, may_hold: bool, guide: Integers | None = None
    ) -> float:
        """Run a network; return what it costs: seconds or bytes."""
        figures = Rollout(*self._run_on, network, may_hold=may_hold, guide=guide).run()
        came_to = figures.makespan, figures.bytes_moved
        self._note(arm, came_to, (network, may_hold, guide))
        return float(self._key(came_to)[0])

    def _note(self, arm: Arm, came_to: tuple[float, int], maker: _Maker) -> None:
        self._evaluations += 1
        before = self._foretold.get(arm)
        if before is None or self._key(came_to) < self._key(before):
            self._foretold[arm] = came_to
            self._made_by[arm] = maker

    def _key(self, came_to: tuple[float, int]) -> tuple[float, float]:
        makespan, moved = came_to
        return (makespan, moved) if self._objective == "makespan" else (moved, makespan)

    def best(self) -> Specialist:
        """Return the best of all."""
        arm = min(self._foretold, key=lambda name: self._key(self._foretold[name]))
        return Specialist(
            arm, *self._made_by[arm], foretold=dict(self._foretold), evaluations=self._evaluations
        )

    def best_network(self) -> _Maker:
        """Return what made the best run of a network, which Dask alone is none of."""
        arms = [arm for arm in self._foretold if arm != "stock"]
        return self._made_by[min(arms, key=lambda name: self._key(self._foretold[name]))]

    def done(self, best: Specialist) -> bool:
        """Tell whether a search could find nothing better."""
        stock = self._foretold.get("stock", self._foretold["order"])
        reached = self._key(best.foretold[best.arm])[0]
        least = self._key(self._least)[0]
        return stock[1] == 0 or reached <= least * (1 + _NEAR)


def linear(start: Network, **weights: float) -> Network:
    """Make a score of some features as they are, or of nothing, for a network's standardised ones.

    What it is standardised by stays, so that a search can go on from it.
    """
    skip, w3 = np.zeros_like(start.skip), start.w3.copy()
    for name, weight in weights.items():
        column = features.NAMES.index(name)
        skip[column] = weight * start.scale[column]
    w3[:, 0] = 0
    return start._replace(skip=skip, w3=w3)
