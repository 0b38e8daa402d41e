"""The cubes of a block product that a device holds: Herault's plan (2021)."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

from dask_mlsched.core.planners.products import Products

#: Bytes of every block of one matrix; 0 where it has none.
Blocks: TypeAlias = npt.NDArray[np.int64]

#: So many corners along each dimension are sampled.
_SAMPLES: Final = 4


#: Rows, columns and steps: which cube along each of them.
Cube: TypeAlias = tuple[int, int, int]


def cubes(products: Products, nbytes: Mapping[int, int], limit: float) -> dict[int, Cube]:
    """Say in which cube each product is.

    Parameters
    ----------
    products
        The structure of the product, with at least one in it.
    nbytes
        array -> its bytes, of all products and of what they read.
    limit
        Bytes of the device's memory; may be infinite.

    Returns
    -------
    dict
        product task -> its cube.
    """
    places = products.places
    rows, columns, steps = (max(p[d] for p in places.values()) + 1 for d in range(3))
    a = _blocks((rows, steps), ((at, nbytes[x]) for x, at in products.left.items()))
    b = _blocks((steps, columns), ((at, nbytes[x]) for x, at in products.right.items()))
    c = _blocks((rows, columns), (((i, j), nbytes[t]) for t, (i, j, _) in places.items()))
    m, n, k = cube_shape(a, b, c, limit)
    return {task: (at[0] // m, at[1] // n, at[2] // k) for task, at in places.items()}


def follow_sources(
    cube: dict[int, tuple[int, int]],
    sources: Collection[int],
    dependents: Sequence[Collection[int]],
) -> None:
    """Let what makes arrays, or helps to, belong to the first cube that needs it.

    Parameters
    ----------
    cube
        task -> which cube it belongs to; sources are added.
    sources
        The tasks that make arrays for products.
    dependents
        Per task: those that read its array.
    """
    followed: set[int] = set()
    for source in sources:
        stack = [source]
        while stack:
            task = stack[-1]
            waiting = [d for d in dependents[task] if d in sources and d not in followed]
            if waiting:
                stack += waiting
                continue
            stack.pop()
            if task not in followed:
                followed.add(task)
                needed = [cube[d] for d in dependents[task] if d in cube]
                if needed:
                    cube[task] = min(needed)


def _blocks(shape: tuple[int, int], nbytes: Iterable[tuple[tuple[int, int], int]]) -> Blocks:
    blocks = np.zeros(shape, np.int64)
    for at, size in nbytes:
        blocks[at] = max(blocks[at], size)
    return blocks


def cube_shape(a: Blocks, b: Blocks, c: Blocks, limit: float) -> tuple[int, int, int]:
    """Choose how many rows, columns and steps of a product a device holds at a time.

    From sampled corners the largest cube grows whose blocks of A, B and C fit; their average is
    fitted to the grid, so that the cubes are of equal shape.

    Parameters
    ----------
    a, b, c
        [I, K], [K, J] and [I, J] bytes of the blocks.
    limit
        Bytes of the device's memory; may be infinite.

    Returns
    -------
    tuple of int
        (m, n, k), each at least 1.
    """
    rows, steps = a.shape
    columns = b.shape[1]
    # A cube at the edge goes on at the other side: otherwise the edge would make it small.
    sums = tuple(_prefix_sums(np.tile(each, (2, 2))) for each in (a, b, c))
    shapes = [
        _grown((rows, columns, steps), corner, sums, limit)
        for corner in _corners(rows, columns, steps)
    ]
    mean = np.mean(shapes, axis=0)
    fitted = [
        int(np.ceil(extent / np.ceil(extent / size)))
        for extent, size in zip((rows, columns, steps), mean, strict=True)
    ]
    return fitted[0], fitted[1], fitted[2]


def _corners(*extents: int) -> Iterable[tuple[int, ...]]:
    """Yield corners spread over the grid, each once."""
    spread = [sorted({extent * s // _SAMPLES for s in range(_SAMPLES)}) for extent in extents]
    return ((i, j, k) for i in spread[0] for j in spread[1] for k in spread[2])


def _grown(
    extents: tuple[int, int, int],
    corner: tuple[int, ...],
    sums: tuple[Blocks, ...],
    limit: float,
) -> tuple[int, ...]:
    """Grow a cube by one in each dimension in turn, as long as it fits."""
    size = [1, 1, 1]
    going_on = [True, True, True]
    while any(going_on):
        for d in range(3):
            if not going_on[d]:
                continue
            size[d] += 1
            if size[d] > extents[d] or _nbytes(corner, size, sums) > limit:
                size[d] -= 1
                going_on[d] = False
    return tuple(size)


def _nbytes(corner: tuple[int, ...], size: list[int], sums: tuple[Blocks, ...]) -> int:
    (i, j, k), (m, n, s) = corner, size
    a, b, c = sums
    return (
        _within(a, i, i + m, k, k + s)
        + _within(b, k, k + s, j, j + n)
        + _within(c, i, i + m, j, j + n)
    )


def _prefix_sums(blocks: Blocks) -> Blocks:
    sums = np.zeros((blocks.shape[0] + 1, blocks.shape[1] + 1), np.int64)
    sums[1:, 1:] = blocks.cumsum(axis=0).cumsum(axis=1)
    return sums


def _within(sums: Blocks, top: int, bottom: int, left: int, right: int) -> int:
    return int(sums[bottom, right] - sums[top, right] - sums[bottom, left] + sums[top, left])
