"""A cluster on this machine whose workers have an emulated device."""

from __future__ import annotations

from typing import Any

from distributed import LocalCluster

from dask_mlsched.extension.emulated_host_file import EmulatedHostFile
from dask_mlsched.extension.quantities import parse_bandwidth, parse_duration, parse_size


class LocalDeviceCluster(LocalCluster):
    """``distributed.LocalCluster`` whose workers keep their arrays in a :class:`EmulatedHostFile`.

    Each worker has a device of its own. Its host memory is neither a tier nor limited by the
    store: Dask's own spilling to disk is not there, but a worker that comes near its
    ``memory_limit`` still pauses, and a nanny still ends one that is over.

    Parameters
    ----------
    n_workers, threads_per_worker
        As for ``LocalCluster``; by default one worker with one thread, as for one GPU.
    device_memory_limit, bandwidth, latency
        Of each worker's device, as for :class:`EmulatedHostFile`.
    **kwargs
        Everything else that ``LocalCluster`` takes, except ``data``.

    Raises
    ------
    ValueError
        A parameter of the device is not a quantity of its kind, or not above zero.
    TypeError
        ``data`` was given.

    Examples
    --------
    >>> cluster = LocalDeviceCluster(2, device_memory_limit="64MB")  # doctest: +SKIP
    """

    def __init__(
        self,
        n_workers: int = 1,
        threads_per_worker: int = 1,
        *,
        device_memory_limit: int | str = "64MB",
        bandwidth: float | str = "1GB/s",
        latency: float | str = "10us",
        **kwargs: Any,
    ) -> None:
        if "data" in kwargs:
            raise TypeError(
                f"data={kwargs['data']!r} does not work: LocalDeviceCluster brings its own store; "
                "leave it out, or use distributed.LocalCluster"
            )
        # Parsed here, so that a mistake shows in the caller's process and not in every worker's.
        device = {
            "device_memory_limit": parse_size("device_memory_limit", device_memory_limit),
            "bandwidth": parse_bandwidth("bandwidth", bandwidth),
            "latency": parse_duration("latency", latency),
        }
        super().__init__(  # type: ignore[no-untyped-call]  # nothing excludes super()
            n_workers=n_workers,
            threads_per_worker=threads_per_worker,
            data=(EmulatedHostFile, device),
            **kwargs,
        )
