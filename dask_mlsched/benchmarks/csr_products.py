"""Block-sparse products whose tiles are sparse themselves, CSR of scipy or, on a GPU, of CuPy."""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse
from dask.typing import Key

from dask_mlsched.benchmarks.block_products import (
    BlockMatrix,
    Place,
    chains,
    product,
    random_block_matrix,
)
from dask_mlsched.benchmarks.device_arrays import HOST
from dask_mlsched.benchmarks.problem import Problem
from dask_mlsched.benchmarks.random_bits import random_bits
from dask_mlsched.benchmarks.tiles import Matrix, buffers, close, offsets


def csr_product(
    _directory: Path, seed: int, *, tiles: int, size: int, density: float, per_row: int
) -> Problem:
    """Build a product of two block-sparse matrices of CSR tiles, accumulated along k.

    Parameters
    ----------
    _directory
        Unused: tiles are computed where they are needed.
    seed
        Of the places of the tiles and of their entries.
    tiles, size
        Tiles a side, of all three matrices; rows and columns of a tile.
    density
        Share of the tiles of A and B that are there.
    per_row
        Entries in a row of such a tile.
    """
    sizes = (size,) * tiles
    rng = np.random.default_rng(seed)
    a, b = (
        random_block_matrix(label, sizes, sizes, density, (seed, number), rng)
        for number, label in enumerate("AB")
    )
    results = product(a, b, chains(a, b), csr_tile, per_row)
    left, right = _assembled(a, per_row), _assembled(b, per_row)
    reference = scipy.sparse.csr_matrix(left @ right)
    places = {result.key: place for place, result in results.items()}

    def check(computed: Mapping[Key, Matrix]) -> bool:
        found = {places[key]: tile for key, tile in computed.items()}
        return close(_bmat(found, sizes, sizes), reference)

    operands = (len(a.places) + len(b.places)) * (12 * size * per_row + 4 * (size + 1))
    return Problem(
        workload="csr-product",
        parameters={"tiles": tiles, "size": size, "density": density, "per_row": per_row},
        seed=seed,
        collections=tuple(results.values()),
        working_set=operands + _tiles_nbytes(reference, list(results), size),
        memory_ratio=3.0,
        bandwidth=20e6,
        check=check,
    )


def csr_tile(seed: Sequence[int], shape: tuple[int, int], per_row: int, library: str = HOST) -> Any:
    """Compute one tile: in each row one entry in each of `per_row` stretches of columns.

    The same, bit by bit, whichever library makes it.
    """
    rows, columns = shape
    arrays = importlib.import_module(library)
    stretch = columns // per_row
    bits = random_bits(seed, rows * per_row, library)
    places = (bits % np.uint64(stretch)).astype(np.int32).reshape(rows, per_row)
    places += arrays.arange(per_row, dtype=np.int32) * stretch
    entries = (bits >> np.uint64(11)).astype(np.float64)
    entries *= 2.0**-52
    entries -= 1.0
    starts = arrays.arange(0, rows * per_row + 1, per_row, dtype=np.int32)
    classes = importlib.import_module(
        "scipy.sparse" if library == HOST else f"{library}x.scipy.sparse"
    )
    return classes.csr_matrix((entries, places.reshape(-1), starts), shape=shape)


def _assembled(matrix: BlockMatrix, per_row: int) -> scipy.sparse.csr_matrix:
    tiles = {
        place: csr_tile((*matrix.seed, *place), matrix.shape(place), per_row)
        for place in matrix.places
    }
    return _bmat(tiles, matrix.rows, matrix.columns)


def _bmat(
    tiles: Mapping[Place, Matrix], rows: Sequence[int], columns: Sequence[int]
) -> scipy.sparse.csr_matrix:
    def tile(i: int, j: int) -> Matrix:
        empty = scipy.sparse.csr_matrix((rows[i], columns[j]))
        return tiles.get((i, j), empty)

    grid = [[tile(i, j) for j in range(len(columns))] for i in range(len(rows))]
    return scipy.sparse.bmat(grid, format="csr")


def _tiles_nbytes(matrix: scipy.sparse.csr_matrix, places: Sequence[Place], size: int) -> int:
    starts = offsets((size,) * (matrix.shape[0] // size))
    return sum(
        buffer.nbytes
        for i, j in places
        for buffer in buffers(matrix[starts[i] : starts[i + 1], starts[j] : starts[j + 1]].tocsr())
    )
