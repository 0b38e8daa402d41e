"""Run a benchmark's problem without a cluster."""

from __future__ import annotations

from typing import Any

import dask
from dask.typing import Key

from dask_mlsched.benchmarks.problem import Problem


def compute(problem: Problem, *, everything: bool = False) -> dict[Key, Any]:
    """Compute the results by key; `everything` computes the other arrays, too."""
    graph = {key: task for c in problem.collections for key, task in c.__dask_graph__().items()}
    keys = list(graph) if everything else problem.keys()
    return dict(zip(keys, dask.threaded.get(graph, keys), strict=True))
