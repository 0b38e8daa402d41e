"""Host memory over disk: the slow tiers of a device's store.

Within its limit, everything stays in memory; beyond it, what was used longest ago goes to disk, as
distributed writes it there. An object is in one of the two places. If the disk fails, it stays in
memory until the next one comes; what cannot be serialized stays there for good, and others go.
Each failure is counted, and the first is told of.
"""

from __future__ import annotations

import logging
import shutil
import tempfile
import threading
import weakref
from contextlib import suppress
from pathlib import Path
from typing import Any

import zict
from dask.typing import Key
from distributed.protocol.serialize import deserialize_bytes, serialize_bytelist
from distributed.sizeof import safe_sizeof
from distributed.spill import AnyKeyFile

from dask_mlsched.config import spill_compression

logger = logging.getLogger(__name__)


class HostTier:
    """Objects by number, in memory or on disk.

    Threads may share it, each at work on objects of its own.

    Parameters
    ----------
    limit
        Bytes that stay in memory; None for all, which needs no disk.
    directory
        For a folder of files, which goes when the tier does; by default where temporary files go.
    """

    #: Objects that could not be written to disk and stayed in memory.
    disk_failures: int

    def __init__(self, limit: int | None, directory: str | None = None) -> None:
        self.limit = limit
        self.disk_failures = 0
        self._disk: zict.Func[Key, Any, Any] | None = None
        if limit is not None:
            self._folder = Path(tempfile.mkdtemp(prefix="device-store-", dir=directory))
            weakref.finalize(self, shutil.rmtree, self._folder, ignore_errors=True)
            files: Any = AnyKeyFile(self._folder)
            self._disk = zict.Func(_dump, deserialize_bytes, files)
        self._memory: zict.LRU[Key, Any] = zict.LRU(
            float("inf") if limit is None else limit,
            {},
            weight=lambda _number, value: safe_sizeof(value),
            on_evict=[self._write],
            on_cancel_evict=[self._unwrite],
        )
        #: What no serializer takes, with its bytes.
        self._unwritable: dict[Key, tuple[Any, int]] = {}
        #: One thread writes at a time: others would look again and again if zict was ready.
        self._writing = threading.Lock()

    @property
    def memory_bytes(self) -> int:
        """What is in memory."""
        unwritable = sum(nbytes for _, nbytes in list(self._unwritable.values()))
        return int(self._memory.total_weight) + unwritable

    def numbers(self) -> set[Key]:
        """Return the numbers of all objects."""
        return set(self._memory) | set(self._unwritable) | self.on_disk()

    def on_disk(self) -> set[Key]:
        """Return the numbers of the objects that are on disk."""
        return set() if self._disk is None else set(self._disk)

    def in_memory(self, number: int) -> bool:
        """Tell whether an object is there and takes memory."""
        return number in self._memory or number in self._unwritable

    def has_room(self, nbytes: int) -> bool:
        """Tell whether so much more stays in memory without anything going to disk for it."""
        return self.limit is None or self.memory_bytes + nbytes <= self.limit

    def put(self, number: int, value: object) -> None:
        """Take in an object; others go to disk for it, or it goes there itself."""
        self._memory.set_noevict(number, value)
        if self.limit is None:
            return
        with self._writing:
            try:
                while self.memory_bytes > self.limit:
                    self._memory.evict()
            except KeyError:
                pass  # there is no more that could go
            except (OSError, MemoryError) as error:
                self._failed(error)

    def get(self, number: int) -> Any:
        """Return an object, which stays where it is.

        Raises
        ------
        KeyError
            There is none of this number.
        OSError
            The disk cannot be read.
        """
        try:
            return self._memory[number]
        except KeyError:
            if self._disk is None:
                raise
        if number in self._unwritable:
            return self._unwritable[number][0]
        return self._disk[number]

    def discard(self, number: int) -> None:
        """Forget an object, if there is one of this number."""
        self._memory.discard(number)
        self._unwritable.pop(number, None)
        if self._disk is not None:
            with suppress(OSError):  # its file goes with the folder
                self._disk.discard(number)

    def _write(self, number: Key, value: object) -> None:
        assert self._disk is not None
        try:
            self._disk[number] = value
        except (OSError, MemoryError):
            # Of a file that could not be written to its end, the beginning is still there.
            for path in self._folder.glob(f"{number}#*"):
                path.unlink(missing_ok=True)
            raise
        except Exception as error:  # noqa: BLE001 - of any serializer
            self._unwritable[number] = value, safe_sizeof(value)
            self._failed(error)

    def _failed(self, error: Exception) -> None:
        self.disk_failures += 1
        if self.disk_failures == 1:
            logger.warning(
                "an object could not be written to disk (%s: %s) and stays in host memory, "
                "beyond its limit of %s bytes: make room there, or raise host_memory_limit",
                type(error).__name__,
                error,
                self.limit,
            )

    def _unwrite(self, number: Key, _value: object) -> None:
        """Forget what was written of an object that was discarded meanwhile."""
        assert self._disk is not None
        self._unwritable.pop(number, None)
        self._disk.discard(number)


def _dump(value: object) -> Any:
    return serialize_bytelist(value, compression=spill_compression(), on_error="raise")
