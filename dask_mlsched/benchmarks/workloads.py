"""The workloads by name, with their sizes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypeAlias

import dask.array as da
import numpy as np
from dask.typing import Key

from dask_mlsched.benchmarks.block_products import block_sparse, gemm
from dask_mlsched.benchmarks.problem import Parameter, Problem
from dask_mlsched.benchmarks.sparse_products import galerkin, helmholtz
from dask_mlsched.benchmarks.tiles import Matrix

#: ``full`` is what the demo measures; ``quick`` shows that everything works, in seconds.
Scale: TypeAlias = Literal["full", "quick"]


@dataclass(frozen=True)
class Workload:
    """How to build the instances of one family."""

    name: str
    #: For people, a few words.
    description: str
    #: Called with a directory for files, a seed and the parameters.
    builder: Callable[..., Problem]
    full: Mapping[str, Parameter]
    #: Where it differs from `full`.
    quick: Mapping[str, Parameter] = field(default_factory=dict)

    def build(
        self, directory: Path, seed: int = 0, scale: Scale = "full", **parameters: Parameter
    ) -> Problem:
        """Build an instance; `parameters` take the place of those of the scale.

        Building is not part of any measurement.

        Raises
        ------
        ValueError
            If a parameter is unknown.
        MissingDependencyError
            If the package that brings the matrices is not installed.
        """
        unknown = sorted(set(parameters) - set(self.full))
        if unknown:
            expected = ", ".join(self.full)
            msg = f"unknown parameter {unknown[0]!r} of workload {self.name!r}; give: {expected}"
            raise ValueError(msg)
        chosen = {**self.full, **(self.quick if scale == "quick" else {}), **parameters}
        return self.builder(directory, seed, **chosen)


def noop(_directory: Path, seed: int, *, tasks: int) -> Problem:
    """Build `tasks` independent tasks that do nothing: what scheduling itself costs."""
    result = da.map_blocks(_noop, chunks=((1,) * tasks,), dtype=float, meta=np.empty(0))

    def check(results: Mapping[Key, Matrix]) -> bool:
        return len(results) == tasks and all(value is None for value in results.values())

    return Problem(
        workload="noop",
        parameters={"tasks": tasks},
        seed=seed,
        collections=(result,),
        working_set=0,
        memory_ratio=1.0,
        bandwidth=1e9,
        check=check,
    )


def _noop() -> None:
    return None


WORKLOADS: Mapping[str, Workload] = {
    workload.name: workload
    for workload in (
        Workload(
            "helmholtz",
            "power of pyamg's helmholtz_2D, sparse tiles",
            helmholtz,
            full={"tiles": 12, "power": 4},
            quick={"tiles": 6},
        ),
        Workload(
            "galerkin",
            "multigrid product R·A·P for elasticity, sparse tiles",
            galerkin,
            full={"grid": 160, "tiles": 12, "coarse_tiles": 6},
            quick={"grid": 40, "tiles": 6, "coarse_tiles": 4},
        ),
        Workload(
            "block-sparse",
            "block-sparse product accumulated along k, after TTG",
            block_sparse,
            full={"tiles": 20, "smallest": 96, "largest": 256, "density": 0.3},
            quick={"tiles": 8},
        ),
        Workload(
            "gemm",
            "dense product in tiles, accumulated along k",
            gemm,
            full={"tiles": 10, "size": 256},
            quick={"tiles": 5, "size": 64},
        ),
        Workload(
            "noop",
            "tasks that do nothing",
            noop,
            full={"tasks": 20_000},
            quick={"tasks": 1_000},
        ),
    )
}

#: The main job.
DEMO: tuple[str, ...] = ("helmholtz", "galerkin", "block-sparse")


def find(name: str) -> Workload:
    """Look a workload up.

    Raises
    ------
    ValueError
        If there is none of that name.
    """
    if name not in WORKLOADS:
        msg = f"unknown workload {name!r}; expected one of {', '.join(WORKLOADS)}"
        raise ValueError(msg)
    return WORKLOADS[name]
