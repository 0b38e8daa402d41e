"""Frames: how two processes of ours exchange numbers and arrays, as bytes that say how they end.

A frame is the magic, the version, its kind, the length of what follows, and then a JSON header with
the fields and with the names, types and shapes of the arrays, and the arrays one after the other,
little-endian. No code is in it or run by reading it. Whatever is wrong with a frame is found here.
"""

from __future__ import annotations

import json
import math
import reprlib
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, cast

import numpy as np

MAGIC: Final = b"MLSQ"
VERSION: Final = 1

#: Bytes of the longest frame that is read: ten million tasks with ten edges each.
SIZE_LIMIT: Final = 2_000_000_000

#: Magic, version, kind, length of the rest.
_HEAD: Final = struct.Struct("<4sHHQ")
_LENGTH: Final = struct.Struct("<I")

#: Bytes of the longest JSON header.
_HEADER_LIMIT: Final = 16_000_000

#: Types of arrays, as numpy writes them.
_TYPES: Final = frozenset({"<i8", "<f8", "<f4", "|b1"})

_CURE: Final = "start both processes from one version of dask_mlsched"


class FrameError(ValueError):
    """Bytes that are no frame: one line with what was found, what was expected, and the cure."""


@dataclass(frozen=True, eq=False)
class Frame:
    """Fields, which JSON can hold, and arrays, of a kind that both sides know."""

    kind: int
    fields: Mapping[str, Any] = field(default_factory=dict)
    arrays: Mapping[str, np.ndarray[Any, Any]] = field(default_factory=dict)

    def number(self, name: str) -> float:
        """Return a field that must be a finite number.

        Raises
        ------
        FrameError
            If it is missing or anything else.
        """
        value = self.fields.get(name)
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise _error(f"field {name!r} is {reprlib.repr(value)}", "a number")
        if isinstance(value, float) and not math.isfinite(value):
            raise _error(f"field {name!r} is {value}", "a finite number")
        return value

    def text(self, name: str) -> str:
        """Return a field that must be a text.

        Raises
        ------
        FrameError
            If it is missing or anything else.
        """
        value = self.fields.get(name)
        if not isinstance(value, str):
            raise _error(f"field {name!r} is {reprlib.repr(value)}", "a text")
        return value

    def array(self, name: str, kind: str, length: int | None = None) -> np.ndarray[Any, Any]:
        """Return an array that must be of a type and, if it is given, a row of so many elements.

        Raises
        ------
        FrameError
            If it is missing or anything else.
        """
        array = self.arrays.get(name)
        if array is None or array.dtype.str != kind:
            found = "missing" if array is None else f"of type {array.dtype.str}"
            raise _error(f"array {name!r} is {found}", f"one of type {kind}")
        if length is not None and array.shape != (length,):
            raise _error(f"array {name!r} is of shape {array.shape}", f"({length},)")
        return array


def encode(frame: Frame) -> bytes:
    """Write a frame.

    Raises
    ------
    FrameError
        If an array is of a type that frames do not have.
    """
    described = []
    parts = []
    for name, array in frame.arrays.items():
        little = np.ascontiguousarray(array).astype(array.dtype.newbyteorder("<"), copy=False)
        if little.dtype.str not in _TYPES:
            raise _error(f"array {name!r} is of type {array.dtype}", f"one of {sorted(_TYPES)}")
        described.append([name, little.dtype.str, list(array.shape)])
        parts.append(little.tobytes())
    header = json.dumps({"fields": dict(frame.fields), "arrays": described}).encode()
    body = b"".join([_LENGTH.pack(len(header)), header, *parts])
    return _HEAD.pack(MAGIC, VERSION, frame.kind, len(body)) + body


def read(take: Callable[[int], bytes]) -> Frame | None:
    """Read one frame from a stream.

    Parameters
    ----------
    take
        Returns so many of the next bytes; fewer only at the end, as buffered files do.

    Returns
    -------
    Frame or None
        None at the end of the stream.

    Raises
    ------
    FrameError
        If the stream ends within a frame, or holds anything else.
    """
    head = take(_HEAD.size)
    if not head:
        return None
    if len(head) < _HEAD.size:
        raise _error(f"the stream ends after {len(head)} bytes of a frame", f"{_HEAD.size}")
    magic, version, kind, length = _HEAD.unpack(head)
    if magic != MAGIC:
        raise _error(f"a frame begins with {magic!r}", repr(MAGIC))
    if version != VERSION:
        raise _error(f"a frame is of version {version}", str(VERSION))
    if length > SIZE_LIMIT:
        raise _error(f"a frame is {length} bytes long", f"{SIZE_LIMIT} at most")
    body = take(length)
    if len(body) < length:
        raise _error(f"the stream ends after {len(body)} bytes of a frame's body", f"{length}")
    return _decode(kind, body)


def _decode(kind: int, body: bytes) -> Frame:
    if len(body) < _LENGTH.size:
        raise _error(f"a frame's body has {len(body)} bytes", f"{_LENGTH.size} at least")
    (length,) = _LENGTH.unpack_from(body)
    start = _LENGTH.size + length
    if length > _HEADER_LIMIT or start > len(body):
        raise _error(f"a frame's header is {length} bytes long", "one that the frame has room for")
    try:
        header = json.loads(body[_LENGTH.size : start])
        fields, described = dict(header["fields"]), list(header["arrays"])
    except (ValueError, TypeError, KeyError, RecursionError):
        found = reprlib.repr(body[_LENGTH.size : start])
        raise _error(f"a frame's header is {found}", "JSON with fields and arrays") from None
    arrays = {}
    for each in described:
        name, dtype, shape = _description(each)
        nbytes = dtype.itemsize * math.prod(shape)
        if start + nbytes > len(body):
            raise _error(f"array {name!r} needs {nbytes} bytes", f"{len(body) - start} at most")
        flat = np.frombuffer(body, dtype, math.prod(shape), start)
        # A copy: the bytes may lie anywhere, and cannot be written to.
        arrays[name] = flat.reshape(shape).copy()
        start += nbytes
    if start != len(body):
        raise _error(f"a frame has {len(body) - start} bytes behind its arrays", "none")
    return Frame(kind, fields, arrays)


def _description(each: Any) -> tuple[str, np.dtype[Any], tuple[int, ...]]:
    match each:
        case [str(name), str(kind), [*shape]] if (
            kind in _TYPES
            and len(shape) <= 2
            and all(type(size) is int and 0 <= size <= SIZE_LIMIT for size in shape)
        ):
            return name, np.dtype(kind), cast("tuple[int, ...]", tuple(shape))
    raise _error(f"a frame describes an array as {reprlib.repr(each)}", "name, type and shape")


def _error(found: str, expected: str) -> FrameError:
    return FrameError(f"{found}; expected {expected}; {_CURE}")
