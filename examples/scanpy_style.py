"""Preprocessing of single-cell counts as scanpy does it, on CSR chunks larger than the device.

The steps are those of ``scanpy.pp``: counts per cell are scaled to the same total, log1p is taken,
the genes that vary most are chosen, these are scaled to unit variance, and the principal components
come from their covariance, without ever making the sparse counts dense. The chunks are
``scipy.sparse.csr_matrix``; no scanpy is needed. The normalised counts stay on the cluster, as with
``adata.X.persist()``; they take two and a half times the memory of the emulated device.
Run it: python examples/scanpy_style.py
"""

import time

import dask
import numpy as np
import scipy.sparse
from dask.delayed import Delayed, delayed
from dask.distributed import Client

import dask_mlsched

CHUNKS, CELLS, GENES = 40, 1000, 2000  # chunks, cells of each, and genes
HIGHLY_VARIABLE, COMPONENTS = 400, 5

Matrix = scipy.sparse.csr_matrix


def read_counts(number: int) -> Matrix:
    """Make one chunk of counts, cells of four kinds; a real program would read it."""
    rng = np.random.default_rng(number)
    usual = np.random.default_rng(0).gamma(0.2, 0.3, size=(4, GENES))
    return scipy.sparse.csr_matrix(rng.poisson(usual[rng.integers(4, size=CELLS)]), dtype=float)


def normalize(counts: Matrix) -> Matrix:
    """Scale each cell to 10,000 counts, and take log1p (``normalize_total``, ``log1p``)."""
    total = np.asarray(counts.sum(axis=1)).ravel()
    return scipy.sparse.csr_matrix(scipy.sparse.diags(1e4 / total) @ counts).log1p()


def moments(x: Matrix) -> np.ndarray:
    """Sum each gene and its square over the cells of a chunk."""
    return np.vstack([np.asarray(x.sum(axis=0)), np.asarray(x.multiply(x).sum(axis=0))])


def gram(x: Matrix, genes: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """Multiply a chunk's scaled genes with each other: its share of the covariance."""
    scaled = x[:, genes] @ scipy.sparse.diags(1.0 / scale)
    return (scaled.T @ scaled).toarray()


def add(*parts: np.ndarray) -> np.ndarray:
    """Add arrays."""
    return np.sum(parts, axis=0)


def total(parts: list[Delayed]) -> Delayed:
    """Add up what the chunks have, eight at a time."""
    while len(parts) > 1:
        parts = [delayed(add)(*parts[n : n + 8]) for n in range(0, len(parts), 8)]
    return parts[0]


def explained_variance() -> np.ndarray:
    """Preprocess; return the variances of the first components. This is the user's program."""
    x = list(dask.persist(*(delayed(normalize)(delayed(read_counts)(n)) for n in range(CHUNKS))))
    cells = CHUNKS * CELLS

    sums, squares = total([delayed(moments)(chunk) for chunk in x]).compute() / cells
    variance = squares - sums**2
    genes = np.sort(np.argsort(-variance)[:HIGHLY_VARIABLE])  # highly_variable_genes
    scale = np.sqrt(variance[genes])  # scale
    mean = sums[genes] / scale

    products = total([delayed(gram)(chunk, genes, scale) for chunk in x]).compute() / cells
    covariance = products - np.outer(mean, mean)  # pca
    return np.linalg.eigvalsh(covariance)[::-1][:COMPONENTS]


def run(mode: str) -> tuple[np.ndarray, int, float]:
    """Preprocess on a fresh cluster; return the variances, the bytes moved, and the seconds."""
    with (
        dask_mlsched.LocalDeviceCluster(
            device_memory_limit="30MB", bandwidth="100MB/s", dashboard_address=":0"
        ) as cluster,
        Client(cluster) as client,
    ):
        handle = dask_mlsched.install(client, mode=mode)
        start = time.perf_counter()
        variances = explained_variance()
        seconds = time.perf_counter() - start
        workers = handle.status()["workers"].values()
    moved = sum(worker["bytes_loaded"] + worker["bytes_evicted"] for worker in workers)
    return variances, moved, seconds


def main() -> None:
    """Preprocess under Dask alone and under the extension."""
    alone, moved_alone, seconds_alone = run("observe")
    found, moved, seconds = run("manage")
    print(f"variance of the first components: {found.round(2).tolist()}")
    print(f"results equal: {np.array_equal(found, alone)}")
    print(f"Dask alone: {moved_alone / 1e6:6.1f} MB moved in {seconds_alone:.1f} s")
    print(f"managed:    {moved / 1e6:6.1f} MB moved in {seconds:.1f} s")


if __name__ == "__main__":
    main()
