"""A cluster without GPUs whose workers spill to disk: the same line serves it.

Dask's workers keep what does not fit in memory in files, and read it again when it is needed. To
the extension, memory is the fast tier and the disk is the slow one.
Run it: python examples/spilling_to_disk.py
"""

import dask
import dask.array as da
from dask.distributed import Client, LocalCluster

import dask_mlsched


def main() -> None:
    """Multiply two matrices that take more memory than a worker may use."""
    # A worker begins to spill at 60 % of its memory limit, counting its arrays. The thresholds that
    # watch the whole process are switched off, so that the example may be small.
    thresholds = {
        "distributed.worker.memory.target": 0.6,
        "distributed.worker.memory.spill": False,
        "distributed.worker.memory.pause": False,
        "distributed.worker.memory.terminate": False,
    }
    with (
        dask.config.set(thresholds),
        LocalCluster(
            n_workers=1, threads_per_worker=1, memory_limit="40MB", dashboard_address=":0"
        ) as cluster,
        Client(cluster) as client,
    ):
        handle = dask_mlsched.install(client)
        x = da.random.default_rng(0).random((1600, 1600), chunks=400)
        y = (x @ x.T).persist()
        symmetric = abs(y - y.T).max().compute() < 1e-9
        status = handle.status()
        handle.uninstall()

    (worker,) = status["workers"].values()
    print(f"symmetric: {symmetric}")
    print(f"store: {worker['kind']}, {worker['limit']:,} bytes of memory")
    print(f"decisions: {status['decisions']}, holds: {status['holds']}")
    print(f"read {worker['bytes_loaded']:,} bytes, wrote {worker['bytes_evicted']:,} bytes")


if __name__ == "__main__":
    main()
