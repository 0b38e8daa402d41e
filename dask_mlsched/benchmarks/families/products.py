"""Products of block-sparse and dense matrices, accumulated along k or summed as a tree."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal, TypeAlias

import numpy as np

from dask_mlsched.benchmarks.block_products import (
    BlockMatrix,
    block_sparse_operands,
    chains,
    random_block_matrix,
)
from dask_mlsched.benchmarks.families.tile import (
    FLOP_RATE,
    ITEM,
    check_positive,
    check_share,
    operand,
    task,
)
from dask_mlsched.core.dag import Dag, DagTask

#: ``chain``: each product adds to the tile that the one before it made. ``tree``: products are
#: tiles of their own, summed a few at a time.
Accumulation: TypeAlias = Literal["chain", "tree"]


def block_sparse(
    seed: int = 0,
    *,
    tiles: int,
    smallest: int,
    largest: int,
    density: float,
    accumulation: Accumulation = "chain",
    width: int = 4,
    flop_rate: float = FLOP_RATE,
    given: bool = True,
) -> Dag:
    """Build the DAG of a product of two block-sparse matrices, after TTG's benchmark.

    The same seed and sizes give the same instance, with the same keys, as
    `dask_mlsched.benchmarks.block_products.block_sparse`, which makes its operands by tasks.

    Parameters
    ----------
    seed
        Of the tile sizes and of the places of the tiles.
    tiles
        Tiles a side, of all three matrices.
    smallest, largest
        Range of the tiles' heights and widths, both included.
    density
        Share of the entries of A and of B that lies in non-zero tiles, at least.
    accumulation, width
        See `product`.
    flop_rate, given
        See `product`.
    """
    check_positive(tiles=tiles, smallest=smallest)
    check_share(density=density)
    a, b = block_sparse_operands(seed, tiles, smallest, largest, density)
    return product(
        "block-sparse",
        a,
        b,
        accumulation=accumulation,
        width=width,
        flop_rate=flop_rate,
        given=given,
    )


def gemm(
    _seed: int = 0,
    *,
    tiles: int,
    size: int,
    accumulation: Accumulation = "chain",
    width: int = 4,
    flop_rate: float = FLOP_RATE,
    given: bool = True,
) -> Dag:
    """Build the DAG of a dense product: ``tiles**3`` products of tiles of `size` rows.

    See `product` for the other parameters. Nothing is random.
    """
    check_positive(tiles=tiles, size=size)
    sizes, rng = (size,) * tiles, np.random.default_rng(0)
    a, b = (random_block_matrix(label, sizes, sizes, 1.0, (), rng) for label in "AB")
    return product(
        "gemm", a, b, accumulation=accumulation, width=width, flop_rate=flop_rate, given=given
    )


def product(
    name: str,
    a: BlockMatrix,
    b: BlockMatrix,
    *,
    accumulation: Accumulation = "chain",
    width: int = 4,
    flop_rate: float = FLOP_RATE,
    given: bool = True,
) -> Dag:
    """Build the DAG of A·B from the places of the non-zero tiles.

    A tile of m by n has ``8 * m * n`` bytes. A product takes ``2 * m * k * n`` operations, an
    addition ``m * n``. Tiles that meet no other are left out.

    Parameters
    ----------
    name
        Of the DAG.
    a, b
        Which tiles are there, and their sizes.
    accumulation
        ``chain``: task ``C-i-j-k`` reads ``A-i-k``, ``B-k-j`` and the task before it along k.
        ``tree``: tasks ``P-i-j-k`` read two tiles, tasks ``S-i-j-level-number`` add.
    width
        Tiles that one addition of a tree reads, at most.
    flop_rate
        Operations per second.
    given
        Whether the operands are in the slow tier from the beginning, or tasks make them.

    Raises
    ------
    ValueError
        If a parameter is out of its range.
    """
    check_positive(flop_rate=flop_rate)
    check_accumulation(accumulation, width)

    steps = chains(a, b)
    read = {(a.label, i, k) for (i, _), ks in steps.items() for k in ks}
    read |= {(b.label, k, j) for (_, j), ks in steps.items() for k in ks}

    def tasks() -> Iterator[DagTask]:
        for matrix in (a, b):
            for i, j in matrix.places:
                if (matrix.label, i, j) in read:
                    nbytes = ITEM * matrix.rows[i] * matrix.columns[j]
                    yield operand(f"{matrix.label}-{i}-{j}", nbytes, given=given)
        for (i, j), ks in steps.items():
            if accumulation == "chain":
                yield from _chain(a, b, i, j, ks, flop_rate)
            else:
                for k in ks:
                    yield _product(f"P-{i}-{j}-{k}", a, b, (i, j, k), (), flop_rate)
                entries = a.rows[i] * b.columns[j]
                leaves = [f"P-{i}-{j}-{k}" for k in ks]
                yield from sum_tree(f"S-{i}-{j}", leaves, width, entries, flop_rate)

    return Dag.build(name, tasks())


def check_accumulation(accumulation: str, width: int) -> None:
    """Refuse an unknown accumulation, and additions of fewer than two tiles.

    Raises
    ------
    ValueError
        One line that says which.
    """
    if accumulation not in ("chain", "tree"):
        msg = f"accumulation is {accumulation!r}; expected 'chain' or 'tree'"
        raise ValueError(msg)
    if width < 2:
        msg = f"width is {width!r}; expected 2 or more tiles to an addition"
        raise ValueError(msg)


def sum_tree(
    label: str, leaves: Sequence[str], width: int, entries: int, flop_rate: float
) -> Iterator[DagTask]:
    """Yield the tasks that add equal tiles, `width` at a time, until one is left.

    Keys are ``label-level-number``. A tile that is alone in its group goes up a level as it is;
    a single leaf needs no task.
    """
    level = 0
    while len(leaves) > 1:
        above = []
        for number, first in enumerate(range(0, len(leaves), width)):
            group = leaves[first : first + width]
            if len(group) > 1:
                key = f"{label}-{level}-{number}"
                yield task(key, group, ITEM * entries, (len(group) - 1) * entries / flop_rate)
                above.append(key)
            else:
                above += group
        leaves, level = above, level + 1


def _chain(
    a: BlockMatrix, b: BlockMatrix, i: int, j: int, ks: Sequence[int], flop_rate: float
) -> Iterator[DagTask]:
    before: tuple[str, ...] = ()
    for k in ks:
        key = f"C-{i}-{j}-{k}"
        yield _product(key, a, b, (i, j, k), before, flop_rate)
        before = (key,)


def _product(
    key: str,
    a: BlockMatrix,
    b: BlockMatrix,
    place: tuple[int, int, int],
    before: tuple[str, ...],
    flop_rate: float,
) -> DagTask:
    i, j, k = place
    entries = a.rows[i] * b.columns[j]
    flops = 2 * entries * a.columns[k] + entries * len(before)
    inputs = (f"A-{i}-{k}", f"B-{k}-{j}", *before)
    return task(key, inputs, ITEM * entries, flops / flop_rate)
