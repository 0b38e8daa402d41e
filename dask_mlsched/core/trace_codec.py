"""Traces as bytes, and back.

A trace is a line that says what it is, `mlsched-trace 2`, and then frames::

    frame = length of the payload, CRC-32 of the length and the payload (both 4 bytes, big endian),
            payload: a JSON list of rows, compressed with zlib
    row   = [kind, field, ...]

`trace_rows` says what rows hold. The first is `Header`, the last `End`. Frames are only ever
appended, so whatever is cut off, all whole frames before can be read. Numbers come back as they
were, floats bit for bit: JSON has the shortest text that stands for the same float.
"""

from __future__ import annotations

import json
import operator
import struct
import zlib
from collections.abc import Iterable, Iterator
from typing import Any, Final

from dask_mlsched.core import events as ev
from dask_mlsched.core import trace_rows
from dask_mlsched.core.trace import (
    FORMAT,
    READABLE,
    VERSION,
    Decision,
    Entry,
    Header,
    Names,
    NetworkServed,
    PolicySwitched,
    Step,
    Trace,
    TraceError,
)
from dask_mlsched.core.trace_rows import EVENTS, INSTRUCTIONS, End, Readings, Record

MAGIC: Final = f"{FORMAT} {VERSION}\n".encode()
#: How traces begin that can be read; all of these are of one length.
_MAGICS: Final = tuple(f"{FORMAT} {version}\n".encode() for version in READABLE)
_FRAME_START: Final = struct.Struct(">II")

#: A higher level of compression takes thrice as long for a fifth less.
_LEVEL: Final = 1

#: What belongs to the event before it.
_OUTCOMES: Final = INSTRUCTIONS | {Decision, Readings}


def _plain(number: Any) -> int | float:
    """Turn a number that is not Python's own, such as numpy's in a user's priority, into one."""
    try:
        return operator.index(number)
    except TypeError:
        return float(number)


#: Rows hold no circles, and looking for them takes a third of the time.
_JSON: Final = json.JSONEncoder(separators=(",", ":"), default=_plain, check_circular=False)


def encode_frame(records: Iterable[Record]) -> bytes:
    """Encode some records that stand together; cost: some 3 µs a record."""
    rows = list(map(trace_rows.row, records))
    payload = zlib.compress(_JSON.encode(rows).encode("ascii"), _LEVEL)
    length = len(payload)
    checksum = zlib.crc32(payload, zlib.crc32(length.to_bytes(4, "big")))
    return _FRAME_START.pack(length, checksum) + payload


def encode(trace: Trace) -> bytes:
    """Encode a whole trace; what was cut off stays missing."""

    def records() -> Iterator[Record]:
        for entry in trace.entries:
            if not isinstance(entry, Step):
                yield entry
                continue
            yield entry.event
            yield from entry.decisions
            yield from entry.instructions
            if entry.readings:
                yield Readings(entry.readings)

    end = encode_frame([End(trace.truncated)]) if trace.problem is None else b""
    return MAGIC + encode_frame([trace.header]) + encode_frame(records()) + end


def decode(data: bytes) -> Trace:
    """Decode a trace, as far as it goes.

    Raises
    ------
    TraceError
        If this is no trace or one of another version, or if it is cut or damaged before anything
        of the run is told.
    """
    _check_magic(data)
    payloads, problem = _frames(data)
    rows = [row for payload in payloads for row in _rows(payload)]
    records = list(map(trace_rows.record, rows))
    if not records:
        msg = f"the trace is {problem or 'empty'}, and nothing is left of it; record the run again"
        raise TraceError(msg)
    header, *rest = records
    end = rest.pop() if rest and isinstance(rest[-1], End) else None
    if not isinstance(header, Header):
        msg = f"the trace begins with {type(header).__name__}; expected Header"
        raise TraceError(msg)
    if end is None and problem is None:
        problem = f"cut at byte {len(data)}: its end is missing"
    return Trace(header, tuple(_entries(rest)), None if end is None else end.why, problem)


def _check_magic(data: bytes) -> None:
    if data.startswith(_MAGICS):
        return
    # The shortest beginning of a trace that somebody could have cut.
    if any(magic.startswith(data) for magic in _MAGICS):
        msg = "the trace is cut in its first line, and nothing is left of it; record the run again"
        raise TraceError(msg)
    line = data[: len(MAGIC) + 10].partition(b"\n")[0]
    name, _, version = line.partition(b" ")
    if name == FORMAT.encode() and version.isdigit():
        msg = (
            f"the trace has version {int(version)}; expected {' or '.join(map(str, READABLE))}: "
            "read it with the version of dask-mlsched that wrote it"
        )
        raise TraceError(msg)
    msg = f"this is no trace: it begins with {data[:16]!r}; expected {MAGIC!r}"
    raise TraceError(msg)


def _frames(data: bytes) -> tuple[list[bytes], str | None]:
    """List the payloads of all frames up to the first that is cut or damaged, and say which."""
    payloads: list[bytes] = []
    at = len(MAGIC)
    while at < len(data):
        start = at + _FRAME_START.size
        if start > len(data):
            return payloads, f"cut at byte {len(data)}: its end is missing"
        length, checksum = _FRAME_START.unpack_from(data, at)
        payload = data[start : start + length]
        if len(payload) < length:
            return payloads, f"cut at byte {len(data)}, or damaged at byte {at}: its end is missing"
        if zlib.crc32(payload, zlib.crc32(data[at : at + 4])) != checksum:
            return payloads, f"damaged at byte {at}: what follows is left out"
        payloads.append(payload)
        at = start + length
    return payloads, None


def _rows(payload: bytes) -> list[list[Any]]:
    try:
        rows: list[list[Any]] = json.loads(zlib.decompress(payload))
    except (zlib.error, ValueError) as error:
        msg = f"a frame of the trace cannot be read ({error}), though it is whole; who wrote it?"
        raise TraceError(msg) from error
    return rows


def _entries(records: Iterable[Any]) -> Iterator[Entry]:
    """Put each event together with what came of it."""
    groups: list[tuple[Any, list[Any]]] = []
    for record in records:
        kind = type(record)
        if kind in EVENTS or kind in (Names, PolicySwitched, NetworkServed):
            groups.append((record, []))
        elif kind in _OUTCOMES and groups and type(groups[-1][0]) in EVENTS:
            groups[-1][1].append(record)
        else:
            msg = f"the trace has {kind.__name__} where it cannot be; who wrote it?"
            raise TraceError(msg)
    for first, outcomes in groups:
        yield _step(first, outcomes) if type(first) in EVENTS else first


def _step(event: ev.Event, outcomes: list[Any]) -> Step:
    if not outcomes:
        return Step(event)
    return Step(
        event,
        tuple(each for each in outcomes if type(each) in INSTRUCTIONS),
        tuple(each for each in outcomes if type(each) is Decision),
        tuple(ns for each in outcomes if type(each) is Readings for ns in each.nanoseconds),
    )
