"""Iterated sparse matrix-vector products: each iteration reads the same tiles of the matrix."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from dask_mlsched.benchmarks.families.matrices import cut, gallery_matrix, tile_nbytes
from dask_mlsched.benchmarks.families.tile import (
    FLOP_RATE,
    ITEM,
    check_positive,
    check_share,
    operand,
    task,
)
from dask_mlsched.benchmarks.tiles import even_sizes
from dask_mlsched.core.dag import Dag, DagTask

#: Bytes and entries of each tile that is there.
TileSizes = Mapping[tuple[int, int], tuple[int, int]]


def matvec(
    seed: int = 0,
    *,
    tiles: int,
    size: int,
    density: float,
    fill: float,
    iterations: int,
    flop_rate: float = FLOP_RATE,
    given: bool = True,
) -> Dag:
    """Build the DAG of x ← A·x, repeated, for a random sparse matrix of random tiles.

    Tile (i, j) is there with probability `density`, those of the diagonal always. A tile with e
    entries is a csr matrix of ``12 * e + 4 * (size + 1)`` bytes; its product takes ``2 * e``
    operations. See `_iterations` for the tasks.

    Parameters
    ----------
    seed
        Of the places of the tiles.
    tiles
        Tiles a side.
    size
        Rows of a tile; a tile of the vector has ``8 * size`` bytes.
    density
        Probability of each tile off the diagonal.
    fill
        Share of the entries of a tile that are not zero.
    iterations
        Products, one after the other.
    flop_rate
        Operations per second.
    given
        Whether A and x are in the slow tier from the beginning, or tasks make their tiles.
    """
    check_positive(tiles=tiles, size=size)
    check_share(density=density, fill=fill)
    there = np.random.default_rng(seed).random((tiles, tiles)) < density
    np.fill_diagonal(there, True)
    entries = max(1, round(fill * size**2))
    csr = (12 * entries + 4 * (size + 1), entries)
    sizes = {(i, j): csr for i, j in np.ndindex(tiles, tiles) if there[i, j]}
    rows = (size,) * tiles
    made = _iterations(sizes, rows, ITEM, iterations, flop_rate, given=given)
    return Dag.build("matvec", made)


def gallery_matvec(
    _seed: int = 0,
    *,
    matrix: str,
    tiles: int,
    iterations: int,
    flop_rate: float = FLOP_RATE,
    given: bool = True,
) -> Dag:
    """Build the DAG of x ← A·x, repeated, for a matrix of pyamg's gallery.

    Bytes and entries of the tiles are measured. Other parameters are those of `matvec`.

    Raises
    ------
    ValueError
        If there is no such matrix, or it has fewer rows than tiles.
    MissingDependencyError
        If pyamg is not installed.
    """
    whole = gallery_matrix(matrix)
    sizes = {place: (tile_nbytes(part), part.nnz) for place, part in cut(whole, tiles).items()}
    rows = even_sizes(whole.shape[0], tiles)
    item = whole.dtype.itemsize
    made = _iterations(sizes, rows, item, iterations, flop_rate, given=given)
    return Dag.build(f"matvec-{matrix}", made)


def _iterations(
    sizes: TileSizes,
    rows: tuple[int, ...],
    item: int,
    iterations: int,
    flop_rate: float,
    *,
    given: bool,
) -> Iterator[DagTask]:
    """Yield ``spmv-t-i-j``, which reads ``A-i-j`` and a tile of x, and ``sum-t-i`` over j."""
    check_positive(iterations=iterations, flop_rate=flop_rate)
    # Operations of a multiply-add and of an addition, on real or on complex numbers.
    multiply_add, add = (2, 1) if item == ITEM else (8, 2)
    for (i, j), (nbytes, _) in sizes.items():
        yield operand(f"A-{i}-{j}", nbytes, given=given)
    for i, height in enumerate(rows):
        yield operand(f"x-{i}", item * height, given=given)
    vector = [f"x-{i}" for i in range(len(rows))]
    for step in range(1, iterations + 1):
        for (i, j), (_, entries) in sizes.items():
            seconds = multiply_add * entries / flop_rate
            inputs = (f"A-{i}-{j}", vector[j])
            yield task(f"spmv-{step}-{i}-{j}", inputs, item * rows[i], seconds)
        vector = [f"sum-{step}-{i}" for i in range(len(rows))]
        for i, key in enumerate(vector):
            parts = [f"spmv-{step}-{i}-{j}" for j in range(len(rows)) if (i, j) in sizes]
            seconds = add * len(parts) * rows[i] / flop_rate
            yield task(key, parts, item * rows[i], seconds)
