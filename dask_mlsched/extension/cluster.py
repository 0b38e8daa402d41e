"""A cluster on this machine whose workers have an emulated device."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, TypeAlias

from distributed import LocalCluster

from dask_mlsched.extension.device_store import DeviceStore
from dask_mlsched.extension.devices import EmulatedDevice
from dask_mlsched.extension.emulated_host_file import EmulatedHostFile
from dask_mlsched.extension.quantities import parse_bandwidth, parse_duration, parse_size

#: Where workers keep their arrays.
Store: TypeAlias = Literal["host-file", "device"]


class LocalDeviceCluster(LocalCluster):
    """``distributed.LocalCluster`` whose workers have an emulated device, each one of its own.

    With ``store="host-file"`` (the default) they keep their arrays as dask-cuda's workers do; with
    ``store="device"``, in our own `DeviceStore`. Host memory is neither a tier nor limited
    by the store: Dask's own spilling to disk is not there, but a worker that comes near its
    ``memory_limit`` still pauses, and a nanny still ends one that is over.

    Parameters
    ----------
    n_workers, threads_per_worker
        As for ``LocalCluster``; by default one worker with one thread, as for one GPU.
    device_memory_limit, bandwidth, latency
        Of each worker's device, as for `EmulatedHostFile`.
    store
        ``"host-file"`` or ``"device"``.
    **kwargs
        Everything else that ``LocalCluster`` takes, except ``data``.

    Raises
    ------
    ValueError
        A parameter of the device is not a quantity of its kind, or not above zero, or there is
        no such store.
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
        store: Store = "host-file",
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
        make: Callable[..., Any]
        match store:
            case "host-file":
                make = EmulatedHostFile
            case "device":
                make = _device_store
            case _:
                raise ValueError(f"store is {store!r}; expected 'host-file' or 'device'")
        super().__init__(  # type: ignore[no-untyped-call]  # nothing excludes super()
            n_workers=n_workers,
            threads_per_worker=threads_per_worker,
            data=(make, device),
            **kwargs,
        )


def _device_store(
    worker_local_directory: str, device_memory_limit: int, bandwidth: float, latency: float
) -> DeviceStore:
    # In the worker: those of one process would otherwise share the object, and so the device.
    device = EmulatedDevice(bandwidth, latency)
    return DeviceStore(
        worker_local_directory, device_memory_limit=device_memory_limit, device=device
    )
