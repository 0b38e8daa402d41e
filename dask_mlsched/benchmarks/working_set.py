"""How much memory a DAG needs so that no array ever has to move."""

from __future__ import annotations

import numpy as np

from dask_mlsched.benchmarks.dask_order import dask_order
from dask_mlsched.core.dag import Dag


def working_set(dag: Dag) -> int:
    """Return the most bytes that are alive at once when tasks run in Dask's order, one by one.

    With so much device memory stock Dask moves no array; a memory ratio above 1 says how many
    times less there is. Arrays without dependencies, given or made, are alive from the
    beginning: they are the data. An array is alive until its last reader is done, a wanted one to
    the end. It is counted when a task is done and what it read last is gone, so that a task that
    replaces one tile by the next needs no room for both.

    Examples
    --------
    >>> from dask_mlsched.benchmarks.families.pairs import pairs
    >>> working_set(pairs(n=75, tile_nbytes=1))
    150
    """
    left = np.diff(dag.reader_starts)
    alive = most = int(dag.nbytes[np.diff(dag.starts) == 0].sum())
    for task in np.argsort(dask_order(dag)).tolist():
        sources = dag.dependencies(task)
        if len(sources):
            alive += int(dag.nbytes[task])
        left[sources] -= 1
        done = sources[(left[sources] == 0) & ~dag.wanted[sources]]
        alive -= int(dag.nbytes[done].sum())
        most = max(most, alive)
    return most
