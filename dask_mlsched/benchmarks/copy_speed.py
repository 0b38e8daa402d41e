"""How fast a GPU copies to and from pinned host memory: what a store's copies are measured by."""

from __future__ import annotations

import importlib
from statistics import median
from typing import Any

from dask_mlsched.benchmarks.device_arrays import CUPY


def measure_copies(nbytes: int = 256_000_000, repeats: int = 7) -> dict[str, float]:
    """Time copies of `nbytes` by the device's own clock; bytes per second, each way, the medians.

    Takes so much of the device's memory, and gives it back.
    """
    cupy = importlib.import_module(CUPY)
    cuda = cupy.cuda
    pinned = cuda.alloc_pinned_memory(nbytes)
    on_device = cupy.zeros(nbytes, dtype="u1")
    address = on_device.data.ptr
    runtime = cuda.runtime

    def seconds(target: int, source: int, kind: int) -> float:
        start, end = cuda.Event(), cuda.Event()
        stream = cuda.get_current_stream()
        start.record(stream)
        runtime.memcpyAsync(target, source, nbytes, kind, stream.ptr)
        end.record(stream)
        end.synchronize()
        return float(cuda.get_elapsed_time(start, end)) / 1e3

    def speed(*copy: Any) -> float:
        seconds(*copy)  # the first touches the memory
        return nbytes / median(seconds(*copy) for _ in range(repeats))

    found = {
        "to_device": speed(address, pinned.ptr, runtime.memcpyHostToDevice),
        "to_host": speed(pinned.ptr, address, runtime.memcpyDeviceToHost),
    }
    del on_device
    cupy.get_default_memory_pool().free_all_blocks()
    return found
