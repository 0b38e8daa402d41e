"""What a device's library compiles and sets up when it is first used, out of the way of a run."""

from __future__ import annotations

import numpy as np
import scipy.sparse

from dask_mlsched.benchmarks.block_products import multiply, multiply_add, random_tile
from dask_mlsched.benchmarks.device_arrays import CUPY, synchronize, to_device, to_host


def warm_up(library: str) -> None:
    """Do once, on tiny arrays, what the tasks of block products do; only CuPy needs it."""
    if library != CUPY:
        return
    for dtype in ("float32", "float64"):
        tile = random_tile((0,), (8, 8), dtype, library)
        to_host(multiply_add(multiply(tile, tile), tile, tile))
        entries = scipy.sparse.csr_matrix(np.eye(8, dtype=dtype))
        sparse = to_device(entries, library)
        to_host(multiply_add(multiply(sparse, sparse), sparse, sparse))
    synchronize(library)
