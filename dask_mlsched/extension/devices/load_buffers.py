"""Device memory for arrays that are loaded, which a copy may write to without delay.

CuPy's pool hands memory out in the order of one stream: a block that was given back while kernels
were still reading it may be handed out at once, because whatever is asked of that stream next waits
for them. A copy on another stream would have to wait as well, for all that was asked of the stream
by then, and so could not run beside it. Blocks that are kept here remember instead what had been
asked for when they were given back, mostly long ago, and the copy waits for that alone.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import Any, Final

#: So many blocks that nobody uses are kept at most. What leaves makes room for what comes, so they
#: are few; the rest goes back to CuPy's pool.
IDLE: Final = 4


class LoadBuffers:
    """Hands out blocks, and takes those back that nobody uses any more.

    Parameters
    ----------
    cupy
        The module.
    """

    def __init__(self, cupy: Any) -> None:
        self._cupy = cupy
        self._lock = threading.Lock()
        #: Number -> block, the one that was given back first, first.
        self._idle: OrderedDict[int, _Block] = OrderedDict()

    def take(self, nbytes: int, stream: Any) -> Any:
        """Return an array of so many bytes, which `stream` may write to from now on.

        Raises
        ------
        MemoryError
            The device has no memory.
        """
        block = self._find(nbytes)
        if block is None:
            block = _Block(self._cupy.cuda.alloc(nbytes), nbytes)
            # It may come from the pool with work on it that is not done.
            block.released = self._cupy.cuda.Stream.null.record()
        stream.wait_event(block.released)
        owner = _Lease(self, block)
        memory = self._cupy.cuda.UnownedMemory(block.memory.ptr, nbytes, owner)
        pointer = self._cupy.cuda.MemoryPointer(memory, 0)
        return self._cupy.ndarray((nbytes,), self._cupy.uint8, memptr=pointer)

    def _find(self, nbytes: int) -> _Block | None:
        with self._lock:
            for number, block in self._idle.items():
                if block.nbytes == nbytes:
                    del self._idle[number]
                    return block
        return None

    def give_back(self, block: _Block) -> None:
        """Keep a block that nobody reads any more, but for what was asked for before."""
        block.released = self._cupy.cuda.Stream.null.record()
        with self._lock:
            self._idle[id(block)] = block
            while len(self._idle) > IDLE:
                # In the order of the stream, as CuPy's pool expects it.
                self._idle.popitem(last=False)


class _Block:
    __slots__ = ("memory", "nbytes", "released")

    def __init__(self, memory: Any, nbytes: int) -> None:
        self.memory = memory
        self.nbytes = nbytes
        #: The event that tells that it may be written to.
        self.released: Any = None


class _Lease:
    """Lives as long as an array that uses a block, and gives it back."""

    __slots__ = ("_block", "_buffers")

    def __init__(self, buffers: LoadBuffers, block: _Block) -> None:
        self._buffers = buffers
        self._block = block

    def __del__(self) -> None:
        self._buffers.give_back(self._block)
