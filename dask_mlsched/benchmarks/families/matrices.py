"""Squares of the real matrices of pyamg's gallery, cut into sparse tiles of measured sizes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

import numpy as np
import scipy.sparse

from dask_mlsched.benchmarks.families.tile import FLOP_RATE, check_positive, operand, task
from dask_mlsched.benchmarks.optional import require
from dask_mlsched.benchmarks.tiles import Matrix, buffers, even_sizes, offsets
from dask_mlsched.core.dag import Dag, DagTask

#: Those that pyamg ships.
GALLERY = (
    "airfoil",
    "bar",
    "helmholtz_2D",
    "knot",
    "local_disc_galerkin_diffusion",
    "recirc_flow",
    "unit_cube",
    "unit_square",
)
Tiles = dict[tuple[int, int], Matrix]


def gallery_square(
    _seed: int = 0, *, matrix: str, tiles: int, flop_rate: float = FLOP_RATE, given: bool = True
) -> Dag:
    """Build the DAG of A·A for a matrix from a real mesh, accumulated along k.

    Tiles without entries are left out, and with them the products that they would be in. Bytes
    are those of `csr_matrix` tiles, measured: partial sums fill in from step to step. A product
    takes two operations (complex: eight) for each pair of entries that meet, and an addition
    one (complex: two) for each entry of the sum.

    Parameters
    ----------
    matrix
        One of `GALLERY`.
    tiles
        Tiles a side.
    flop_rate
        Operations per second; sparse ones are far below what a device reaches on dense tiles.
    given
        Whether the operand is in the slow tier from the beginning, or tasks make its tiles.

    Raises
    ------
    ValueError
        If there is no such matrix, or it has fewer rows than tiles.
    MissingDependencyError
        If pyamg is not installed.
    """
    check_positive(tiles=tiles, flop_rate=flop_rate)
    parts = cut(gallery_matrix(matrix), tiles)

    def tasks() -> Iterator[DagTask]:
        products = list(_products(parts, flop_rate))
        read = {key for product in products for key in product.dependencies}
        for (i, j), part in parts.items():
            if (key := f"A-{i}-{j}") in read:
                yield operand(key, tile_nbytes(part), given=given)
        yield from products

    return Dag.build(f"gallery-{matrix}", tasks())


def gallery_matrix(name: str) -> scipy.sparse.csr_matrix:
    """Load one of pyamg's example matrices.

    Raises
    ------
    ValueError
        If there is none of that name.
    MissingDependencyError
        If pyamg is not installed.
    """
    if name not in GALLERY:
        msg = f"unknown matrix {name!r}; expected one of {', '.join(GALLERY)}"
        raise ValueError(msg)
    gallery = require("pyamg.gallery", "a workload that takes its matrices from it")
    return scipy.sparse.csr_matrix(gallery.load_example(name)["A"])


def cut(matrix: scipy.sparse.csr_matrix, tiles: int) -> Tiles:
    """Cut a square matrix into `tiles` by `tiles` parts; leave out those without entries.

    Raises
    ------
    ValueError
        If there are more tiles than rows.
    """
    if tiles > matrix.shape[0]:
        msg = f"tiles is {tiles}; expected at most {matrix.shape[0]}, the rows of the matrix"
        raise ValueError(msg)
    edges = offsets(even_sizes(matrix.shape[0], tiles))
    parts = {
        (i, j): matrix[edges[i] : edges[i + 1], edges[j] : edges[j + 1]]
        for i in range(tiles)
        for j in range(tiles)
    }
    return {place: part for place, part in parts.items() if part.nnz}


def tile_nbytes(tile: Matrix) -> int:
    """Bytes of the arrays that a csr tile is made of."""
    return sum(buffer.nbytes for buffer in buffers(tile))


def _products(parts: Tiles, flop_rate: float) -> Iterator[DagTask]:
    in_row: defaultdict[int, list[int]] = defaultdict(list)
    for k, j in parts:
        in_row[k].append(j)
    sums: Tiles = {}
    latest: dict[tuple[int, int], str] = {}
    for i, k in parts:
        for j in in_row[k]:
            part = parts[i, k] @ parts[k, j]
            flops = _multiply_flops(parts[i, k], parts[k, j])
            inputs = [f"A-{i}-{k}", f"A-{k}-{j}"]
            if (i, j) in sums:
                part = sums[i, j] + part
                flops += part.nnz * (2 if np.iscomplexobj(part) else 1)
                inputs.append(latest[i, j])
            key = latest[i, j] = f"C-{i}-{j}-{k}"
            sums[i, j] = part
            yield task(key, inputs, tile_nbytes(part), flops / flop_rate)


def _multiply_flops(left: Matrix, right: Matrix) -> int:
    """Count the operations of a sparse product: entries of column r times entries of row r."""
    pairs = int(np.bincount(left.indices, minlength=left.shape[1]) @ np.diff(right.indptr))
    return pairs * (8 if np.iscomplexobj(left) else 2)
