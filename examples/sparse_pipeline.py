"""An existing dask.array pipeline on sparse chunks, and the one line that it needs.

The pipeline is PageRank as one writes it with dask.array, on chunks of ``scipy.sparse``: links
between pages, scaled by how many links a page has, and then ten steps of the power method, each of
which reads all chunks. They take twice the memory of the emulated device, so they move to the host
and back. It runs twice, on a fresh cluster each time: once while the extension only watches and
counts, and once while it decides what runs when.
Run it: python examples/sparse_pipeline.py
"""

import time

import dask.array as da
import numpy as np
import scipy.sparse
from dask.distributed import Client

import dask_mlsched

TILES, PAGES = 8, 2000  # chunks a side of the matrix, pages of one chunk

Matrix = scipy.sparse.csr_matrix


def read_links(block_id: tuple[int, int]) -> Matrix:
    """Make one chunk, in which a 1 at (i, j) is a link from j to i; a real program would read it.

    Most links stay among the pages of a site, the chunks on the diagonal.
    """
    rng = np.random.default_rng(block_id)
    density = 0.02 if block_id[0] == block_id[1] else 0.01
    links = scipy.sparse.random_array((PAGES, PAGES), density=density, format="csr", rng=rng)
    return scipy.sparse.csr_matrix(links.ceil())


def count(links: Matrix) -> np.ndarray:
    """Count the links of a chunk that each page has."""
    return np.asarray(links.sum(axis=0))


def share(links: Matrix, out: np.ndarray) -> Matrix:
    """Give each link its share of the rank of the page that it is on."""
    return links @ scipy.sparse.diags(1.0 / np.maximum(out.ravel(), 1.0))


def page_rank() -> da.Array:
    """Describe the pipeline. This is the user's program, and it knows nothing of the extension."""
    sizes = (PAGES,) * TILES
    meta = scipy.sparse.csr_matrix((0, 0))
    links = da.map_blocks(read_links, chunks=(sizes, sizes), dtype=float, meta=meta)
    dense = np.empty((0, 0))
    out = links.map_blocks(count, chunks=((1,) * TILES, sizes), dtype=float, meta=dense)
    shares = da.map_blocks(share, links, out.sum(axis=0, keepdims=True), dtype=float, meta=meta)

    pages = TILES * PAGES
    rank = da.full((pages, 1), 1.0 / pages, chunks=(PAGES, 1))
    for _ in range(10):
        rank = 0.15 / pages + 0.85 * shares.dot(rank)
    return rank


def run(mode: str) -> tuple[np.ndarray, int, float]:
    """Compute on a fresh cluster; return the ranks, the bytes that moved, and the seconds."""
    with (
        dask_mlsched.LocalDeviceCluster(
            device_memory_limit="18MB", bandwidth="100MB/s", dashboard_address=":0"
        ) as cluster,
        Client(cluster) as client,
    ):
        handle = dask_mlsched.install(client, mode=mode)  # the one line
        start = time.perf_counter()
        rank = page_rank().compute()
        seconds = time.perf_counter() - start
        workers = handle.status()["workers"].values()
    moved = sum(worker["bytes_loaded"] + worker["bytes_evicted"] for worker in workers)
    return rank, moved, seconds


def main() -> None:
    """Run it under Dask alone and under the extension."""
    alone, moved_alone, seconds_alone = run("observe")
    found, moved, seconds = run("manage")
    print(f"the ten best pages: {np.argsort(-found.ravel())[:10].tolist()}")
    print(f"results equal: {np.array_equal(found, alone)}")
    print(f"Dask alone: {moved_alone / 1e6:6.1f} MB moved in {seconds_alone:.1f} s")
    print(f"managed:    {moved / 1e6:6.1f} MB moved in {seconds:.1f} s")


if __name__ == "__main__":
    main()
