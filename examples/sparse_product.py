"""A product of sparse matrices on a device that is too small for it.

Ordinary dask.array code on chunks of scipy.sparse; the only line for the
scheduler is `install(client)`.

    python examples/sparse_product.py
"""

from __future__ import annotations

import dask.array as da
import numpy as np
import scipy.sparse
from distributed import Client, wait

import dask_mlsched

TILES, TILE = 8, 400


def tile(block_id: tuple[int, int], seed: int) -> scipy.sparse.csr_matrix:
    """Make one tile, the same one for the same seed."""
    rng = np.random.default_rng([seed, *block_id])
    return scipy.sparse.random(TILE, TILE, density=0.05, random_state=rng, format="csr")


def sparse_matrix(seed: int) -> da.Array:
    """Make a sparse matrix of TILES x TILES chunks."""
    chunks = ((TILE,) * TILES,) * 2
    meta = scipy.sparse.csr_matrix((0, 0))
    return da.map_blocks(tile, seed=seed, chunks=chunks, meta=meta, dtype=float)


def main() -> None:
    """Multiply, check one tile of the result, and show what had to move for it."""
    with (
        dask_mlsched.LocalDeviceCluster(
            n_workers=1, device_memory_limit="6MB", bandwidth="100MB/s", dashboard_address=":0"
        ) as cluster,
        Client(cluster) as client,
    ):
        handle = dask_mlsched.install(client)
        product = sparse_matrix(1).dot(sparse_matrix(2)).persist()
        wait(product)
        corner = product.blocks[0, 0].compute()

        expected = sum(tile((0, k), 1) @ tile((k, 0), 2) for k in range(TILES))
        assert abs(corner - expected).max() < 1e-10
        print(f"the corner of the product has {corner.nnz} entries, as scipy has it")

        status = handle.status()
        for address, worker in status["workers"].items():
            print(
                f"{address}: {worker['bytes_loaded'] / 1e6:.1f} MB loaded, "
                f"{worker['bytes_evicted'] / 1e6:.1f} MB evicted"
            )
        print(f"{status['decisions']} decisions, {status['holds']} holds")
        handle.uninstall()


if __name__ == "__main__":
    main()
