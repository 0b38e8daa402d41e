"""The Galerkin product R·A·P of a multigrid method, on a device that is too small for it.

A is the stiffness matrix of an elastic plate, and R and P are those of smoothed aggregation, all
three from pyamg (``pip install "dask-mlsched[bench]"``). They are cut into tiles, which stay sparse
(CSR) and are read from files, as a real program would. The coarse operator is compared with what
scipy makes of the whole matrices.
Run it: python examples/galerkin.py
"""

import tempfile
import time
from pathlib import Path

import dask
import dask.array as da
import numpy as np
import pyamg
import scipy.sparse
from dask.distributed import Client

import dask_mlsched

GRID = 80  # points a side of the plate; A has twice its square of rows
FINE, COARSE = 12, 5  # tiles a side


def two_levels() -> tuple[scipy.sparse.csr_matrix, ...]:
    """Set up the method; return R, A and P."""
    stiffness, modes = pyamg.gallery.linear_elasticity((GRID, GRID), format="bsr")
    solver = pyamg.smoothed_aggregation_solver(stiffness, B=modes, max_levels=2, max_coarse=10)
    level = solver.levels[0]
    return tuple(scipy.sparse.csr_matrix(matrix) for matrix in (level.R, level.A, level.P))


def tiled(matrix: scipy.sparse.csr_matrix, tiles: tuple[int, int], folder: Path) -> da.Array:
    """Cut a matrix into tiles, write each to a file, and describe an array that reads them."""
    rows, columns = (
        np.linspace(0, size, count + 1, dtype=int)
        for size, count in zip(matrix.shape, tiles, strict=True)
    )
    folder.mkdir()
    grid = []
    for i in range(tiles[0]):
        grid.append([])
        for j in range(tiles[1]):
            tile = matrix[rows[i] : rows[i + 1], columns[j] : columns[j + 1]]
            path = folder / f"{i}-{j}.npz"
            scipy.sparse.save_npz(path, tile, compressed=False)
            lazy = dask.delayed(scipy.sparse.load_npz)(path)
            meta = scipy.sparse.csr_matrix((0, 0), dtype=matrix.dtype)
            grid[-1].append(da.from_delayed(lazy, tile.shape, meta=meta))
    return da.block(grid)


def run(product: da.Array, mode: str) -> tuple[scipy.sparse.csr_matrix, int, float]:
    """Compute on a fresh cluster; return the product, the bytes that moved, and the seconds."""
    with (
        dask_mlsched.LocalDeviceCluster(
            device_memory_limit="3MB", bandwidth="50MB/s", dashboard_address=":0"
        ) as cluster,
        Client(cluster) as client,
    ):
        handle = dask_mlsched.install(client, mode=mode)
        start = time.perf_counter()
        tiles = client.gather(client.compute(list(product.to_delayed().ravel())))
        seconds = time.perf_counter() - start
        workers = handle.status()["workers"].values()
    grid = np.array(tiles, dtype=object).reshape(product.numblocks)
    moved = sum(worker["bytes_loaded"] + worker["bytes_evicted"] for worker in workers)
    return scipy.sparse.bmat(grid, format="csr"), moved, seconds


def main() -> None:
    """Compute the coarse operator under Dask alone and under the extension."""
    r, a, p = two_levels()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        product = tiled(r, (COARSE, FINE), folder / "R").dot(
            tiled(a, (FINE, FINE), folder / "A").dot(tiled(p, (FINE, COARSE), folder / "P"))
        )
        alone, moved_alone, seconds_alone = run(product, "observe")
        found, moved, seconds = run(product, "manage")
    expected = r @ (a @ p)
    print(f"A: {a.shape[0]} rows, {a.nnz} entries; coarse operator: {expected.shape[0]} rows")
    print(f"results equal: {(found != alone).nnz == 0}")
    print(f"as scipy has it: {abs(found - expected).max() <= 1e-10 * abs(expected).max()}")
    print(f"Dask alone: {moved_alone / 1e6:6.1f} MB moved in {seconds_alone:.1f} s")
    print(f"managed:    {moved / 1e6:6.1f} MB moved in {seconds:.1f} s")


if __name__ == "__main__":
    main()
