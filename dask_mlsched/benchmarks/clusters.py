"""The clusters of measured runs: one for each kind of store that workers keep their data in.

Every run has a cluster of its own, started for it and closed after it. Its workers' fast tier has
the same limit whatever the store; what lies below it, and what a move costs, is the store's.
"""

from __future__ import annotations

import importlib.util
import logging
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping, MutableMapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import dask
from dask.typing import Key
from distributed import LocalCluster
from distributed.spill import SpillBuffer

from dask_mlsched.benchmarks.device_arrays import CUPY, HOST, require_device
from dask_mlsched.benchmarks.disk import require_disk
from dask_mlsched.benchmarks.optional import MissingDependencyError
from dask_mlsched.config import Scope
from dask_mlsched.extension.cluster import LocalDeviceCluster
from dask_mlsched.extension.device_store import DeviceStore
from dask_mlsched.extension.devices.cuda import PinnedCopy
from dask_mlsched.extension.emulated_host_file import EmulatedHostFile

#: The store of a run that names none.
HOST_FILE: Final = "host-file"


@dataclass(frozen=True)
class Conditions:
    """What runs have in common."""

    #: Of each worker's fast tier, in bytes: a device's memory, or the host's where that is the
    #: fast tier.
    device_memory_limit: int
    #: Bytes per second; of emulated devices alone, the others are as fast as they are.
    bandwidth: float
    #: Seconds; likewise.
    latency: float = 1e-5
    workers: int = 1
    threads_per_worker: int = 1
    #: Seconds after which a run counts as stuck.
    timeout: float = 600.0
    #: Where workers that spill to disk make their folders; None: where temporary files go.
    directory: Path | None = None


@dataclass(frozen=True)
class Store:
    """What a worker keeps its data in, and how to start a cluster of such workers."""

    name: str
    #: For people, a few words.
    description: str
    start: Callable[[Conditions], AbstractContextManager[LocalCluster]]
    #: Whether copies take as long as `Conditions.bandwidth` and `Conditions.latency` say.
    emulated: bool = False
    #: The module whose arrays the store keeps in its fast tier.
    library: str = HOST
    #: When the plugin takes up work: see docs/configuration.md.
    scope: Scope = "tiered"
    #: Whether the slow tier is a disk.
    on_disk: bool = False

    def require(self, conditions: Conditions, working_set: int) -> None:
        """Complain, before anything runs, if runs of so many bytes cannot be had here.

        Raises
        ------
        MissingDependencyError
            If a package is missing.
        MissingDeviceError
            If there is no device for the arrays.
        DiskError
            If what is to be the disk is none, or too full.
        """
        require_device(self.library)
        if self.on_disk:
            require_disk(conditions.directory, working_set)


@contextmanager
def emulated(conditions: Conditions, **store: Any) -> Iterator[LocalCluster]:
    """Start workers with emulated devices; `store` goes to `LocalDeviceCluster`."""
    with LocalDeviceCluster(
        conditions.workers,
        conditions.threads_per_worker,
        device_memory_limit=conditions.device_memory_limit,
        bandwidth=conditions.bandwidth,
        latency=conditions.latency,
        **store,
        **_quiet(),
    ) as cluster:
        yield cluster


@contextmanager
def spilling(conditions: Conditions) -> Iterator[LocalCluster]:
    """Start workers of plain Dask, which keep in files what exceeds their memory."""
    settings = {
        # The store counts its arrays: it writes the oldest to disk when they exceed the limit.
        "distributed.worker.memory.target": 1.0,
        # What these watch is the process, whose Python alone exceeds a small limit.
        "distributed.worker.memory.spill": False,
        "distributed.worker.memory.pause": False,
        "distributed.worker.memory.terminate": False,
    }
    # What the run before left for the kernel to write must not delay this one.
    os.sync()
    with (
        dask.config.set(settings),
        tempfile.TemporaryDirectory(prefix="mlsched-", dir=conditions.directory) as folder,
        LocalCluster(
            n_workers=conditions.workers,
            threads_per_worker=conditions.threads_per_worker,
            memory_limit=conditions.device_memory_limit,
            local_directory=folder,
            **_quiet(),
        ) as cluster,
    ):
        yield cluster


@contextmanager
def cuda(conditions: Conditions, *, ours: bool = False) -> Iterator[LocalCluster]:
    """Start dask-cuda's workers, one for each GPU, with its own store or `ours`.

    If RMM is installed they allocate from its pool, CuPy too, as dask-cuda recommends.
    """
    try:
        from dask_cuda import LocalCUDACluster
        from dask_cuda.device_host_file import DeviceHostFile
    except ImportError as error:
        msg = (
            f"dask_cuda cannot be imported ({error}), and it starts workers on GPUs; "
            'install it with: pip install "dask-mlsched[cuda13]"'
        )
        raise MissingDependencyError(msg) from error
    pool: dict[str, Any] = {}
    if importlib.util.find_spec("rmm") is not None:
        pool = {"rmm_async": True, "rmm_allocator_external_lib_list": [CUPY]}
    limit = conditions.device_memory_limit
    with LocalCUDACluster(
        n_workers=conditions.workers,
        threads_per_worker=conditions.threads_per_worker,
        # The store's alone counts; the cluster would take the default for a share of the GPU.
        device_memory_limit=limit,
        data=(DeviceStore if ours else DeviceHostFile, {"device_memory_limit": limit}),
        **pool,
        **_quiet(),
    ) as cluster:
        yield cluster


def _quiet() -> dict[str, Any]:
    return {
        "dashboard_address": None,
        # Without a dashboard, too, the scheduler opens a port: any that is free.
        "scheduler_kwargs": {"dashboard_address": ":0"},
        # A worker that is busy while its cluster closes logs an error. Errors that matter
        # end the run; those of our own plugin have a logger of their own.
        "silence_logs": logging.CRITICAL,
    }


#: By name. A further store is one more line here, and a branch in `peek`.
STORES: Mapping[str, Store] = {
    store.name: store
    for store in (
        Store(HOST_FILE, "an emulated device with a store like dask-cuda's", emulated, True),
        Store("device", "an emulated device with ours", partial(emulated, store="device"), True),
        # Such a worker counts as one of two tiers from its first eviction on, unless told.
        Store("disk", "host memory over disk", spilling, scope="all", on_disk=True),
        Store("dask-cuda", "a GPU with dask-cuda's store", cuda, library=CUPY),
        Store("cuda", "a GPU with ours", partial(cuda, ours=True), library=CUPY),
    )
}


def find_store(name: str) -> Store:
    """Look a store up.

    Raises
    ------
    ValueError
        If there is none of that name.
    """
    if name not in STORES:
        msg = f"unknown store {name!r}; expected one of {', '.join(STORES)}"
        raise ValueError(msg)
    return STORES[name]


def peek(data: MutableMapping[Key, object], keys: Sequence[Key]) -> dict[Key, Any]:
    """Return those of `keys` that a worker's store has, without moving anything between its tiers.

    Arrays of a device may stay on it.
    """
    return {key: _peek(data, key) for key in keys if key in data}


def _peek(data: MutableMapping[Key, object], key: Key) -> object:
    if isinstance(data, DeviceStore):
        value = data.peek(key)
        # On the host, what a GPU's copy is made of: put together on the GPU, beside the store.
        return data.device.to_device(value)[0] if isinstance(value, PinnedCopy) else value
    if isinstance(data, EmulatedHostFile):
        tiers = (data.others, data.device, data.host)
        return next(tier[key] for tier in tiers if key in tier)
    if isinstance(data, SpillBuffer):
        # The dictionary within: to ask the tier itself would count as a use.
        return data.fast.d[key] if key in data.fast else data.slow[key]
    return _peek_dask_cuda(data, key)


def _peek_dask_cuda(data: Any, key: Key) -> object:
    """Look into dask-cuda's `DeviceHostFile`; what is on the host is read into a new array."""
    if key in data.others:
        return data.others[key]
    if key not in data.device_keys:
        return data.host_buffer[key]
    return data.device[key] if key in data.device else data.device_host_func[key]
