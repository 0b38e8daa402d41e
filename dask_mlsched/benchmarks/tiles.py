"""Matrices cut into tiles: as files that workers read, as dask arrays, and put together again."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import dask.array as da
import numpy as np
import numpy.typing as npt
import scipy.sparse
from dask.base import tokenize
from dask.typing import Key

#: A scipy.sparse matrix or a numpy array.
Matrix: TypeAlias = Any


def even_sizes(total: int, tiles: int) -> tuple[int, ...]:
    """Cut `total` rows into `tiles` parts that differ by at most one.

    Examples
    --------
    >>> even_sizes(10, 3)
    (4, 3, 3)
    """
    quotient, rest = divmod(total, tiles)
    return tuple(quotient + (i < rest) for i in range(tiles))


def offsets(sizes: Sequence[int]) -> list[int]:
    """Where each part begins, and where the last one ends.

    Examples
    --------
    >>> offsets((4, 3, 3))
    [0, 4, 7, 10]
    """
    return list(itertools.accumulate(sizes, initial=0))


def sparse_array(
    matrix: scipy.sparse.csr_matrix,
    rows: Sequence[int],
    columns: Sequence[int],
    directory: Path,
    label: str,
) -> da.Array:
    """Write each tile of `matrix` to a file; return the dask array whose tasks read them.

    Files keep the graph small, as a user's would be who has the matrix on disk. Chunks are
    ``csr_matrix`` because ``dask.array``'s products of the newer ``csr_array`` are wrong: they
    multiply element by element (distributed 2026.8).

    Parameters
    ----------
    matrix
        Of ``sum(rows)`` by ``sum(columns)``.
    rows, columns
        Heights and widths of the tiles.
    directory
        Where the files go; the workers must see it too.
    label
        What the array is called; the prefix of its keys.
    """
    name = f"{label}-{tokenize(str(directory), tuple(rows), tuple(columns))}"
    row, column = offsets(rows), offsets(columns)
    graph: dict[Key, object] = {}
    for i, j in itertools.product(range(len(rows)), range(len(columns))):
        path = directory / f"{name}-{i}-{j}.npz"
        tile = matrix[row[i] : row[i + 1], column[j] : column[j + 1]]
        scipy.sparse.save_npz(path, tile, compressed=False)
        graph[(name, i, j)] = (read_tile, str(path))
    meta = scipy.sparse.csr_matrix((0, 0), dtype=matrix.dtype)
    return da.Array(graph, name, chunks=(tuple(rows), tuple(columns)), meta=meta)


def read_tile(path: str) -> scipy.sparse.csr_matrix:
    """Read one tile: the task at the root of every sparse product."""
    return scipy.sparse.csr_matrix(scipy.sparse.load_npz(path))


def buffers(tile: Matrix) -> tuple[npt.NDArray[Any], ...]:
    """Return the numpy arrays that a tile is made of; none for no tile."""
    if tile is None:
        return ()
    if isinstance(tile, np.ndarray):
        return (tile,)
    return (tile.data, tile.indices, tile.indptr)


def tiles_nbytes(matrix: scipy.sparse.csr_matrix, rows: int, columns: int) -> int:
    """Bytes that a csr matrix takes once cut into `rows` by `columns` tiles.

    Each tile has row pointers of its own, so this is more than the whole matrix takes.
    """
    pointers = columns * (matrix.shape[0] + rows) * matrix.indptr.itemsize
    return int(matrix.data.nbytes + matrix.indices.nbytes + pointers)


def assemble_sparse(array: da.Array, tiles: Mapping[Key, Matrix]) -> scipy.sparse.csr_matrix:
    """Put the computed tiles of a two-dimensional dask array together."""
    rows, columns = array.numblocks
    grid = [[tiles[(array.name, i, j)] for j in range(columns)] for i in range(rows)]
    return scipy.sparse.bmat(grid, format="csr")


def close(result: Matrix, reference: Matrix, *, tolerance: float = 1e-10) -> bool:
    """Whether two matrices agree to `tolerance` times the largest entry of the reference."""
    if result.shape != reference.shape:
        return False
    scale = abs(reference).max() if min(reference.shape) else 0.0
    return bool(abs(result - reference).max() <= tolerance * scale)
