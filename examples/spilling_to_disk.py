"""The same extension on an ordinary CPU cluster that spills to disk.

Dask's own worker store keeps arrays in memory and spills the oldest to disk;
from the first one on, the cluster is managed.

    python examples/spilling_to_disk.py
"""

from __future__ import annotations

import dask
import dask.array as da
import numpy as np
from distributed import Client, LocalCluster

import dask_mlsched

#: Spill from 30 MB of managed data on, and never look at the size of the process.
MEMORY = {
    "distributed.worker.memory.target": 0.03,
    "distributed.worker.memory.spill": False,
    "distributed.worker.memory.pause": False,
    "distributed.worker.memory.terminate": False,
}


def main() -> None:
    """Multiply two matrices of 32 MB each in 30 MB."""
    with (
        dask.config.set(MEMORY),
        LocalCluster(
            n_workers=1, threads_per_worker=1, memory_limit="1GB", dashboard_address=":0"
        ) as cluster,
        Client(cluster) as client,
    ):
        handle = dask_mlsched.install(client)
        a = da.random.default_rng(1).random((2000, 2000), chunks=(500, 500)).persist()
        b = da.random.default_rng(2).random((2000, 2000), chunks=(500, 500)).persist()
        total = (a @ b).sum().compute()
        expected = float(a.sum(axis=0).compute() @ b.sum(axis=1).compute())
        assert np.isclose(total, expected), (total, expected)
        print(f"sum of the product: {total:.6g}, as expected")

        status = handle.status()
        (worker,) = status["workers"].values()
        print(f"store: {worker['kind']}, managed: {status['managing']}")
        print(f"{worker['bytes_evicted'] / 1e6:.1f} MB written, {worker['bytes_loaded'] / 1e6:.1f} MB read")
        handle.uninstall()


if __name__ == "__main__":
    main()
