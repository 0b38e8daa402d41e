"""Traces as bytes, and back.

A trace is a line that says what it is, `mlsched-trace 1`, and then frames::

    frame = length of the payload, CRC-32 of the length and the payload (both 4 bytes, big endian),
            payload: a JSON list of rows, compressed with zlib
    row   = [kind, field, ...]

Kinds are the names of classes, fields stand in the classes' order; a field that a later version of
the package adds has a default and stands last. The first row is `Header`, the last `End`. Frames
are only ever appended, so whatever is cut off, all whole frames before can be read. Numbers come
back as they were, floats bit for bit: JSON has the shortest text that stands for the same float.
"""

from __future__ import annotations

import json
import operator
import struct
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, fields
from typing import Any, Final, TypeAlias, get_args

from dask_mlsched.core import events as ev
from dask_mlsched.core.chooser import Settings
from dask_mlsched.core.policies import Candidate, HoldOption, Situation
from dask_mlsched.core.trace import (
    FORMAT,
    VERSION,
    Decision,
    Entry,
    Header,
    Names,
    PolicySwitched,
    Step,
    Trace,
    TraceError,
)


@dataclass(frozen=True, slots=True)
class Readings:
    """What the stopwatch showed while an event was handled, in nanoseconds."""

    nanoseconds: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class End:
    """The end of a trace, and why it is there if the run went on."""

    why: str | None = None


#: What stands in a row. Decisions, readings and instructions belong to the event before them.
Record: TypeAlias = (
    Header | Names | PolicySwitched | ev.Event | Decision | Readings | ev.Instruction | End
)

MAGIC: Final = f"{FORMAT} {VERSION}\n".encode()
_FRAME_START: Final = struct.Struct(">II")

#: A higher level of compression takes thrice as long for a fifth less.
_LEVEL: Final = 1

_EVENTS: Final = frozenset(get_args(ev.Event))
_INSTRUCTIONS: Final = frozenset(get_args(ev.Instruction))
#: What belongs to the event before it.
_OUTCOMES: Final = _INSTRUCTIONS | {Decision, Readings}
_CLASSES: Final[dict[str, type]] = {
    kind.__name__: kind
    for kind in (*_EVENTS, *_INSTRUCTIONS, Header, Names, PolicySwitched, Decision, Readings, End)
}


def _fields_of(kind: type) -> Callable[[Any], Any]:
    names = [field.name for field in fields(kind)]
    if len(names) > 1:
        return operator.attrgetter(*names)
    get = operator.attrgetter(*names)
    return lambda record: (get(record),)


_FIELDS: Final = {
    kind: _fields_of(kind)
    for kind in (*_CLASSES.values(), ev.TaskSpec, Situation, Candidate, HoldOption)
}

_CANDIDATES, _HOLD = (
    [field.name for field in fields(Situation)].index(name) for name in ("candidates", "hold")
)


def _header_row(header: Header) -> tuple[Any, ...]:
    return ("Header", {**asdict(header), "format": FORMAT, "version": VERSION})


def _graph_row(event: ev.GraphArrived) -> tuple[Any, ...]:
    return ("GraphArrived", event.time, list(map(_FIELDS[ev.TaskSpec], event.tasks)))


def _decision_row(decision: Decision) -> tuple[Any, ...]:
    at = decision.situation
    situation = list(_FIELDS[Situation](at))
    situation[_CANDIDATES] = list(map(_FIELDS[Candidate], at.candidates))
    situation[_HOLD] = None if at.hold is None else _FIELDS[HoldOption](at.hold)
    return ("Decision", situation, *_FIELDS[Decision](decision)[1:])


def _readings_row(readings: Readings) -> tuple[Any, ...]:
    # Differences are short.
    last, row = 0, []
    for nanoseconds in readings.nanoseconds:
        row.append(nanoseconds - last)
        last = nanoseconds
    return ("Readings", row)


_ROWS: Final[dict[type, Callable[[Any], tuple[Any, ...]]]] = {
    Header: _header_row,
    ev.GraphArrived: _graph_row,
    Decision: _decision_row,
    Readings: _readings_row,
}


def _row(record: Record) -> tuple[Any, ...]:
    kind = type(record)
    special = _ROWS.get(kind)
    return (kind.__name__, *_FIELDS[kind](record)) if special is None else special(record)


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
    rows = list(map(_row, records))
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
    records = list(map(_record, rows))
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
    if data.startswith(MAGIC):
        return
    # The shortest beginning of a trace that somebody could have cut.
    if MAGIC.startswith(data):
        msg = "the trace is cut in its first line, and nothing is left of it; record the run again"
        raise TraceError(msg)
    line = data[: len(MAGIC) + 10].partition(b"\n")[0]
    name, _, version = line.partition(b" ")
    if name == FORMAT.encode() and version.isdigit():
        msg = (
            f"the trace has version {int(version)}; expected {VERSION}: "
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


def _record(row: list[Any]) -> Any:
    try:
        kind, *values = row
        match kind:
            case "Header":
                return _header(values[0])
            case "GraphArrived":
                specs = tuple(ev.TaskSpec(*map(_frozen, spec)) for spec in values[1])
                return ev.GraphArrived(values[0], specs)
            case "Decision":
                return Decision(_situation(values[0]), *values[1:])
            case "Readings":
                return Readings(tuple(_summed(values[0])))
            case _:
                return _CLASSES[kind](*map(_frozen, values))
    except (IndexError, KeyError, TypeError, ValueError) as error:
        msg = (
            f"a row of the trace cannot be read ({type(error).__name__}: {error}): {row!r:.80}; "
            "a later version of dask-mlsched may have written it"
        )
        raise TraceError(msg) from error


def _header(values: dict[str, Any]) -> Header:
    known = {field.name for field in fields(Header)}
    settings = Settings(**values["settings"])
    return Header(**{**{name: values[name] for name in known}, "settings": settings})


def _situation(values: list[Any]) -> Situation:
    candidates, hold = values[_CANDIDATES], values[_HOLD]
    frozen = list(map(_frozen, values))
    frozen[_CANDIDATES] = tuple(Candidate(*map(_frozen, each)) for each in candidates)
    frozen[_HOLD] = None if hold is None else HoldOption(*hold)
    return Situation(*frozen)


def _summed(differences: list[int]) -> Iterator[int]:
    last = 0
    for difference in differences:
        last += difference
        yield last


def _frozen(value: Any) -> Any:
    return tuple(map(_frozen, value)) if isinstance(value, list) else value


def _entries(records: Iterable[Any]) -> Iterator[Entry]:
    """Put each event together with what came of it."""
    groups: list[tuple[Any, list[Any]]] = []
    for record in records:
        kind = type(record)
        if kind in _EVENTS or kind in (Names, PolicySwitched):
            groups.append((record, []))
        elif kind in _OUTCOMES and groups and type(groups[-1][0]) in _EVENTS:
            groups[-1][1].append(record)
        else:
            msg = f"the trace has {kind.__name__} where it cannot be; who wrote it?"
            raise TraceError(msg)
    for first, outcomes in groups:
        yield _step(first, outcomes) if type(first) in _EVENTS else first


def _step(event: ev.Event, outcomes: list[Any]) -> Step:
    if not outcomes:
        return Step(event)
    return Step(
        event,
        tuple(each for each in outcomes if type(each) in _INSTRUCTIONS),
        tuple(each for each in outcomes if type(each) is Decision),
        tuple(ns for each in outcomes if type(each) is Readings for ns in each.nanoseconds),
    )
