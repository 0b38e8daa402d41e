"""Chains of tensor contractions: each result is the left operand of the next."""

from __future__ import annotations

from collections.abc import Iterator

from dask_mlsched.benchmarks.families.products import check_accumulation, sum_tree
from dask_mlsched.benchmarks.families.tile import (
    FLOP_RATE,
    SquareTile,
    check_positive,
    operand,
)
from dask_mlsched.core.dag import Dag, DagTask


def tensordot_chain(
    _seed: int = 0,
    *,
    length: int,
    tiles: int,
    size: int,
    width: int = 4,
    flop_rate: float = FLOP_RATE,
    given: bool = True,
) -> Dag:
    """Build the DAG of ``tensordot(… tensordot(tensordot(T0, T1), T2) …, T_length)``.

    Each tensor is seen as a matrix, its contracted indices on one side, in `tiles` by `tiles`
    tiles. A contraction is ``tiles**3`` products ``dot<step>-i-j-k`` (2 · size³) whose sums over k
    are trees of tasks ``sum<step>-i-j-level-number``, as in ``dask.array.tensordot``. Each step
    reads every tile of the one before, `tiles` times. Nothing is random.

    Parameters
    ----------
    length
        Contractions in the chain.
    tiles
        Tiles a side.
    size
        Rows of a tile, which has ``8 * size**2`` bytes.
    width
        Tiles that one addition reads, at most.
    flop_rate
        Operations per second.
    given
        Whether the tensors are in the slow tier from the beginning, or tasks make their tiles.
    """
    check_positive(length=length, tiles=tiles)
    check_accumulation("tree", width)
    tile = SquareTile(size, flop_rate)
    places = [(i, j) for i in range(tiles) for j in range(tiles)]

    def tasks() -> Iterator[DagTask]:
        for number in range(length + 1):
            for i, j in places:
                yield operand(f"T{number}-{i}-{j}", tile.nbytes, given=given)
        left = {(i, j): f"T0-{i}-{j}" for i, j in places}
        for step in range(1, length + 1):
            result = {}
            for i, j in places:
                made = list(_contraction(tile, left, i, j, step=step, tiles=tiles, width=width))
                yield from made
                result[i, j] = made[-1].key
            left = result

    return Dag.build("tensordot", tasks())


def _contraction(
    tile: SquareTile,
    left: dict[tuple[int, int], str],
    i: int,
    j: int,
    *,
    step: int,
    tiles: int,
    width: int,
) -> Iterator[DagTask]:
    """Yield the tasks of one tile of a result; the last one makes it."""
    leaves = [f"dot{step}-{i}-{j}-{k}" for k in range(tiles)]
    for k, key in enumerate(leaves):
        yield tile.task(key, (left[i, k], f"T{step}-{k}-{j}"), 2)
    yield from sum_tree(f"sum{step}-{i}-{j}", leaves, width, tile.size**2, tile.flop_rate)
