"""A compiled run of one DAG, from Python: lay it out, let it run, read the figures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from dask_mlsched.core import features
from dask_mlsched.core.chooser import Settings
from dask_mlsched.core.compiled import engine
from dask_mlsched.core.compiled.layouts import (
    GREEDY,
    GREEDY_HOLD,
    LRU,
    LUF,
    NETWORK,
    NEXT_USE,
    ORDER,
)
from dask_mlsched.core.compiled.tables import FIXED, Tables, lay_out
from dask_mlsched.core.dag import Booleans, Dag, Floats, Integers
from dask_mlsched.core.machine import Machine, SimulationError
from dask_mlsched.core.network import Network, linear

#: Policies by their names, with the longest shortlist each asks for; None is Dask's order.
POLICIES: Final[dict[str | None, tuple[int, int]]] = {
    None: (ORDER, 1),
    "greedy": (GREEDY, 4),
    "greedy-hold": (GREEDY_HOLD, 4),
}

#: The longest shortlist that a network is asked about, HOLD and what is first in order apart.
LONGEST: Final = 28

#: Takes the network's place where there is none.
NO_NETWORK: Final = linear(np.zeros(features.COUNT))

EVICTIONS: Final = {"lru": LRU, "luf": LUF, "next-use": NEXT_USE}


@dataclass(frozen=True, slots=True)
class Figures:
    """What a run came to."""

    #: Seconds until the last task has ended.
    makespan: float
    bytes_loaded: int
    bytes_evicted: int
    #: Bytes that went from one worker to another.
    bytes_sent: int
    decisions: int
    holds: int
    hold_seconds: float

    @property
    def bytes_moved(self) -> int:
        """Bytes between the tiers, in both directions."""
        return self.bytes_loaded + self.bytes_evicted


@dataclass(frozen=True, slots=True)
class Decision:
    """A decision that a run waits for."""

    #: How many the policy was asked for before.
    number: int
    #: Seconds, and the worker with the free slot.
    time: float
    worker: int
    #: Tasks in Dask's order; action i is to run candidate i, their number is HOLD.
    candidates: tuple[int, ...]
    may_hold: bool
    #: [A, F] as `features` describes the actions.
    features: npt.NDArray[np.float32]
    #: What the policy would do.
    preferred: int


class Rollout:
    """One run of a DAG, as `simulator.simulate` has it.

    Parameters
    ----------
    dag, machine, settings
        What is run, on what, and how the controller is set.
    order
        [n] place of each task in Dask's order, no two the same.
    policy
        One of `POLICIES`, or a network, which scores what `features` tells of.
    guide
        [n] place of each task in the order that a network is shown, no two the same: it is what
        `features` calls Dask's order, which it is unless another one is given. Workers and
        evictions know Dask's alone.
    may_hold
        Whether a network may choose HOLD.
    rng
        Draws the noise on compute times; None for no noise.
    log
        Whether to note each load and eviction.

    Raises
    ------
    SimulationError
        If a task does not fit the machine.
    """

    #: The arrays by name; they are the run's own, and change as it goes on.
    arrays: dict[str, np.ndarray[Any, Any]]

    def __init__(
        self,
        dag: Dag,
        machine: Machine,
        settings: Settings,
        order: Integers,
        policy: str | Network | None = "greedy",
        *,
        guide: Integers | None = None,
        may_hold: bool = True,
        rng: np.random.Generator | None = None,
        log: bool = False,
    ) -> None:
        scored = isinstance(policy, Network)
        self.network = policy if isinstance(policy, Network) else NO_NETWORK
        number, shortlist = (NETWORK, LONGEST) if isinstance(policy, Network) else POLICIES[policy]
        noise = machine.costs.noise * rng.standard_normal(len(dag)) if rng is not None else 0.0
        seconds: Floats = dag.seconds * np.exp(noise)
        self.arrays = lay_out(
            dag,
            machine,
            settings,
            order,
            guide,
            policy=number,
            may_hold=scored and may_hold,
            eviction=EVICTIONS[settings.eviction],
            shortlist=shortlist,
            seconds=seconds,
            columns=features.COUNT,
            log=log,
        )
        self._machine = machine
        self._tables = Tables(self.arrays)
        features.measure_levels(self._tables)
        engine.begin(self._tables, _writable(dag.given))

    def run(self) -> Figures:
        """Run to the end.

        Raises
        ------
        SimulationError
            If the slow tier overflows.
        """
        self._advance(engine.NEVER)
        return self.figures()

    def until(self, number: int) -> Decision | None:
        """Run until the policy is asked for the decision with a number; None if it never is.

        Numbers count from 0, and those that have been answered are over.
        """
        if self._advance(number) == engine.DONE:
            return None
        clock, tables = self.arrays["clock"][0], self._tables
        own = engine.preferred(tables, self.network)
        candidates = int(clock["candidates"])
        actions = features.describe(tables, clock["at_worker"])
        return Decision(
            number=int(clock["asked"]),
            time=float(clock["now"]),
            worker=int(clock["at_worker"]),
            candidates=tuple(self.arrays["candidates"][:candidates].tolist()),
            may_hold=actions > candidates,
            features=self.arrays["features"][:actions].copy(),
            preferred=int(own),
        )

    def take(self, action: int) -> None:
        """Answer the decision that `until` has returned."""
        engine.take(self._tables, action)

    def copy(self, network: Network | None = None) -> Rollout:
        """Return another run that stands where this one does and goes on by itself.

        With a network, that decides from here on; what it may choose from stays as it is.
        """
        other = object.__new__(Rollout)
        other.arrays = {
            name: array if name in FIXED else array.copy() for name, array in self.arrays.items()
        }
        other.network, other._machine = self.network, self._machine
        if network is not None:
            other.network = network
            other.arrays["rules"] = self.arrays["rules"].copy()
            other.arrays["rules"]["policy"] = NETWORK
        other._tables = Tables(other.arrays)
        return other

    def _advance(self, stop: int) -> int:
        while (status := engine.advance(self._tables, self.network, stop)) == engine.CRAMPED:
            self._grow()
        if status == engine.OVERFLOWS:
            raise SimulationError(self._overflow())
        assert status != engine.STUCK, "every task ends: the controller sees to that"
        return status

    def _grow(self) -> None:
        for name in ("happenings", "log"):
            old = self.arrays[name]
            self.arrays[name] = np.concatenate([old, np.zeros_like(old)])
        self._tables = Tables(self.arrays)

    def _overflow(self) -> str:
        worker = -1 - int(self.arrays["clock"]["at_worker"][0])
        shelf = len(self.arrays["workers"]) + worker
        held = int(self.arrays["shelves"]["slow_bytes"][shelf])
        now = float(self.arrays["clock"]["now"][0])
        return (
            f"worker {worker} holds {held} bytes in its slow tier at {now:g} s, and its limit is "
            f"{self._machine.slow_limit}; give it more, or more workers"
        )

    def figures(self) -> Figures:
        """Return what the run has come to so far."""
        clock, workers = self.arrays["clock"][0], self.arrays["workers"]
        return Figures(
            makespan=float(clock["makespan"]),
            bytes_loaded=int(workers["bytes_loaded"].sum()),
            bytes_evicted=int(workers["bytes_evicted"].sum()),
            bytes_sent=int(clock["bytes_sent"]),
            decisions=int(clock["runs"] + clock["holds"]),
            holds=int(clock["holds"]),
            hold_seconds=float(clock["hold_seconds"]),
        )


def _writable(flags: Booleans) -> Booleans:
    return np.array(flags)
