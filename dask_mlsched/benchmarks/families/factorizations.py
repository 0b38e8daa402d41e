"""Tiled Cholesky, LU and QR factorizations of dense matrices: the textbook algorithms.

Operations of the kernels, in units of size**3, are those of the tiled-algorithm literature:
A. Buttari, J. Langou, J. Kurzak, J. Dongarra: A class of parallel tiled linear algebra algorithms
for multicore architectures. Parallel Computing 35, 2009.
"""

from __future__ import annotations

from collections.abc import Iterator

from dask_mlsched.benchmarks.families.tile import (
    FLOP_RATE,
    SquareTile,
    check_positive,
    operand,
)
from dask_mlsched.core.dag import Dag, DagTask

Latest = dict[tuple[int, int], str]


def cholesky(
    _seed: int = 0, *, tiles: int, size: int, flop_rate: float = FLOP_RATE, given: bool = True
) -> Dag:
    """Build the DAG of a right-looking Cholesky factorization of `tiles` by `tiles` tiles.

    Only the lower triangle is there. Tasks: `tiles` ``potrf`` (1/3), one ``trsm`` (1) and one
    ``syrk`` (1) for each tile below the diagonal, and ``gemm`` (2), which together are
    ``t * (t + 1) * (t + 2) / 6``. Nothing is random.

    Parameters
    ----------
    tiles
        Tiles a side.
    size
        Rows of a tile, which has ``8 * size**2`` bytes.
    flop_rate
        Operations per second.
    given
        Whether the matrix is in the slow tier from the beginning, or tasks make its tiles.
    """
    check_positive(tiles=tiles)
    tile = SquareTile(size, flop_rate)
    places = [(i, j) for i in range(tiles) for j in range(i + 1)]
    latest: Latest = {(i, j): f"A-{i}-{j}" for i, j in places}

    def tasks() -> Iterator[DagTask]:
        for key in latest.values():
            yield operand(key, tile.nbytes, given=given)
        for k in range(tiles):
            yield _update(tile, latest, (k, k), f"potrf-{k}", (), 1 / 3, final=True)
            for i in range(k + 1, tiles):
                inputs = (latest[k, k],)
                yield _update(tile, latest, (i, k), f"trsm-{i}-{k}", inputs, 1, final=True)
            for i in range(k + 1, tiles):
                inputs = (latest[i, k],)
                yield _update(tile, latest, (i, i), f"syrk-{i}-{k}", inputs, 1)
                for j in range(k + 1, i):
                    both = (latest[i, k], latest[j, k])
                    yield _update(tile, latest, (i, j), f"gemm-{i}-{j}-{k}", both, 2)

    return Dag.build("cholesky", tasks())


def lu(
    _seed: int = 0, *, tiles: int, size: int, flop_rate: float = FLOP_RATE, given: bool = True
) -> Dag:
    """Build the DAG of a right-looking LU factorization without pivoting.

    Tasks: ``getrf`` (2/3), ``trsm_row`` and ``trsm_column`` (1), ``gemm`` (2); together
    ``t * (t + 1) * (2 * t + 1) / 6``. Parameters are those of `cholesky`.
    """
    check_positive(tiles=tiles)
    tile = SquareTile(size, flop_rate)
    latest: Latest = {(i, j): f"A-{i}-{j}" for i in range(tiles) for j in range(tiles)}

    def tasks() -> Iterator[DagTask]:
        for key in latest.values():
            yield operand(key, tile.nbytes, given=given)
        for k in range(tiles):
            rest = range(k + 1, tiles)
            yield _update(tile, latest, (k, k), f"getrf-{k}", (), 2 / 3, final=True)
            diagonal = (latest[k, k],)
            for j in rest:
                yield _update(tile, latest, (k, j), f"trsm_row-{k}-{j}", diagonal, 1, final=True)
            for i in rest:
                key = f"trsm_column-{i}-{k}"
                yield _update(tile, latest, (i, k), key, diagonal, 1, final=True)
            for i in rest:
                for j in rest:
                    both = (latest[i, k], latest[k, j])
                    yield _update(tile, latest, (i, j), f"gemm-{i}-{j}-{k}", both, 2)

    return Dag.build("lu", tasks())


def _update(
    tile: SquareTile,
    latest: Latest,
    place: tuple[int, int],
    key: str,
    others: tuple[str, ...],
    cubes: float,
    *,
    final: bool = False,
) -> DagTask:
    """Make a new version of one tile from its latest one; a `final` one is part of the result."""
    made = tile.task(key, (latest[place], *others), cubes, wanted=final)
    latest[place] = key
    return made


def qr(
    _seed: int = 0,
    *,
    rows: int,
    columns: int,
    size: int,
    inner: int = 32,
    flop_rate: float = FLOP_RATE,
    given: bool = True,
) -> Dag:
    """Build the DAG of a tiled QR factorization with flat trees.

    A task has one array, which holds all that it makes: ``geqrt`` (4/3) the factored tile and
    its reflectors' triangles, ``tsqrt`` (2) the reflectors of one tile below, their triangles
    and the new R, ``unmqr`` (2) one tile to the right, ``tsmqr`` (4) two, in row k and in
    row i. Together they are ``(rows - k) * (columns - k)`` for each step k. What the client
    keeps: reflectors and R.

    Parameters
    ----------
    rows, columns
        Tiles a side of the matrix; not more columns than rows.
    size
        Rows of a tile, which has ``8 * size**2`` bytes.
    inner
        Rows of the triangles, ``8 * inner * size`` bytes a tile.
    flop_rate
        Operations per second; those of the kernels hold for `inner` far below `size`.
    given
        Whether the matrix is in the slow tier from the beginning, or tasks make its tiles.

    Raises
    ------
    ValueError
        If there are more columns than rows, or `inner` is more than `size`.
    """
    check_positive(columns=columns, inner=inner)
    if columns > rows or inner > size:
        msg = (
            f"rows, columns, size and inner are {rows}, {columns}, {size} and {inner}; expected "
            "not more columns than rows, and not more inner rows than rows of a tile"
        )
        raise ValueError(msg)
    tile = SquareTile(size, flop_rate)
    latest: Latest = {(i, j): f"A-{i}-{j}" for i in range(rows) for j in range(columns)}

    def tasks() -> Iterator[DagTask]:
        for key in latest.values():
            yield operand(key, tile.nbytes, given=given)
        for k in range(columns):
            yield from _qr_step(tile, latest, k, rows, columns, inner / size)

    return Dag.build("qr", tasks())


def _qr_step(
    tile: SquareTile, latest: Latest, k: int, rows: int, columns: int, triangles: float
) -> Iterator[DagTask]:
    right = range(k + 1, columns)
    top = f"geqrt-{k}"
    yield tile.task(top, (latest[k, k],), 4 / 3, tiles=1 + triangles, wanted=True)
    latest[k, k] = top
    for j in right:
        key = f"unmqr-{k}-{j}"
        yield tile.task(key, (top, latest[k, j]), 2)
        latest[k, j] = key
    for i in range(k + 1, rows):
        below = f"tsqrt-{i}-{k}"
        inputs = (latest[k, k], latest[i, k])
        yield tile.task(below, inputs, 2, tiles=2 + triangles, wanted=True)
        latest[k, k] = below
        for j in right:
            key = f"tsmqr-{i}-{j}-{k}"
            both = (below, latest[k, j], latest[i, j])
            # The last one holds the tile of R.
            yield tile.task(key, both, 4, tiles=2, wanted=i == rows - 1)
            latest[k, j] = latest[i, j] = key
