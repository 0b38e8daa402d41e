"""Orders of a whole DAG in which neighbours share memory, to show a network in place of Dask's.

Each comes from a plan made beforehand, as a baseline has it. A network that is guided by one may
follow it, or leave it where residency says otherwise.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from dask_mlsched.core.dag import Dag, Integers
from dask_mlsched.core.events import Priority
from dask_mlsched.core.planners.cubes import cubes, follow_sources
from dask_mlsched.core.planners.packages import pack
from dask_mlsched.core.planners.products import NotAProductError, Products, find_products


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


def of_product(dag: Dag, order: Integers, limit: float) -> dict[str, Integers]:
    """Put a block product into the orders that are usual for one.

    - ``cubes``: those that fit the device, one after the other: Herault's plan, see `cubes`;
    - ``rows`` and ``columns``: one row of the result after the other, or column: the whole of one
      operand is used again for each, and nothing of the other one stays.

    What sums products stands first, since it makes room; then the products of a cube, a row or a
    column before what makes their arrays.

    Parameters
    ----------
    order, limit
        As for `packed`.

    Returns
    -------
    dict
        name -> [n] the place of each task, those of given arrays first. Empty if it is no block
        product.
    """
    edges = _Edges.of(dag, order)
    tasks = [task for task in range(len(dag)) if not dag.given[task]]
    try:
        products = find_products(edges, tasks)
    except NotAProductError:
        return {}
    in_cube = cubes(products, dict(enumerate(dag.nbytes.tolist())), limit)
    groups: dict[str, Mapping[int, tuple[int, ...]]] = {
        "cubes": in_cube,
        "rows": {task: (i, j) for task, (i, j, _) in products.places.items()},
        "columns": {task: (j, i) for task, (i, j, _) in products.places.items()},
    }
    return {name: _in_groups(dag, order, edges, products, of) for name, of in groups.items()}


def _in_groups(
    dag: Dag,
    order: Integers,
    edges: _Edges,
    products: Products,
    group: Mapping[int, tuple[int, ...]],
) -> Integers:
    """Put one group of products after the other, and with each what is made for it first."""
    number = {each: at for at, each in enumerate(sorted(set(group.values())))}
    turn = {task: (number[each], 0) for task, each in group.items()}
    follow_sources(turn, products.sources, edges.dependents)

    def key(task: int) -> tuple[int, bool, int]:
        # Whatever is in no group sums products.
        return turn.get(task, (-1, 0))[0], task in products.sources, int(order[task])

    return _places(dag, sorted(np.flatnonzero(~dag.given).tolist(), key=key))


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
