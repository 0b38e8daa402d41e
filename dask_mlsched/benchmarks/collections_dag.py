"""The DAG of a dask collection: the graph that a cluster would run, with measured sizes.

Chunk shapes and dtypes tell the bytes of some arrays, but not those of sparse chunks, tuples or
pieces between two collections. So the graph is run, once, and every result is measured.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
from dask.base import collections_to_expr
from dask.callbacks import Callback
from dask.core import flatten
from dask.local import get_sync
from dask.sizeof import sizeof
from dask.typing import Key
from dask.utils import key_split

from dask_mlsched.benchmarks.dask_order import dask_order
from dask_mlsched.benchmarks.problem import Collection
from dask_mlsched.core.dag import Dag, DagTask

_NUMBER = re.compile(r"(\d+)")


def dag_of(
    collections: Iterable[Collection], *, name: str = "collections", rate: float | None = None
) -> Dag:
    """Return the DAG that `Client.persist` would run for some collections.

    The graph is optimized as there, and computed here, one task after the other: as long and as
    much memory as that takes. Keys are Dask's, as strings; prefixes are Dask's, too. The
    collections' own keys are wanted.

    Parameters
    ----------
    collections
        Arrays, Delayed objects, data frames, …; they are taken together.
    name
        Of the DAG.
    rate
        Bytes per second. A task then computes for the time that it takes to read its inputs and
        write its array at this rate, the same on every machine. None: for as long as it took
        here.

    Raises
    ------
    ValueError
        If there are no collections, or the rate is not above 0.
    Exception
        Whatever a task raises.

    Examples
    --------
    >>> import dask.array as da
    >>> dag = dag_of([da.ones((4, 4), chunks=(2, 4)).sum(axis=0)])
    >>> sorted(dag.nbytes.tolist())
    [32, 32, 32]
    """
    chosen = list(collections)
    if not chosen:
        msg = "no collections were given; expected one at least"
        raise ValueError(msg)
    if rate is not None and not rate > 0:
        msg = f"rate is {rate!r}; expected bytes per second above 0, or None to measure"
        raise ValueError(msg)
    # The same steps as Client.persist; the scheduler then asks for the graph.
    expression = collections_to_expr(chosen).optimize()
    wanted = set(flatten(expression.__dask_keys__()))
    measured = _Measured()
    with measured:
        get_sync(expression.__dask_graph__(), list(wanted))
    return _in_dasks_order(Dag.build(name, _tasks(measured, wanted, rate)))


class _Measured(Callback):
    """Watches a graph run: what each task reads, how large its result is, how long it took."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # Dask's have no types
        self.dependencies: dict[Key, frozenset[Key]] = {}
        self.nbytes: dict[Key, int] = {}
        self.seconds: dict[Key, float] = {}
        self._began: dict[Key, float] = {}

    def _start_state(self, dsk: Mapping[Key, Any], state: Mapping[str, Any]) -> None:
        self.dependencies = {key: node.dependencies for key, node in dsk.items()}
        # Values that stand in the graph itself: a cluster runs a task for each of them.
        for key, value in state["cache"].items():
            self.nbytes[key] = sizeof(value)
            self.seconds[key] = 0.0

    def _pretask(self, key: Key, dsk: object, state: object) -> None:
        self._began[key] = time.perf_counter()

    def _posttask(self, key: Key, result: object, dsk: object, state: object, _id: object) -> None:
        self.seconds[key] = time.perf_counter() - self._began.pop(key)
        self.nbytes[key] = sizeof(result)


def _tasks(measured: _Measured, wanted: set[Key], rate: float | None) -> Iterator[DagTask]:
    nbytes = measured.nbytes
    # By their names: where Dask leaves a choice, the order in which tasks ran, and that of a set,
    # differ from process to process.
    for key in sorted(nbytes, key=_natural):
        inputs = sorted(measured.dependencies[key], key=_natural)
        moved = nbytes[key] + sum(nbytes[each] for each in inputs)
        yield DagTask(
            str(key),
            tuple(str(each) for each in inputs),
            nbytes[key],
            measured.seconds[key] if rate is None else moved / rate,
            key_split(key),
            key in wanted,
        )


def _natural(key: Key) -> list[str | int]:
    """Return what keys are sorted by so that 10 stands after 9: their texts and numbers in turn."""
    parts = _NUMBER.split(str(key))
    return [int(part) if place % 2 else part for place, part in enumerate(parts)]


def _in_dasks_order(dag: Dag) -> Dag:
    tasks = list(dag.tasks())
    return Dag.build(dag.name, [tasks[task] for task in np.argsort(dask_order(dag)).tolist()])
