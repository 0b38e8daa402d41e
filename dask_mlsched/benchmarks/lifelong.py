"""A life with models, simulated: a stream of runs over families, and who serves them.

Each arrival is a DAG of a family, with its own size and seed, on a device that is too small. What a
run takes is simulated, with some scatter. The library is the real one, on disk; graphs are told
apart by their fingerprints alone. The same stream is served in other ways to compare with: Dask
alone, one generalist that was trained once, and one model for each program that is never shared.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from dask_mlsched.benchmarks.dask_order import dask_order
from dask_mlsched.benchmarks.problem import Parameter
from dask_mlsched.benchmarks.working_set import working_set
from dask_mlsched.benchmarks.workloads import find
from dask_mlsched.core.chooser import Settings
from dask_mlsched.core.costs import CopyCost, Costs
from dask_mlsched.core.dag import Dag
from dask_mlsched.core.machine import Machine, needed_bytes
from dask_mlsched.learning.instance import TRANSFERS, Instance
from dask_mlsched.learning.operations import Outcome

#: Scatter of what a run takes: the deviation of its logarithm.
SCATTER: Final = 0.02


@dataclass(frozen=True, eq=False)
class Arrival:
    """A run that is to come."""

    #: What it is, which nobody is told: graphs are told apart by their fingerprints.
    workload: str
    instance: Instance
    #: Which part of the stream it belongs to.
    phase: str


@dataclass(frozen=True)
class Played:
    """What became of a run."""

    phase: str
    workload: str
    model: str
    why: str
    #: Makespan over that of Dask alone.
    makespan: float
    #: What happened to models before the next run.
    happened: tuple[Outcome, ...] = ()


def arrival(
    workload: str,
    seed: int,
    phase: str,
    parameters: Mapping[str, Parameter],
    folder: Path,
    memory_ratio: float = 2.5,
) -> Arrival:
    """Make a run: its DAG in Dask's order, on one worker whose memory is too small.

    Raises
    ------
    dask_mlsched.learning.instance.InstanceError
        If nothing can be won there.
    """
    made = find(workload).dag(folder, seed, "full", **parameters)
    order = np.argsort(dask_order(made))
    tasks = list(made.tasks())
    dag = Dag.build(workload, [tasks[place] for place in order])
    limit = max(int(needed_bytes(dag).max()), round(working_set(dag) / memory_ratio))
    return Arrival(workload, _on_slow_copies(workload, dag, limit), phase)


def _on_slow_copies(workload: str, dag: Dag, limit: int) -> Instance:
    """Choose the bandwidth as for training: copies take four times as long as computing."""
    seconds = float(dag.seconds.sum())
    bandwidth = float(dag.nbytes.sum()) / seconds
    for _ in range(2):
        copy = CopyCost(bandwidth)
        machine = Machine(limit, costs=Costs(copy, copy, copy))
        settings = Settings(bandwidth=bandwidth, network_bandwidth=bandwidth)
        instance = Instance.recorded(f"run of {workload}", workload, dag, machine, settings)
        bandwidth = instance.stock_bytes / (TRANSFERS * seconds)
    return instance
