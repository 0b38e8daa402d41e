"""A sparse matrix product that does not fit on the device, with and without the extension.

The program is ordinary dask.array code on chunks of ``scipy.sparse``. The extension needs one line,
``install(client)``. Run it: python examples/sparse_product.py
"""

import dask.array as da
import numpy as np
import scipy.sparse
from dask.distributed import Client

import dask_mlsched

TILES = 8
SIZE = 300


def make_tile(block_id: tuple[int, int]) -> scipy.sparse.csr_matrix:
    """Make one chunk of the matrix; a real program would read it."""
    rng = np.random.default_rng(block_id)
    tile = scipy.sparse.random_array((SIZE, SIZE), density=0.02, format="csr", rng=rng)
    return scipy.sparse.csr_matrix(tile)


def largest_entry(tile: scipy.sparse.csr_matrix) -> np.ndarray:
    """Reduce a chunk of the product to one number."""
    return np.array([[tile.max()]])


def square_of_matrix() -> da.Array:
    """Describe A·A, and the largest entry of each of its chunks."""
    a = da.map_blocks(
        make_tile,
        chunks=((SIZE,) * TILES, (SIZE,) * TILES),
        dtype=float,
        meta=scipy.sparse.csr_matrix((0, 0)),
    )
    return a.dot(a).map_blocks(largest_entry, chunks=(1, 1), dtype=float, meta=np.empty((0, 0)))


def main() -> None:
    """Compute it twice on a device that is several times too small."""
    with (
        dask_mlsched.LocalDeviceCluster(
            device_memory_limit="700kB", bandwidth="20MB/s", dashboard_address=":0"
        ) as cluster,
        Client(cluster) as client,
    ):
        without = square_of_matrix().compute()

        handle = dask_mlsched.install(client)
        found = square_of_matrix().compute()
        status = handle.status()
        handle.uninstall()

    (device,) = status["workers"].values()
    print(f"largest entry: {found.max():.6f}, results equal: {(found == without).all()}")
    print(f"decisions: {status['decisions']}, holds: {status['holds']}")
    print(f"loaded {device['bytes_loaded']:,} bytes, evicted {device['bytes_evicted']:,} bytes")


if __name__ == "__main__":
    main()
