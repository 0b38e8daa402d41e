"""A tiled Cholesky factorization that computes what it says, on the host or on a device."""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from dask.delayed import delayed
from dask.typing import Key

from dask_mlsched.benchmarks.block_products import Place, random_tile
from dask_mlsched.benchmarks.device_arrays import HOST
from dask_mlsched.benchmarks.problem import Collection, Problem
from dask_mlsched.benchmarks.tiles import Matrix, close


def dense_cholesky(
    _directory: Path, seed: int, *, tiles: int, size: int, dtype: str = "float64"
) -> Problem:
    """Build the lower factor of a symmetric positive definite matrix of `tiles` squared tiles."""
    results = _factor(seed, tiles, size, dtype)
    places = {result.key: place for place, result in results.items()}

    def check(computed: Mapping[Key, Matrix]) -> bool:
        found = {places[key]: tile for key, tile in computed.items()}
        return factors(found, seed, tiles, size, dtype)

    return Problem(
        workload="dense-cholesky",
        parameters={"tiles": tiles, "size": size, "dtype": dtype},
        seed=seed,
        collections=tuple(results.values()),
        working_set=len(results) * size * size * np.dtype(dtype).itemsize,
        memory_ratio=3.0,
        bandwidth=100e6,
        check=check,
    )


def _factor(seed: int, tiles: int, size: int, dtype: str) -> dict[Place, Collection]:
    make, factor, solve, update = (delayed(f) for f in (spd_tile, potrf, trsm, gemm_update))
    left = {
        (i, j): make((seed,), (i, j), size, tiles, dtype, dask_key_name=f"A-{i}-{j}")
        for i in range(tiles)
        for j in range(i + 1)
    }
    done: dict[Place, Collection] = {}
    for k in range(tiles):
        done[k, k] = factor(left[k, k], dask_key_name=f"potrf-{k}")
        for i in range(k + 1, tiles):
            done[i, k] = solve(done[k, k], left[i, k], dask_key_name=f"trsm-{i}-{k}")
        for i in range(k + 1, tiles):
            for j in range(k + 1, i + 1):
                name = f"update-{i}-{j}-{k}"
                left[i, j] = update(left[i, j], done[i, k], done[j, k], dask_key_name=name)
    return done


def spd_tile(
    seed: Sequence[int], place: Place, size: int, tiles: int, dtype: str, library: str = HOST
) -> Any:
    """Compute a tile of the matrix, which is positive definite by Gershgorin's theorem."""
    tile = random_tile((*seed, *place), (size, size), dtype, library)
    if place[0] == place[1]:
        identity = importlib.import_module(library).eye(size, dtype=dtype)
        tile = tile + tile.T + identity.dtype.type(4 * size * tiles) * identity
    return tile


def potrf(a: Any) -> Any:
    """Factor a tile on the diagonal; the lower factor."""
    return np.linalg.cholesky(a)


def trsm(factor: Any, a: Any) -> Any:
    """Solve ``X · factor.T = a`` for a tile below the diagonal."""
    on_host = isinstance(a, np.ndarray)
    linalg = importlib.import_module("scipy.linalg" if on_host else "cupyx.scipy.linalg")
    return linalg.solve_triangular(factor, a.T, lower=True).T


def gemm_update(c: Any, a: Any, b: Any) -> Any:
    """Subtract a product of two tiles: every task of the trailing update. `c` stays as it is."""
    return c - a @ b.T


def factors(found: Mapping[Place, Matrix], seed: int, tiles: int, size: int, dtype: str) -> bool:
    """Check L·Lᵀ = A by Freivalds' method: L·(Lᵀ·x) against A·x for four random vectors x."""
    x = _vectors(seed, tiles * size)
    inner, outer = np.zeros_like(x), np.zeros_like(x)
    for (i, j), tile in found.items():
        inner[_rows(j, size)] += tile.T @ x[_rows(i, size)]
    for (i, j), tile in found.items():
        outer[_rows(i, size)] += tile @ inner[_rows(j, size)]
    tolerance = 1e-10 if dtype == "float64" else 1e-4
    return close(outer, _expected(seed, tiles, size, dtype), tolerance=tolerance)


def _vectors(seed: int, length: int) -> npt.NDArray[np.float64]:
    return np.random.default_rng(seed).standard_normal((length, 4))


@lru_cache(maxsize=8)
def _expected(seed: int, tiles: int, size: int, dtype: str) -> npt.NDArray[np.float64]:
    """Compute A·x: once, for all runs of an instance."""
    x = _vectors(seed, tiles * size)
    result = np.zeros_like(x)
    for i in range(tiles):
        for j in range(i + 1):
            tile = spd_tile((seed,), (i, j), size, tiles, dtype)
            result[_rows(i, size)] += tile @ x[_rows(j, size)]
            if i != j:
                result[_rows(j, size)] += tile.T @ x[_rows(i, size)]
    return result


def _rows(i: int, size: int) -> slice:
    return slice(i * size, (i + 1) * size)
