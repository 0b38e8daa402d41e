"""An array on a device that is not there, for dask-cuda's real store on a machine without a GPU.

It is a numpy array of a class of its own, which dask-cuda is told to keep on the device and
distributed how to bring to the host and back. Importing the module registers all that, so workers
do it when they first unpickle a `StandInArray`. Ordinary dask.array code keeps the class: start
from `dask.array.map_blocks(to_device)`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from distributed.protocol import dask_deserialize, dask_serialize

#: What makes dask-cuda start without a GPU; set before its cluster is made.
ENVIRONMENT = {
    "DASK_CUDA_TEST_DISABLE_DEVICE_SPECIFIC": "1",
    "DASK_CUDA_TEST_SINGLE_GPU": "1",
    "CUDA_VISIBLE_DEVICES": "0",
}


class StandInArray(np.ndarray[Any, Any]):
    """A numpy array that passes for one in device memory."""


def to_device(array: np.ndarray[Any, Any]) -> StandInArray:
    """Return a copy on the device."""
    return array.copy().view(StandInArray)


def asarray(array: np.ndarray[Any, Any]) -> StandInArray:
    """Return a copy on the device: what the benchmarks call a library by."""
    return to_device(array)


def arange(*args: Any, **kwargs: Any) -> StandInArray:
    """Make an array on the device; likewise."""
    return to_device(np.arange(*args, **kwargs))


def to_host(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Return a copy on the host."""
    return np.array(array, subok=False)


@dask_serialize.register(StandInArray)
def _serialize(array: StandInArray) -> tuple[dict[str, Any], list[memoryview]]:
    # Copied, like all that leaves a device: the frame shares nothing with the array.
    frame = np.ascontiguousarray(to_host(array))
    return {"shape": array.shape, "dtype": array.dtype.str}, [memoryview(frame).cast("B")]


@dask_deserialize.register(StandInArray)
def _deserialize(header: dict[str, Any], frames: list[Any]) -> StandInArray:
    host = np.frombuffer(frames[0], dtype=header["dtype"]).reshape(header["shape"])
    return to_device(host)


try:
    from dask_cuda.is_device_object import is_device_object
except ImportError:
    pass  # our own store takes it for the numpy array that it is
else:
    is_device_object.register(StandInArray, lambda _: True)
