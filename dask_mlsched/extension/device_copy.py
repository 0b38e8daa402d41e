"""Copies between the emulated device and the host: real ones that take a set time.

A copy engine makes a real copy of every buffer of an array and then waits until
``latency + nbytes / bandwidth`` is over, with the GIL free, so that what else the worker does goes
on as it would beside a DMA transfer. Like one engine of a device, it makes one copy at a time.
"""

from __future__ import annotations

import copy
import sys
import threading
import time
from typing import Any

import numpy as np
from distributed.sizeof import safe_sizeof

from dask_mlsched.extension.moves import Direction, TierStatistics

#: ``time.sleep`` wakes some 60 us late on Linux, even from ``sleep(0)``, so the last stretch is
#: spun. That holds the GIL, for a fiftieth of the interval at which threads take turns.
_SPIN_SECONDS = 1e-4


class CopyEngine:
    """Copies arrays at a given bandwidth.

    Parameters
    ----------
    bandwidth
        Bytes per second.
    latency
        Seconds that each copy takes on top.
    beside
        Another engine of which no copy goes on while one of this does.
    """

    bandwidth: float
    latency: float

    #: Every copy so far. Time spent waiting for another thread's copy does not count.
    statistics: TierStatistics

    def __init__(self, bandwidth: float, latency: float, beside: CopyEngine | None = None) -> None:
        self.bandwidth = bandwidth
        self.latency = latency
        self.statistics = TierStatistics()
        self.busy: threading.Lock = threading.Lock() if beside is None else beside.busy

    def copy(self, value: Any, direction: Direction) -> Any:
        """Return a copy of ``value``, made in the time it takes, and count it."""
        return self.timed(value, direction)[0]

    def timed(self, value: Any, direction: Direction) -> tuple[Any, float]:
        """Make a copy as `copy` does; return it with the seconds that it took."""
        nbytes = safe_sizeof(value)
        with self.busy:
            start = time.perf_counter()
            result = copy_array(value)
            _wait_until(start + self.latency + nbytes / self.bandwidth)
            seconds = time.perf_counter() - start
            self.statistics.add(direction, nbytes, seconds)
        return result, seconds


def is_array(value: object) -> bool:
    """Whether a device would hold this: a numpy, scipy.sparse or sparse array.

    As for dask-cuda, a list, tuple, set or dict counts when one of its members does. An array of
    Python objects does not.
    """
    if isinstance(value, np.ndarray):
        return not value.dtype.hasobject
    if isinstance(value, list | tuple | set | frozenset):
        return any(is_array(member) for member in value)
    if isinstance(value, dict):
        return any(is_array(member) for member in value.values())
    return _is_sparse(value)


def _is_sparse(value: object) -> bool:
    # A module that was never imported has no arrays, and importing sparse takes a second.
    scipy_sparse = sys.modules.get("scipy.sparse")
    if scipy_sparse is not None and scipy_sparse.issparse(value):
        return True
    sparse = sys.modules.get("sparse")
    return sparse is not None and isinstance(value, sparse.SparseArray)


def copy_array(value: Any) -> Any:
    """Return a copy of an array, or a collection of arrays, that shares no memory with it.

    A view is copied whole, so that it does not keep its base alive; a broadcast array stays one.
    """
    if isinstance(value, np.ndarray):
        if type(value) is np.ndarray and 0 in value.strides:
            strip = value[tuple(slice(None) if stride else slice(1) for stride in value.strides)]
            return np.broadcast_to(strip.copy("K"), value.shape)
        return value.copy("K")
    if _is_sparse(value) and hasattr(value, "copy"):
        return value.copy()
    return copy.deepcopy(value)


def _wait_until(deadline: float) -> None:
    idle = deadline - time.perf_counter() - _SPIN_SECONDS
    if idle > 0:
        time.sleep(idle)
    while time.perf_counter() < deadline:
        pass
