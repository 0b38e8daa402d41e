"""Products of sparse matrices in tiles: ordinary ``dask.array`` code on real operators.

pyamg brings the matrices. ``A.dot(B)`` of ``dask.array`` makes one task for each tile of the
result, which reads a row of tiles of A and a column of tiles of B.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from types import ModuleType

import dask.array as da
import numpy as np
import scipy.sparse
from dask.typing import Key

from dask_mlsched.benchmarks.optional import require
from dask_mlsched.benchmarks.problem import Problem
from dask_mlsched.benchmarks.tiles import (
    Matrix,
    assemble_sparse,
    close,
    even_sizes,
    sparse_array,
    tiles_nbytes,
)

_PURPOSE = "a workload that takes its matrices from it"


def helmholtz(directory: Path, seed: int, *, tiles: int, power: int) -> Problem:
    """Build the power of pyamg's ``helmholtz_2D`` by repeated squaring.

    A complex matrix of 2,880 rows from a real finite-element mesh, small but with an irregular
    pattern that fills in from square to square.

    Parameters
    ----------
    directory
        Where the tiles' files go.
    seed
        Unused: the matrix is given.
    tiles
        Tiles a side.
    power
        2, 4 or 8: A, then A·A, then that times itself, and so on.
    """
    gallery = require("pyamg.gallery", _PURPOSE)
    operator = scipy.sparse.csr_matrix(gallery.load_example("helmholtz_2D")["A"])
    sizes = even_sizes(operator.shape[0], tiles)
    result = sparse_array(operator, sizes, sizes, directory, "A")
    reference = operator
    working_set = tiles_nbytes(operator, tiles, tiles)
    for _ in range(power.bit_length() - 1):
        result = _dot(result, result)
        reference = reference @ reference
        working_set += tiles_nbytes(reference, tiles, tiles)
    return Problem(
        workload="helmholtz",
        parameters={"tiles": tiles, "power": power, "rows": operator.shape[0]},
        seed=seed,
        collections=(result,),
        working_set=working_set,
        memory_ratio=6.0,
        bandwidth=10e6,
        check=_against(result, reference),
    )


def galerkin(directory: Path, seed: int, *, grid: int, tiles: int, coarse_tiles: int) -> Problem:
    """Build the coarse operator R·A·P of a multigrid method for linear elasticity.

    A is the stiffness matrix of a plate, P and R are those of smoothed aggregation.

    Parameters
    ----------
    directory
        Where the tiles' files go.
    seed
        Of the random vectors from which pyamg estimates a spectral radius.
    grid
        Points a side; A has ``2 * grid**2`` rows.
    tiles, coarse_tiles
        Tiles a side of the fine level, and of the coarse one.
    """
    restriction, operator, prolongation = (
        scipy.sparse.csr_matrix(m) for m in _two_levels(grid, seed)
    )
    fine, coarse = prolongation.shape
    rows, columns = even_sizes(fine, tiles), even_sizes(coarse, coarse_tiles)
    r = sparse_array(restriction, columns, rows, directory, "R")
    a = sparse_array(operator, rows, rows, directory, "A")
    p = sparse_array(prolongation, rows, columns, directory, "P")
    result = _dot(r, _dot(a, p))
    intermediate = operator @ prolongation
    reference = restriction @ intermediate
    return Problem(
        workload="galerkin",
        parameters={"grid": grid, "tiles": tiles, "coarse_tiles": coarse_tiles, "rows": fine},
        seed=seed,
        collections=(result,),
        working_set=tiles_nbytes(restriction, coarse_tiles, tiles)
        + tiles_nbytes(operator, tiles, tiles)
        + tiles_nbytes(prolongation, tiles, coarse_tiles)
        + tiles_nbytes(intermediate, tiles, coarse_tiles)
        + tiles_nbytes(reference, coarse_tiles, coarse_tiles),
        memory_ratio=3.0,
        bandwidth=20e6,
        check=_against(result, reference),
    )


def _dot(left: da.Array, right: da.Array) -> da.Array:
    with warnings.catch_warnings():
        # dask.array warns that the result has more chunks than the operands: it is meant to.
        warnings.simplefilter("ignore", da.PerformanceWarning)
        product: da.Array = left.dot(right)
    return product


@cache
def _two_levels(grid: int, seed: int) -> tuple[Matrix, Matrix, Matrix]:
    pyamg = require("pyamg", _PURPOSE)
    # pyamg estimates spectral radii from random vectors, and knows only numpy's global generator.
    state = np.random.get_state()  # noqa: NPY002
    np.random.seed(seed)  # noqa: NPY002
    try:
        return _smoothed_aggregation(pyamg, grid)
    finally:
        np.random.set_state(state)  # noqa: NPY002


def _smoothed_aggregation(pyamg: ModuleType, grid: int) -> tuple[Matrix, Matrix, Matrix]:
    operator, modes = pyamg.gallery.linear_elasticity((grid, grid), format="bsr")
    solver = pyamg.smoothed_aggregation_solver(operator, B=modes, max_levels=2, max_coarse=10)
    finest = solver.levels[0]
    return finest.R, finest.A, finest.P


def _against(array: da.Array, reference: Matrix) -> Callable[[Mapping[Key, Matrix]], bool]:
    def check(results: Mapping[Key, Matrix]) -> bool:
        return close(assemble_sparse(array, results), reference)

    return check
