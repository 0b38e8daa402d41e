"""Where the bytes of traces go: memory, files that grow, and files that appear at once."""

from __future__ import annotations

import contextlib
import itertools
import os
import time
from io import FileIO
from pathlib import Path
from typing import Final, Protocol

SUFFIX: Final = ".mlsched-trace"

#: Tells the recordings of one process apart.
_NUMBERS = itertools.count(1)


class Store(Protocol):
    """Holds one trace while it is being made."""

    @property
    def where(self) -> str:
        """Say where it is, for people."""
        ...

    def write(self, data: bytes) -> None:
        """Append bytes, all or none of them."""
        ...

    def read(self) -> bytes:
        """Return all that was written."""
        ...

    def close(self) -> None:
        """Take no more; what there is can still be read."""
        ...


class MemoryStore:
    """Holds a trace in memory."""

    where = "memory"

    def __init__(self) -> None:
        self._parts: list[bytes] = []

    def write(self, data: bytes) -> None:
        """Append bytes."""
        self._parts.append(data)

    def read(self) -> bytes:
        """Return all that was written."""
        return b"".join(self._parts)

    def close(self) -> None:
        """Do nothing: it can still be read."""


class FileStore:
    """Writes a trace to a new file, without a buffer: what is written outlives this process.

    Parameters
    ----------
    directory
        Made if it is not there.

    Raises
    ------
    OSError
        If the file cannot be made.
    """

    def __init__(self, directory: str) -> None:
        folder = Path(directory).expanduser()
        folder.mkdir(parents=True, exist_ok=True)
        when = time.strftime("%Y%m%dT%H%M%S")
        name = f"{when}-{os.getpid()}-{next(_NUMBERS)}{SUFFIX}"
        self.path = folder / name
        # Closed in `close`; "x", so that nothing is ever overwritten.
        self._file = FileIO(self.path, "x")
        self._length = 0

    @property
    def where(self) -> str:
        """Name the file."""
        return str(self.path)

    def write(self, data: bytes) -> None:
        """Append bytes; of those that do not fit, nothing stays.

        Raises
        ------
        OSError
            If they cannot be written, as on a full disk.
        """
        rest = memoryview(data)
        try:
            while rest:
                rest = rest[self._file.write(rest) :]
        except OSError:
            with contextlib.suppress(OSError):
                self._file.truncate(self._length)
                self._file.seek(self._length)
            raise
        self._length += len(data)

    def read(self) -> bytes:
        """Return all that was written."""
        return self.path.read_bytes()

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def write_at_once(path: Path, data: bytes) -> None:
    """Write a file so that it is there as a whole or not at all, and replaces what was there.

    Raises
    ------
    OSError
        If it cannot be written; what was there stays.
    """
    # In the same folder, for only there a file can be renamed without being copied.
    temporary = path.with_name(f".{path.name}-{os.getpid()}-{next(_NUMBERS)}")
    try:
        with temporary.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise
