"""Iterated stencils on a grid of tiles: each step reads a tile and its neighbours."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from dask_mlsched.benchmarks.families.tile import (
    FLOP_RATE,
    SquareTile,
    check_positive,
    operand,
)
from dask_mlsched.core.dag import Dag, DagTask


def stencil(
    _seed: int = 0,
    *,
    rows: int,
    columns: int,
    steps: int,
    size: int,
    points: Literal[5, 9] = 5,
    periodic: bool = False,
    flops_per_point: float = 10.0,
    flop_rate: float = FLOP_RATE,
    given: bool = True,
) -> Dag:
    """Build the DAG of `steps` sweeps of a stencil over `rows` by `columns` tiles.

    Task ``sweep-step-i-j`` reads its own tile and its neighbours of the step before, and takes
    ``flops_per_point * size**2`` operations. There are ``rows * columns * steps`` of them. The
    tiles of the last step are wanted. Nothing is random.

    Parameters
    ----------
    rows, columns
        Tiles of the grid.
    steps
        Sweeps.
    size
        Rows of a tile, which has ``8 * size**2`` bytes.
    points
        5: neighbours share an edge. 9: or a corner.
    periodic
        Whether the grid's ends are neighbours.
    flops_per_point
        Operations for one number.
    flop_rate
        Operations per second.
    given
        Whether the grid is in the slow tier from the beginning, or tasks make its tiles.

    Raises
    ------
    ValueError
        If there are other than 5 or 9 points, or a number is not above 0.
    """
    check_positive(rows=rows, columns=columns, steps=steps, flops_per_point=flops_per_point)
    if points not in (5, 9):
        msg = f"points is {points!r}; expected 5 or 9"
        raise ValueError(msg)
    tile = SquareTile(size, flop_rate)
    places = [(i, j) for i in range(rows) for j in range(columns)]

    def key(step: int, i: int, j: int) -> str:
        return f"sweep-{step}-{i}-{j}" if step else f"U-{i}-{j}"

    def tasks() -> Iterator[DagTask]:
        for i, j in places:
            yield operand(key(0, i, j), tile.nbytes, given=given)
        for step in range(1, steps + 1):
            for i, j in places:
                near = _neighbours(i, j, rows, columns, points, periodic=periodic)
                inputs = [key(step - 1, *place) for place in near]
                yield tile.task(key(step, i, j), inputs, flops_per_point / size)

    return Dag.build("stencil", tasks())


def _neighbours(
    i: int, j: int, rows: int, columns: int, points: int, *, periodic: bool
) -> Iterator[tuple[int, int]]:
    for down in (-1, 0, 1):
        for right in (-1, 0, 1):
            if points == 5 and down and right:
                continue
            row, column = i + down, j + right
            if periodic:
                yield row % rows, column % columns
            elif 0 <= row < rows and 0 <= column < columns:
                yield row, column
