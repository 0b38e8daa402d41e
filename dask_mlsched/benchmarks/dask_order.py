"""Dask's own order of a DAG: the priorities that its tasks would have on a cluster."""

from __future__ import annotations

from typing import Any

import numpy as np
from dask.order import order

from dask_mlsched.core.dag import Dag, Integers


class _Key(int):
    """A task's number that shows the task's key.

    Dask breaks ties by how keys look, and walks over sets of keys, so by their hashes. Those of
    texts change from process to process, those of integers do not: the order is always the same.
    """

    key: str

    def __str__(self) -> str:
        return self.key


def dask_order(dag: Dag) -> Integers:
    """Tell in which order Dask would run a DAG, one task after the other.

    Given arrays are data to Dask, as arrays are that have been computed before.

    Returns
    -------
    Integers
        [n] the place of each task, from 0. Tasks come after their dependencies.
    """
    keys = [_key(task, name) for task, name in enumerate(dag.keys)]
    starts = dag.starts.tolist()
    sources = [keys[source] for source in dag.sources.tolist()]
    # To Dask, a tuple that begins with a function is a task that reads the keys in it.
    graph: dict[Any, Any] = {
        key: None if given else (_compute, *sources[start:stop])
        for key, given, start, stop in zip(
            keys, dag.given.tolist(), starts[:-1], starts[1:], strict=True
        )
    }
    places = order(graph)
    return np.array([places[key] for key in keys], np.int64)


def _key(task: int, name: str) -> _Key:
    key = _Key(task)
    key.key = name
    return key


def _compute() -> None:
    """Stand for what tasks do; it is never called."""
