"""Tree reductions: many arrays become one, a few at a time."""

from __future__ import annotations

from collections.abc import Iterator

from dask_mlsched.benchmarks.families.products import check_accumulation
from dask_mlsched.benchmarks.families.tile import (
    FLOP_RATE,
    ITEM,
    check_positive,
    operand,
    task,
)
from dask_mlsched.core.dag import Dag, DagTask


def tree_reduction(
    _seed: int = 0,
    *,
    leaves: int,
    width: int = 4,
    tile_nbytes: int = 1_000_000,
    partial_nbytes: int = 1_000_000,
    trees: int = 1,
    flop_rate: float = FLOP_RATE,
    given: bool = True,
) -> Dag:
    """Build the DAG of `trees` reductions of the same data.

    Task ``partial<tree>-number`` reads one array of the data, tasks ``combine<tree>-level-number``
    up to `width` results below them, until one is left. Each takes one operation for each
    8-byte number that it reads. Nothing is random.

    Parameters
    ----------
    leaves
        Arrays of the data.
    width
        Arrays that one combination reads, at most.
    tile_nbytes, partial_nbytes
        Bytes of one array of the data, and of a result: as many for an element-wise sum, 8 for
        that of all entries.
    trees
        Reductions that read the data: a mean, a maximum, and so on.
    flop_rate
        Operations per second.
    given
        Whether the data is in the slow tier from the beginning, or tasks make it.
    """
    check_positive(leaves=leaves, trees=trees, flop_rate=flop_rate)
    check_accumulation("tree", width)

    def tasks() -> Iterator[DagTask]:
        for number in range(leaves):
            yield operand(f"X-{number}", tile_nbytes, given=given)
        for tree in range(trees):
            level = []
            for number in range(leaves):
                key = f"partial{tree}-{number}"
                seconds = tile_nbytes / ITEM / flop_rate
                yield task(key, (f"X-{number}",), partial_nbytes, seconds)
                level.append(key)
            yield from _combine(f"combine{tree}", level, width, partial_nbytes, flop_rate)

    return Dag.build("reduction", tasks())


def _combine(
    label: str, below: list[str], width: int, nbytes: int, flop_rate: float
) -> Iterator[DagTask]:
    level = 0
    while len(below) > 1:
        groups = [below[first : first + width] for first in range(0, len(below), width)]
        below = [f"{label}-{level}-{number}" for number in range(len(groups))]
        for key, group in zip(below, groups, strict=True):
            yield task(key, group, nbytes, len(group) * nbytes / ITEM / flop_rate)
        level += 1
