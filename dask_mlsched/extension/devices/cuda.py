"""The CUDA device: arrays of CuPy and of whatever else distributed can send between GPUs.

An array is taken apart as for sending: a header, and buffers on the device. Each buffer is copied
to or from pinned host memory on a stream of its own, beside what computes. Importing this needs no
CUDA; making a device does.

On the way out, the copy waits for what was asked of the default stream before, which may still be
making the array. On the way in, it waits for what its memory was used for before (`load_buffers`).
Tasks that use streams of their own must wait for them before they end, as for any other store.
"""

from __future__ import annotations

import sys
import threading
import time
from typing import Any

from distributed.protocol.serialize import deserialize, serialize
from distributed.sizeof import safe_sizeof

from dask_mlsched.extension.devices.load_buffers import LoadBuffers
from dask_mlsched.extension.sparse import register_serialization


class PinnedCopy:
    """An array on the host: how to put it together, and its buffers, of which some were pinned."""

    def __init__(self, header: dict[str, Any], frames: list[Any], on_device: list[bool]) -> None:
        self.header = header
        self.frames = frames
        #: Which of the frames came from the device.
        self.on_device = on_device

    def __sizeof__(self) -> int:
        """Return the bytes of all buffers."""
        return sum(map(safe_sizeof, self.frames))


class CudaDevice:
    """The GPU that is current in the process.

    Raises
    ------
    ImportError
        CuPy is not installed.
    RuntimeError
        There is no GPU.
    """

    name = "cuda"

    def __init__(self) -> None:
        try:
            import cupy
        except ImportError as error:
            msg = "device is 'cuda' and CuPy is not installed; install it, or use device='emulated'"
            raise ImportError(msg) from error
        if not cupy.is_available():
            msg = "device is 'cuda' and there is no GPU; expected one, or use device='emulated'"
            raise RuntimeError(msg)
        register_serialization()
        self._cupy = cupy
        self._pinned = cupy.cuda.PinnedMemoryPool()
        self._buffers = LoadBuffers(cupy)
        # Apart from the legacy default stream, which waits for every other stream.
        self._out = cupy.cuda.Stream(non_blocking=True)
        self._in = cupy.cuda.Stream(non_blocking=True)
        self._copying_out = threading.Lock()
        self._copying_in = threading.Lock()

    def __reduce__(self) -> tuple[Any, ...]:
        """Travel to a worker as what it is: the GPU there."""
        return CudaDevice, ()

    def owns(self, value: object) -> bool:
        """Whether it is in device memory, or a list, tuple, set or dict with such a thing in it."""
        if hasattr(value, "__cuda_array_interface__"):
            return True
        if isinstance(value, list | tuple | set | frozenset):
            return any(map(self.owns, value))
        if isinstance(value, dict):
            return any(map(self.owns, value.values()))
        cudf = sys.modules.get("cudf")
        if cudf is not None and isinstance(value, cudf.DataFrame | cudf.Series | cudf.BaseIndex):
            return True
        sparse = sys.modules.get("cupyx.scipy.sparse")
        return sparse is not None and sparse.issparse(value)

    def to_host(self, value: Any) -> tuple[PinnedCopy, float]:
        """Copy the buffers of an array into pinned memory."""
        header, frames = serialize(value, serializers=("cuda", "dask", "pickle"), on_error="raise")
        on_device = [hasattr(frame, "__cuda_array_interface__") for frame in frames]
        with self._copying_out, _range("mlsched evict"):
            start = time.perf_counter()
            self._after_computing(self._out)
            copies = [
                self._buffer_out(frame) if there else frame
                for frame, there in zip(frames, on_device, strict=True)
            ]
            self._out.synchronize()
            return PinnedCopy(header, copies, on_device), time.perf_counter() - start

    def to_device(self, copy: PinnedCopy) -> tuple[Any, float]:
        """Copy the buffers to the device, and put the array together."""
        with self._copying_in, _range("mlsched load"):
            start = time.perf_counter()
            buffers = [
                self._buffer_in(frame) if there else frame
                for frame, there in zip(copy.frames, copy.on_device, strict=True)
            ]
            self._in.synchronize()
            seconds = time.perf_counter() - start
        return deserialize(copy.header, buffers), seconds

    def _buffer_out(self, frame: Any) -> Any:
        """Begin to copy one buffer; return the bytes in pinned memory that it goes to."""
        import numpy as np

        buffer = self._cupy.asarray(frame).reshape(-1).view(self._cupy.uint8)
        if not buffer.nbytes:
            return np.empty(0, np.uint8)
        memory = self._pinned.malloc(buffer.nbytes)
        host = np.frombuffer(memory, np.uint8, buffer.nbytes)
        buffer.data.copy_to_host_async(host.ctypes.data, buffer.nbytes, self._out)
        return host

    def _buffer_in(self, frame: Any) -> Any:
        """Begin to copy one buffer; return the memory on the device that it goes to."""
        if not frame.nbytes:
            return self._cupy.empty(0, self._cupy.uint8)
        buffer = self._buffers.take(frame.nbytes, self._in)
        buffer.data.copy_from_host_async(frame.ctypes.data, frame.nbytes, self._in)
        return buffer

    def _after_computing(self, stream: Any) -> None:
        """Have a stream wait for what was asked of the default stream until now."""
        stream.wait_event(self._cupy.cuda.Stream.null.record())


def _range(name: str) -> Any:
    """Mark a copy for NVIDIA's profilers, which dask-cuda brings the means for."""
    import nvtx  # type: ignore[import-not-found,unused-ignore]  # comes with dask-cuda

    return nvtx.annotate(name, color="green" if name.endswith("load") else "red", domain="mlsched")
