"""The workloads by name, with their sizes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import dask.array as da
import numpy as np
from dask.typing import Key
from dask.utils import key_split

from dask_mlsched.benchmarks import array_programs
from dask_mlsched.benchmarks.block_products import block_sparse, gemm
from dask_mlsched.benchmarks.families import products
from dask_mlsched.benchmarks.families.contractions import tensordot_chain
from dask_mlsched.benchmarks.families.factorizations import cholesky, lu, qr
from dask_mlsched.benchmarks.families.matrices import gallery_square
from dask_mlsched.benchmarks.families.matvec import gallery_matvec, matvec
from dask_mlsched.benchmarks.families.pairs import pairs
from dask_mlsched.benchmarks.families.reductions import tree_reduction
from dask_mlsched.benchmarks.families.stencils import stencil
from dask_mlsched.benchmarks.problem import Parameter, Problem
from dask_mlsched.benchmarks.sparse_products import galerkin, helmholtz
from dask_mlsched.benchmarks.tiles import Matrix
from dask_mlsched.benchmarks.workload import Scale, Workload, measured, of_family, of_program
from dask_mlsched.core.dag import Dag, DagTask

__all__ = ["DEMO", "WORKLOADS", "Scale", "Workload", "find", "noop"]

#: Operations per second of one core: live tasks then take as long as their arithmetic would.
_CORE = 2e10
_DENSE: Mapping[str, Parameter] = {"size": 256, "flop_rate": _CORE, "given": True}
_SMALL: Mapping[str, Parameter] = {"size": 32}


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


def _noop_dag(directory: Path, seed: int, *, tasks: int) -> Dag:
    keys = noop(directory, seed, tasks=tasks).keys()
    return Dag.build("noop", (DagTask(str(key), (), 0, 0.0, key_split(key)) for key in keys))


def _block_sparse_dag(_directory: Path, seed: int, **parameters: Parameter) -> Dag:
    return products.block_sparse(seed, **parameters)  # type: ignore[arg-type]  # by their names


def _gemm_dag(_directory: Path, seed: int, **parameters: Parameter) -> Dag:
    return products.gemm(seed, **parameters)  # type: ignore[arg-type]  # by their names


#: Programs that compute what they say; those of the demo are among them.
_PROGRAMS = (
    Workload(
        "helmholtz",
        "power of pyamg's helmholtz_2D, sparse tiles",
        helmholtz,
        measured(helmholtz),
        full={"tiles": 12, "power": 4},
        quick={"tiles": 6},
        simulated={"rate": 1e9},
    ),
    Workload(
        "galerkin",
        "multigrid product R·A·P for elasticity, sparse tiles",
        galerkin,
        measured(galerkin),
        full={"grid": 160, "tiles": 12, "coarse_tiles": 6},
        quick={"grid": 40, "tiles": 6, "coarse_tiles": 4},
        simulated={"rate": 1e9},
    ),
    Workload(
        "block-sparse",
        "block-sparse product accumulated along k, after TTG",
        block_sparse,
        _block_sparse_dag,
        full={"tiles": 20, "smallest": 96, "largest": 256, "density": 0.3},
        quick={"tiles": 8},
        simulated={"flop_rate": _CORE, "given": False},
    ),
    Workload(
        "gemm",
        "dense product in tiles, accumulated along k",
        gemm,
        _gemm_dag,
        full={"tiles": 10, "size": 256},
        quick={"tiles": 5, "size": 64},
        simulated={"flop_rate": _CORE, "given": False},
    ),
    Workload(
        "noop",
        "tasks that do nothing",
        noop,
        _noop_dag,
        full={"tasks": 20_000},
        quick={"tasks": 1_000},
    ),
)

_PAIRS: Mapping[str, Parameter] = {
    "n": 40,
    "density": 1.0,
    "shuffled": False,
    "tile_nbytes": 500_000,
    "result_nbytes": 0,
    "seconds": 1e-3,
    "given": True,
}
_FEW_PAIRS: Mapping[str, Parameter] = {"n": 8, "tile_nbytes": 20_000, "seconds": 1e-4}

#: DAGs of known algorithms; live, their tasks do as much work as the algorithm would.
_FAMILIES = (
    of_family("2d", "independent tasks A_i·B_j, row by row", pairs, _PAIRS, _FEW_PAIRS),
    of_family(
        "2d-shuffled",
        "independent tasks A_i·B_j in a random order",
        pairs,
        {**_PAIRS, "shuffled": True},
        _FEW_PAIRS,
    ),
    of_family(
        "2d-sparse",
        "2 % of the tasks A_i·B_j",
        pairs,
        {**_PAIRS, "n": 200, "density": 0.02},
        {**_FEW_PAIRS, "n": 40},
    ),
    of_family(
        "block-sparse-tree",
        "block-sparse product, summed as a tree",
        products.block_sparse,
        {
            "tiles": 20,
            "smallest": 96,
            "largest": 256,
            "density": 0.3,
            "accumulation": "tree",
            "width": 4,
            "flop_rate": _CORE,
            "given": True,
        },
        {"tiles": 6, "smallest": 8, "largest": 32},
    ),
    of_family(
        "gemm-tree",
        "dense product in tiles, summed as a tree",
        products.gemm,
        {"tiles": 10, "accumulation": "tree", "width": 4, **_DENSE},
        {"tiles": 4, **_SMALL},
    ),
    of_family(
        "gallery",
        "square of a matrix of pyamg's gallery, sparse tiles along k",
        gallery_square,
        {"matrix": "helmholtz_2D", "tiles": 12, "flop_rate": 1e9, "given": True},
        {"matrix": "bar", "tiles": 4},
    ),
    of_family(
        "gallery-matvec",
        "iterated product of a matrix of pyamg's gallery and a vector",
        gallery_matvec,
        {
            "matrix": "helmholtz_2D",
            "tiles": 12,
            "iterations": 20,
            "flop_rate": 1e9,
            "given": True,
        },
        {"matrix": "bar", "tiles": 4, "iterations": 3},
    ),
    of_family(
        "matvec",
        "iterated product of a random sparse matrix and a vector",
        matvec,
        {
            "tiles": 12,
            "size": 1024,
            "density": 0.3,
            "fill": 0.05,
            "iterations": 10,
            "flop_rate": 1e9,
            "given": True,
        },
        {"tiles": 4, "size": 64, "iterations": 3},
    ),
    of_family(
        "cholesky", "tiled Cholesky", cholesky, {"tiles": 16, **_DENSE}, {"tiles": 5, **_SMALL}
    ),
    of_family("lu", "tiled LU, no pivoting", lu, {"tiles": 12, **_DENSE}, {"tiles": 4, **_SMALL}),
    of_family(
        "qr",
        "tiled QR with flat trees",
        qr,
        {"rows": 10, "columns": 10, "inner": 32, **_DENSE},
        {"rows": 5, "columns": 3, "inner": 8, **_SMALL},
    ),
    of_family(
        "tensordot",
        "chain of tensor contractions",
        tensordot_chain,
        {"length": 3, "tiles": 6, "width": 4, **_DENSE},
        {"length": 2, "tiles": 3, **_SMALL},
    ),
    of_family(
        "stencil",
        "iterated stencil on a grid of tiles",
        stencil,
        {
            "rows": 10,
            "columns": 10,
            "steps": 10,
            "points": 5,
            "periodic": False,
            "flops_per_point": 10.0,
            **_DENSE,
        },
        {"rows": 4, "columns": 4, "steps": 3, **_SMALL},
    ),
    of_family(
        "reduction",
        "reductions of the same data, as trees",
        tree_reduction,
        {
            "leaves": 256,
            "width": 4,
            "tile_nbytes": 500_000,
            "partial_nbytes": 500_000,
            "trees": 2,
            "flop_rate": 1e9,
            "given": True,
        },
        {"leaves": 20, "tile_nbytes": 20_000, "partial_nbytes": 20_000},
    ),
)

#: Programs of dask.array, whose graphs are Dask's own.
_ARRAYS = (
    of_program(
        "array-matmul",
        "dask.array: A @ B",
        array_programs.matmul,
        {"tiles": 8, "size": 128},
        {"tiles": 3, "size": 32},
    ),
    of_program(
        "array-tensordot",
        "dask.array: two tensor contractions",
        array_programs.tensordot,
        {"tiles": 5, "size": 32},
        {"tiles": 2, "size": 8},
    ),
    of_program(
        "array-cholesky",
        "dask.array: linalg.cholesky",
        array_programs.cholesky,
        {"tiles": 10, "size": 128},
        {"tiles": 3, "size": 32},
    ),
    of_program(
        "array-qr",
        "dask.array: linalg.qr, tall and skinny",
        array_programs.qr_tall,
        {"tiles": 100, "size": 1000, "columns": 32},
        {"tiles": 6, "size": 40, "columns": 8},
    ),
    of_program(
        "array-sfqr",
        "dask.array: linalg.sfqr, short and fat",
        array_programs.qr_short,
        {"tiles": 100, "size": 1000, "rows": 32},
        {"tiles": 6, "size": 40, "rows": 8},
    ),
    of_program(
        "array-svd",
        "dask.array: linalg.svd, tall and skinny",
        array_programs.svd,
        {"tiles": 100, "size": 1000, "columns": 32},
        {"tiles": 6, "size": 40, "columns": 8},
    ),
    of_program(
        "array-overlap",
        "dask.array: map_overlap, repeated",
        array_programs.overlap,
        {"tiles": 8, "size": 256, "steps": 4},
        {"tiles": 3, "size": 32, "steps": 2},
    ),
    of_program(
        "array-reduction",
        "dask.array: standardized by mean and deviation",
        array_programs.reduction,
        {"tiles": 100, "size": 256, "width": 4},
        {"tiles": 8, "size": 32, "width": 2},
    ),
)

WORKLOADS: Mapping[str, Workload] = {
    workload.name: workload for workload in (*_PROGRAMS, *_FAMILIES, *_ARRAYS)
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
