"""Orders of a whole DAG in which neighbours share memory, to show a network in place of Dask's.

Each comes from a plan made beforehand, as a baseline has it. A network that is guided by one may
follow it, or leave it where residency says otherwise.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from dask_mlsched.core.dag import Dag, Integers
from dask_mlsched.core.events import Priority
from dask_mlsched.core.planners.cubes import cubes, follow_sources
from dask_mlsched.core.planners.packages import pack
from dask_mlsched.core.planners.products import NotAProductError, find_products


def packed(dag: Dag, order: Integers, limit: float) -> Integers:
    """Put tasks into packages that fit the device: hierarchical fair packing, see `packages`.

    Parameters
    ----------
    order
        [n] the place of each task in Dask's order.
    limit
        Bytes of the device's memory.

    Returns
    -------
    Integers
        [n] the place of each task, those of given arrays first.
    """
    reads = _rows(dag.starts, dag.sources)
    tasks = [task for task in np.argsort(order).tolist() if not dag.given[task]]
    arrays = {task: (*reads[task], task) for task in tasks}
    nbytes = dict(enumerate(dag.nbytes.tolist()))
    return _places(dag, pack(tasks, arrays, nbytes, limit))


def in_cubes(dag: Dag, order: Integers, limit: float) -> Integers | None:
    """Put a block product into cubes that fit the device: Herault's plan, see `cubes`.

    What sums products stands first, since it makes room; then the cubes, and in each the products
    before what makes their arrays.

    Parameters
    ----------
    order, limit
        As for `packed`.

    Returns
    -------
    Integers or None
        [n] the place of each task, those of given arrays first; None if it is no block product.
    """
    edges = _Edges.of(dag, order)
    tasks = [task for task in range(len(dag)) if not dag.given[task]]
    try:
        products = find_products(edges, tasks)
    except NotAProductError:
        return None
    in_cube = cubes(products, dict(enumerate(dag.nbytes.tolist())), limit)
    number = {cube: at for at, cube in enumerate(sorted(set(in_cube.values())))}
    turn = {task: (number[cube], 0) for task, cube in in_cube.items()}
    follow_sources(turn, products.sources, edges.dependents)

    def key(task: int) -> tuple[int, bool, int]:
        # Whatever is in no cube sums products.
        return turn.get(task, (-1, 0))[0], task in products.sources, int(order[task])

    return _places(dag, sorted(tasks, key=key))


@dataclass(frozen=True)
class _Edges:
    """A DAG as `find_products` looks at it."""

    dependencies: list[list[int]]
    dependents: list[list[int]]
    priority: list[Priority]

    @classmethod
    def of(cls, dag: Dag, order: Integers) -> _Edges:
        return cls(
            _rows(dag.starts, dag.sources),
            _rows(dag.reader_starts, dag.readers),
            [(place,) for place in order.tolist()],
        )


def _rows(starts: Integers, values: Integers) -> list[list[int]]:
    ends, every = starts.tolist(), values.tolist()
    return [every[start:stop] for start, stop in pairwise(ends)]


def _places(dag: Dag, tasks: list[int]) -> Integers:
    """Return [n] places, with what is given before all that is computed."""
    places = np.empty(len(dag), np.int64)
    places[np.concatenate([np.flatnonzero(dag.given), np.array(tasks, np.int64)])] = np.arange(
        len(dag)
    )
    return places
