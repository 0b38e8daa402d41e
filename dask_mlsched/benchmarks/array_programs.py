"""Programs written with ``dask.array`` as a user would: the graphs are Dask's own."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import dask.array as da
import numpy as np
import numpy.typing as npt

#: Arrays that are computed together.
Program = tuple[da.Array, ...]


def matmul(seed: int = 0, *, tiles: int, size: int) -> Program:
    """Multiply two random matrices of `tiles` by `tiles` chunks of `size` rows: ``A @ B``."""
    left, right = _random(seed, 2, (tiles * size, tiles * size), (size, size))
    with _many_chunks():
        return (left @ right,)


def tensordot(seed: int = 0, *, tiles: int, size: int) -> Program:
    """Contract two indices of a tensor with a matrix's, then one index of what is left.

    The tensor has `tiles` chunks of `size` along each of three dimensions, the matrices along
    each of two.
    """
    n = tiles * size
    (tensor,) = _random(seed, 1, (n, n, n), (size, size, size))
    first, second = _random(seed + 1, 2, (n, n), (size, size))
    with _many_chunks():
        once = da.tensordot(tensor, first, axes=((2,), (0,)))
        return (da.tensordot(once, second, axes=((1, 2), (0, 1))),)


def cholesky(seed: int = 0, *, tiles: int, size: int) -> Program:
    """Factor a random positive definite matrix: ``da.linalg.cholesky``, lower factor."""
    n = tiles * size
    (root,) = _random(seed, 1, (n, n), (size, size))
    # Symmetric, and by Gershgorin's theorem positive definite: entries are at most 2.
    matrix = root + root.T + 2 * n * da.eye(n, chunks=size)
    return (da.linalg.cholesky(matrix, lower=True),)


def qr_tall(seed: int = 0, *, tiles: int, size: int, columns: int) -> Program:
    """Factor a tall and skinny matrix, one chunk wide: ``da.linalg.qr``."""
    (matrix,) = _random(seed, 1, (tiles * size, columns), (size, columns))
    q, r = da.linalg.qr(matrix)
    return q, r


def qr_short(seed: int = 0, *, tiles: int, size: int, rows: int) -> Program:
    """Factor a short and fat matrix, one chunk high: ``da.linalg.sfqr``."""
    (matrix,) = _random(seed, 1, (rows, tiles * size), (rows, size))
    q, r = da.linalg.sfqr(matrix)
    return q, r


def svd(seed: int = 0, *, tiles: int, size: int, columns: int) -> Program:
    """Decompose a tall and skinny matrix: ``da.linalg.svd``."""
    (matrix,) = _random(seed, 1, (tiles * size, columns), (size, columns))
    u, s, v = da.linalg.svd(matrix)
    return u, s, v


def overlap(seed: int = 0, *, tiles: int, size: int, steps: int) -> Program:
    """Smooth a grid `steps` times with the mean of five points: ``da.map_overlap``."""
    (grid,) = _random(seed, 1, (tiles * size, tiles * size), (size, size))
    for _ in range(steps):
        grid = grid.map_overlap(smooth, depth=1, boundary="periodic", dtype=float)
    return (grid,)


def smooth(grid: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return each point's mean with its four neighbours; `grid` stays as it is."""
    total = grid.copy()
    for axis in (0, 1):
        total += np.roll(grid, 1, axis)
        total += np.roll(grid, -1, axis)
    return total / 5


def reduction(seed: int = 0, *, tiles: int, size: int, width: int) -> Program:
    """Standardize a matrix by its columns' mean and deviation: two trees, and all data again."""
    (data,) = _random(seed, 1, (tiles * size, size), (size, size))
    mean = data.mean(axis=0, split_every=width)
    deviation = data.std(axis=0, split_every=width)
    return (((data - mean) / deviation).sum(axis=1),)


def _random(
    seed: int, count: int, shape: tuple[int, ...], chunks: tuple[int, ...]
) -> Iterator[da.Array]:
    generator = da.random.default_rng(seed)
    for _ in range(count):
        yield generator.random(shape, chunks=chunks)


@contextmanager
def _many_chunks() -> Iterator[None]:
    """Keep ``dask.array`` from warning that a product has more chunks than its operands."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", da.PerformanceWarning)
        yield
