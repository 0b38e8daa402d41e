"""A training instance: one DAG on one machine, and what Dask alone comes to there.

The machine copies so slowly that under Dask alone copies take four times as long as computing.
There the makespan tells how many bytes move, and still punishes a worker that idles: with c the
share of the bytes that a policy moves and no idling, makespan over stock's is ``(1 + 4 c) / 5``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np

from dask_mlsched.core.chooser import Settings
from dask_mlsched.core.compiled.rollout import Figures, Rollout
from dask_mlsched.core.costs import CopyCost, Costs, bounds
from dask_mlsched.core.dag import Dag, Integers
from dask_mlsched.core.dask_alone import dask_alone
from dask_mlsched.core.machine import Machine
from dask_mlsched.core.network import Network
from dask_mlsched.core.simulator import SimulatedRun, simulate

#: Seconds of copies for each second of computing under Dask alone.
TRANSFERS: Final = 4.0

#: What a loss to Dask costs beside its own logarithm: being safe is worth more than being fast.
LOSS_WEIGHT: Final = 2.0


class InstanceError(ValueError):
    """A DAG that nothing can be learnt from: one line with the figure, expected, and the cure."""


@dataclass(frozen=True, eq=False)
class Instance:
    """One DAG on one machine; `measured` makes one."""

    name: str
    family: str
    dag: Dag
    #: [n] the place of each task in Dask's order.
    order: Integers
    machine: Machine
    settings: Settings
    #: Of Dask alone: seconds, and bytes loaded and evicted.
    stock_makespan: float
    stock_bytes: int

    @classmethod
    def measured(
        cls,
        name: str,
        family: str,
        dag: Dag,
        order: Integers,
        *,
        limit: int,
        workers: int = 1,
    ) -> Instance:
        """Choose the bandwidth, and simulate Dask alone.

        Raises
        ------
        InstanceError
            If Dask alone moves nothing, or the tasks take no time.
        dask_mlsched.core.machine.SimulationError
            If a task does not fit.
        """
        seconds = float(dag.seconds.sum()) / workers
        if not seconds > 0:
            msg = f"the tasks of {name} take {seconds:g} s; expected more than 0: give them times"
            raise InstanceError(msg)
        # With several workers the bytes depend on the bandwidth, but hardly.
        bandwidth = float(dag.nbytes.sum()) / workers / seconds
        machine, stock = _alone(dag, order, limit, workers, bandwidth)
        if not stock.bytes_loaded + stock.bytes_evicted:
            msg = (
                f"{name} moves no bytes under Dask alone with {limit} bytes of memory; "
                "expected some: give a larger memory ratio"
            )
            raise InstanceError(msg)
        bandwidth = (stock.bytes_loaded + stock.bytes_evicted) / workers / (TRANSFERS * seconds)
        machine, stock = _alone(dag, order, limit, workers, bandwidth)
        return cls(
            name=name,
            family=family,
            dag=dag,
            order=order,
            machine=machine,
            settings=Settings(bandwidth=bandwidth, network_bandwidth=bandwidth),
            stock_makespan=stock.makespan,
            stock_bytes=stock.bytes_loaded + stock.bytes_evicted,
        )

    @classmethod
    def recorded(
        cls, name: str, family: str, dag: Dag, machine: Machine, settings: Settings
    ) -> Instance:
        """Take a DAG and a machine as they were in a recorded run, and simulate Dask alone.

        Parameters
        ----------
        dag
            In Dask's order, as that of a trace is.

        Raises
        ------
        InstanceError
            If Dask alone moves no more than everybody has to, or takes no time.
        dask_mlsched.core.machine.SimulationError
            If a task does not fit.
        """
        order = np.arange(len(dag))
        stock = dask_alone(dag, order, machine, settings)
        moved = stock.bytes_loaded + stock.bytes_evicted
        least = bounds(
            dag, machine.limit, machine.costs, workers=machine.workers, threads=machine.threads
        )
        if moved <= least.bytes_moved or not stock.makespan > 0:
            msg = (
                f"{name} moves {moved} bytes in {stock.makespan:g} s under Dask alone, where "
                f"{least.bytes_moved} have to be moved; expected more: nothing can be won there"
            )
            raise InstanceError(msg)
        return cls(
            name=name,
            family=family,
            dag=dag,
            order=order,
            machine=machine,
            settings=settings,
            stock_makespan=stock.makespan,
            stock_bytes=moved,
        )

    def rollout(self, network: Network | None, *, may_hold: bool = True) -> Rollout:
        """Return a run under a network that has not begun; None for Dask's order."""
        return Rollout(
            self.dag, self.machine, self.settings, self.order, network, may_hold=may_hold
        )

    def run(self, network: Network | None, *, may_hold: bool = True) -> Outcome:
        """Run under a network, and compare with Dask alone; about 10 microseconds a task."""
        figures = self.rollout(network, may_hold=may_hold).run()
        return Outcome.of(figures, self)

    def cost(self, network: Network) -> float:
        """Return what training makes small; below 0 is better than Dask alone."""
        return self.run(network).cost


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run came to, over what Dask alone comes to."""

    #: Ratios to Dask alone.
    makespan: float
    bytes_moved: float
    holds: int

    @classmethod
    def of(cls, figures: Figures, instance: Instance) -> Outcome:
        """Compare a run with Dask alone."""
        return cls(
            figures.makespan / instance.stock_makespan,
            figures.bytes_moved / instance.stock_bytes,
            figures.holds,
        )

    @property
    def cost(self) -> float:
        """What the ratio of makespans costs; see `cost_of`."""
        return cost_of(self.makespan)


def cost_of(ratio: float) -> float:
    """Return the logarithm of a makespan's ratio, three times as much where it is a loss."""
    log = math.log(ratio)
    return log + LOSS_WEIGHT * max(0.0, log)


def _alone(
    dag: Dag, order: Integers, limit: int, workers: int, bandwidth: float
) -> tuple[Machine, SimulatedRun]:
    copy = CopyCost(bandwidth)
    machine = Machine(limit, workers=workers, costs=Costs(copy, copy, copy))
    return machine, simulate(dag, machine, None, order=order, stock=True)
