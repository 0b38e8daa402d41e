"""The cluster that a simulation plays, and what cannot run on it."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from dask_mlsched.core.costs import Costs
from dask_mlsched.core.dag import Dag, Integers


class SimulationError(ValueError):
    """A simulation that cannot be run: one line with the value, what was expected, the cure."""


@dataclass(frozen=True, slots=True)
class Machine:
    """The cluster that a simulation plays."""

    #: Bytes of each worker's fast tier, and of its slow tier; None without limit.
    limit: int | None
    slow_limit: int | None = None
    workers: int = 1
    #: Of each worker.
    threads: int = 1
    costs: Costs = field(default_factory=Costs)
    #: See `SimulatedWorker`.
    keep_clean: bool = False
    overlap: bool = False

    def __post_init__(self) -> None:
        """Refuse what no cluster has."""
        for name in ("limit", "slow_limit", "workers", "threads"):
            value = getattr(self, name)
            if value is not None and value < 1:
                msg = f"{name} is {value!r}; expected at least 1"
                raise SimulationError(msg)


def needed_bytes(dag: Dag) -> Integers:
    """Sum, for each task, the bytes of its inputs and its output: [n]."""
    inputs = np.concatenate([[0], np.cumsum(dag.nbytes[dag.sources])])
    needed: Integers = dag.nbytes + inputs[dag.starts[1:]] - inputs[dag.starts[:-1]]
    return needed


def check_fits(dag: Dag, limit: int | None) -> None:
    """Refuse a DAG with a task whose inputs and output are larger than the fast tier.

    Raises
    ------
    SimulationError
        Naming the task that needs most.
    """
    if limit is None or not len(dag):
        return
    needed = needed_bytes(dag)
    most = int(np.argmax(needed))
    if needed[most] > limit:
        msg = (
            f"task {dag.keys[most]!r} needs {needed[most]} bytes for its inputs and output, and "
            f"the device memory is {limit} bytes; give at least {needed[most]} bytes"
        )
        raise SimulationError(msg)
