from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from dask_mlsched.benchmarks.dense_cholesky import (
    dense_cholesky,
    gemm_update,
    potrf,
    spd_tile,
    trsm,
)
from dask_mlsched.benchmarks.device_arrays import on_device, to_host
from local_run import compute


def matrix(tiles: int, size: int) -> np.ndarray:
    grid = [
        [spd_tile((0,), (max(i, j), min(i, j)), size, tiles, "float64") for j in range(tiles)]
        for i in range(tiles)
    ]
    for i in range(tiles):
        for j in range(i + 1, tiles):
            grid[i][j] = grid[i][j].T
    return np.block(grid)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_factor_is_that_of_numpy(tmp_path: Path, dtype):
    problem = dense_cholesky(tmp_path, 0, tiles=4, size=8, dtype=dtype)
    results = compute(problem)
    assert problem.check(results)
    whole = np.linalg.cholesky(matrix(4, 8))
    for key, tile in results.items():
        i, j = map(int, key.split("-")[1:]) if key.startswith("trsm") else (int(key[6:]),) * 2
        expected = whole[i * 8 : (i + 1) * 8, j * 8 : (j + 1) * 8]
        assert tile.dtype == np.dtype(dtype)
        np.testing.assert_allclose(tile, expected, atol=1e-4 if dtype == "float32" else 1e-12)


def test_a_wrong_entry_and_a_missing_tile_are_seen(tmp_path: Path):
    problem = dense_cholesky(tmp_path, 1, tiles=3, size=6)
    results = compute(problem)
    wrong = {**results, "trsm-2-0": results["trsm-2-0"] + 1e-3}
    missing = {key: tile for key, tile in results.items() if key != "trsm-2-1"}
    assert not problem.check(wrong)
    assert not problem.check(missing)


def test_it_has_the_tasks_of_a_tiled_cholesky(tmp_path: Path):
    n = 5
    problem = dense_cholesky(tmp_path, 0, tiles=n, size=4)
    updates = sum((n - k - 1) * (n - k) // 2 for k in range(n))
    assert problem.tasks() == n * (n + 1) // 2 + n + n * (n - 1) // 2 + updates
    assert problem.working_set == n * (n + 1) // 2 * 4 * 4 * 8


def test_tasks_leave_their_inputs_as_they_are():
    c = spd_tile((0,), (0, 0), 4, 1, "float64")
    before = c.copy()
    factor = potrf(c)
    trsm(factor, c)
    gemm_update(c, factor, factor)
    assert (c == before).all()


def test_on_a_device_tiles_are_made_there(tmp_path: Path):
    problem = dense_cholesky(tmp_path, 0, tiles=3, size=4)
    (first, *_) = on_device(problem.collections, "numpy")
    assert set(first.__dask_graph__()) == {
        key for each in problem.collections for key in each.__dask_graph__()
    }
    assert to_host(spd_tile((0,), (0, 0), 4, 3, "float64")).shape == (4, 4)
