"""How large a DAG is for a machine: what a fingerprint leaves out, sizes and times."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from dask_mlsched.core.compiled.jit import compiled
from dask_mlsched.core.dag import Booleans, Dag, Integers


@dataclass(frozen=True, slots=True)
class Scale:
    """A DAG on a machine, in figures without units; None is what is not known."""

    #: log2(working set / device memory): above 0 arrays have to move.
    memory: float | None
    #: Seconds of transfers over seconds of computing, if every task loaded all that it reads and
    #: nothing stayed on the device; with device memory for everything there are far fewer.
    transfer: float | None


def scale(
    dag: Dag,
    *,
    limit: int | None = None,
    bandwidth: float | None = None,
    order: Integers | None = None,
) -> Scale:
    """Compare a DAG with the device memory, and its transfers with its computing.

    Parameters
    ----------
    limit
        Bytes of device memory.
    bandwidth
        Bytes per second from the slow tier to the fast one.
    order
        [n] tasks in the order in which they would run without a device, dependencies first; the
        DAG's own otherwise.

    Returns
    -------
    Scale
        Without what needs a figure that is not given, or is 0.
    """
    memory = transfer = None
    if limit:
        needed = working_set(dag, order)
        memory = math.log2(needed / limit) if needed else None
    computing = float(dag.seconds.sum())
    if bandwidth and computing:
        transfer = float(dag.nbytes[dag.sources].sum()) / bandwidth / computing
    return Scale(memory, transfer)


def working_set(dag: Dag, order: Integers | None = None) -> int:
    """Return the most bytes that are alive at once when tasks run one by one.

    Data, which is what has no dependencies, are alive from the beginning, wanted arrays to the
    end, others until their last reader is done. An array is counted when its task is done and what
    that read last is gone.

    Parameters
    ----------
    order
        [n] tasks, dependencies first; the DAG's own otherwise.
    """
    if order is None:
        order = np.arange(len(dag))
    return int(_most_alive(dag.starts, dag.sources, dag.nbytes, dag.wanted, order))


@compiled
def _most_alive(
    starts: Integers, sources: Integers, nbytes: Integers, wanted: Booleans, order: Integers
) -> int:
    left = np.zeros(len(nbytes), np.int64)
    for source in sources:
        left[source] += 1
    alive = 0
    for task in range(len(nbytes)):
        if starts[task] == starts[task + 1]:
            alive += nbytes[task]
    most = alive
    for task in order:
        if starts[task] == starts[task + 1]:
            continue
        alive += nbytes[task]
        for edge in range(starts[task], starts[task + 1]):
            source = sources[edge]
            left[source] -= 1
            if left[source] == 0 and not wanted[source]:
                alive -= nbytes[source]
        most = max(most, alive)
    return most
