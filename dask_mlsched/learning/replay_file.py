"""The file of a replay buffer: a header, counters, and a ring of records, all mapped into memory.

The file has its full size from the beginning: a map into a disk that is full would kill the
process. One process at a time writes, as a lock file beside it says, and any number read.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import mmap
import os
import struct
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from dask_mlsched.core.network import Floats, difference
from dask_mlsched.learning.decision_record import (
    FEATURES_AT,
    HEAD_AT,
    DecisionRecord,
    Records,
    encode,
    label_of,
    record_dtype,
)
from dask_mlsched.learning.whole_file import move_into_place, temporary_for

Mode: TypeAlias = Literal["read", "write"]

SUFFIX: Final = ".mlsched-replay"
VERSION: Final = 1

_MAGIC: Final = b"MLSREPLY"
#: Magic, version, and length and checksum of the JSON that says what the records are.
_FIXED: Final = struct.Struct("<8sIII")
_COUNTERS_AT: Final = 32
_JSON_AT: Final = 64
_HEADER_NBYTES: Final = 16_384


class ReplayError(ValueError):
    """A replay buffer that cannot be used: one line with file, what was found, expected, cure."""


class ReplayFile:
    """A file that is mapped into memory; `create` and `open` make one.

    Attributes are views of the map: what is written to them is in the file, whatever becomes of
    the process.
    """

    path: Path
    mode: Mode
    #: [F]
    names: tuple[str, ...]
    #: [capacity], structured.
    records: Records
    #: The same by bytes, [capacity, bytes of a record], and by fields, [capacity, ...] each.
    rows: npt.NDArray[np.uint8]
    columns: dict[str, npt.NDArray[Any]]
    #: The sequence number of the next record; how many labels have been written, and how many
    #: times records have been taken out: by these, readers know that there is something new.
    counters: npt.NDArray[np.uint64]

    def __init__(self, path: Path, names: Sequence[str] | None, mode: Mode) -> None:
        self.path = path
        self.mode = mode
        with contextlib.ExitStack() as undo:
            self._lock = None if mode == "read" else _locked(path)
            if self._lock is not None:
                undo.callback(os.close, self._lock)
            self._map = _mapped(path, mode)
            undo.callback(self._map.close)
            self.names, capacity = _described(path, self._map)
            if names is not None and (how := difference(self.names, names)):
                expected = f"the {len(names)} features of this version"
                raise error(path, how, expected, "begin another buffer, or use a matching version")
            dtype = record_dtype(len(self.names))
            nbytes = _HEADER_NBYTES + capacity * dtype.itemsize
            if len(self._map) != nbytes:
                raise error(path, f"{len(self._map)} bytes", f"{nbytes}", "remove the file")
            undo.pop_all()
        self.records = np.frombuffer(self._map, dtype, capacity, _HEADER_NBYTES)
        self.rows = self.records.view(np.uint8).reshape(capacity, dtype.itemsize)
        self.columns = {name: self.records[name] for name in dtype.names or ()}
        self.counters = np.frombuffer(self._map, "<u8", 3, _COUNTERS_AT)

    @property
    def capacity(self) -> int:
        """How many records there can be."""
        return len(self.records)

    @property
    def nbytes(self) -> int:
        """Bytes on disk."""
        return len(self._map)

    def copy(self, places: npt.NDArray[np.intp]) -> Records:
        """Return the records at these places."""
        # Bytes are copied nearly twice as fast as structures.
        return self.rows[places].view(self.records.dtype).reshape(-1)

    def write_record(self, place: int, decision: DecisionRecord, sequence: int) -> None:
        """Put a decision at a place; killed at any point, it leaves none there, or all of it.

        Raises
        ------
        dask_mlsched.learning.decision_record.InvalidDecisionError
            If a number does not fit its field; nothing is written then.
        """
        head, checksum = encode(decision, sequence)
        columns, actions = self.columns, decision.actions
        columns["checksum"][place] = 0
        columns["label"][place] = 0
        self.rows[place, HEAD_AT:FEATURES_AT] = head
        features = columns["features"][place]
        features[:actions] = decision.features
        features[actions:] = 0
        columns["costs"][place] = np.nan
        columns["checksum"][place] = checksum

    def write_label(self, place: int, costs: Floats) -> None:
        """Put [33] costs to a record; killed at any point, it has no label, or all of it."""
        columns = self.columns
        columns["label"][place] = 0
        columns["costs"][place] = costs
        columns["label"][place] = label_of(costs)

    def flush(self) -> None:
        """Return when everything is on disk; a killed process loses nothing without it."""
        self._map.flush()

    def close(self) -> None:
        """Give the file back, and the lock; twice does no harm."""
        if self._map.closed:
            return
        if self.mode == "write":
            self._map.flush()
        # The map cannot go while something looks into it.
        for view in ("records", "rows", "columns", "counters"):
            self.__dict__.pop(view, None)
        self._map.close()
        if self._lock is not None:
            os.close(self._lock)


def create(path: Path, names: Sequence[str], capacity: int) -> None:
    """Make a file for so many records; it is there as a whole or not at all.

    Raises
    ------
    ReplayError
        If there is one, the disk is too small, or there are no names or more than can be told.
    """
    if capacity < 1:
        raise error(path, f"capacity {capacity}", "1 or more", "say how many decisions to keep")
    text = json.dumps({"names": list(names), "capacity": capacity}).encode()
    if not names or len(set(names)) < len(names) or len(text) > _HEADER_NBYTES - _JSON_AT:
        found = f"{len(names)} names of features"
        raise error(path, found, "at least one, all different, 16 kB in all", "name them so")
    header = bytearray(_JSON_AT)
    _FIXED.pack_into(header, 0, _MAGIC, VERSION, len(text), zlib.crc32(text))
    struct.pack_into("<Q", header, _COUNTERS_AT, 1)
    nbytes = _HEADER_NBYTES + capacity * record_dtype(len(names)).itemsize
    lock = _locked(path)
    temporary = temporary_for(path)
    try:
        if path.exists():
            raise error(path, "exists", "a new name", "open it, or remove it first")
        with temporary.open("xb") as file:
            os.posix_fallocate(file.fileno(), 0, nbytes)
            file.write(header + text)
            file.flush()
            os.fsync(file.fileno())
        move_into_place(temporary, path)
    except OSError as problem:
        found = f"cannot be made ({problem.strerror})"
        expected = f"{nbytes} bytes of free disk in a folder that can be written to"
        raise error(path, found, expected, "lower the capacity, or use another folder") from None
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()
        os.close(lock)


def error(path: Path, found: str, expected: str, cure: str) -> ReplayError:
    """Put the parts of a message together."""
    return ReplayError(f"replay buffer {str(path)!r}: {found}; expected {expected}; {cure}")


def _locked(path: Path) -> int:
    """Take the lock that a writer holds until its process ends, and return its descriptor."""
    beside = path.with_name(f"{path.name}.lock")
    try:
        lock = os.open(beside, os.O_RDWR | os.O_CREAT, 0o666)
    except OSError as problem:
        found = f"its lock file cannot be made ({problem.strerror})"
        raise error(path, found, "a folder that can be written to", "use another") from None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        who = os.read(lock, 20).decode(errors="replace").strip() or "unknown"
        os.close(lock)
        found = f"process {who} is writing to it"
        raise error(path, found, "one writer", "open it with mode='read', or wait") from None
    os.truncate(lock, 0)
    os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)
    return lock


def _mapped(path: Path, mode: Mode) -> mmap.mmap:
    access = mmap.ACCESS_READ if mode == "read" else mmap.ACCESS_WRITE
    try:
        with path.open("rb" if mode == "read" else "r+b") as file:
            return mmap.mmap(file.fileno(), 0, access=access)
    except OSError as problem:
        found = f"cannot be opened ({problem.strerror})"
    except ValueError:
        found = "is empty"
    raise error(path, found, "a file that was made by ReplayBuffer.create", "create it")


def _described(path: Path, data: mmap.mmap) -> tuple[tuple[str, ...], int]:
    """Return the names of the features and the capacity that the header tells."""
    magic, version, length, checksum = (
        _FIXED.unpack_from(data) if len(data) >= _HEADER_NBYTES else (b"", 0, 0, 0)
    )
    if magic != _MAGIC:
        raise error(path, "no replay buffer", f"a file that begins with {_MAGIC!r}", "name another")
    if version != VERSION:
        cure = "use a dask_mlsched that reads the other, or begin another buffer"
        raise error(path, f"version {version}", f"{VERSION}", cure)
    text = data[_JSON_AT : _JSON_AT + length]
    if zlib.crc32(text) != checksum:
        raise error(path, "a damaged header", "one with its checksum", "remove the file")
    header: dict[str, Any] = json.loads(text)
    return tuple(header["names"]), int(header["capacity"])
