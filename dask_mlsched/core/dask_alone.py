"""What Dask comes to without us, simulated."""

from __future__ import annotations

from dataclasses import replace

from dask_mlsched.core.chooser import Settings
from dask_mlsched.core.dag import Dag, Integers
from dask_mlsched.core.machine import Machine
from dask_mlsched.core.simulator import SimulatedRun, simulate


def dask_alone(dag: Dag, order: Integers, machine: Machine, settings: Settings) -> SimulatedRun:
    """Simulate Dask alone, on a machine that may be able to do more.

    What Dask sends itself brings no hints, so nothing is loaded ahead for it.

    Raises
    ------
    dask_mlsched.core.machine.SimulationError
        If a task does not fit.
    """
    alone = replace(machine, overlap=False)
    return simulate(dag, alone, None, order=order, settings=settings, stock=True)
