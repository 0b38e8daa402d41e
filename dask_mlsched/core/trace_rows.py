"""Records of a trace as rows of plain values, `[kind, field, ...]`, and back.

Kinds are the names of classes, fields stand in the classes' order. A field that a later version of
the package adds has a default and stands last, so that older rows can still be read.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, fields
from typing import Any, Final, TypeAlias, get_args

from dask_mlsched.core import events as ev
from dask_mlsched.core.chooser import Settings
from dask_mlsched.core.policies import Candidate, HoldOption, Situation
from dask_mlsched.core.trace import (
    FORMAT,
    VERSION,
    Decision,
    Header,
    Names,
    NetworkServed,
    PolicySwitched,
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
    Header
    | Names
    | PolicySwitched
    | NetworkServed
    | ev.Event
    | Decision
    | Readings
    | ev.Instruction
    | End
)

EVENTS: Final = frozenset(get_args(ev.Event))
INSTRUCTIONS: Final = frozenset(get_args(ev.Instruction))
_CLASSES: Final[dict[str, type]] = {
    kind.__name__: kind
    for kind in (
        *(*EVENTS, *INSTRUCTIONS, Header, Names, PolicySwitched, NetworkServed),
        *(Decision, Readings, End),
    )
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


def _moved_row(event: ev.ArraysMoved) -> tuple[Any, ...]:
    # A third of the bytes of a trace are copies; what they are is not said twice.
    moves = None if event.moves == _moves_in(event.copies) else event.moves
    rest = _FIELDS[ev.ArraysMoved](event)[3:]
    # Without a fetch, earlier versions can still read the row.
    rest = rest if event.fetches else rest[:-1]
    return ("ArraysMoved", event.time, event.worker, moves, *rest)


def _moves_in(copies: tuple[tuple[int, bool, int, float], ...]) -> tuple[tuple[int, bool], ...]:
    return tuple([(array, loaded) for array, loaded, _, _ in copies if array >= 0])


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
    ev.ArraysMoved: _moved_row,
    Decision: _decision_row,
    Readings: _readings_row,
}


def row(record: Record) -> tuple[Any, ...]:
    """Turn a record into a row."""
    kind = type(record)
    special = _ROWS.get(kind)
    return (kind.__name__, *_FIELDS[kind](record)) if special is None else special(record)


def record(row: list[Any]) -> Any:
    """Turn a row into a record.

    Raises
    ------
    TraceError
        If it is none of this version.
    """
    try:
        kind, *values = row
        match kind:
            case "Header":
                return _header(values[0])
            case "GraphArrived":
                specs = tuple(ev.TaskSpec(*map(_frozen, spec)) for spec in values[1])
                return ev.GraphArrived(values[0], specs)
            case "ArraysMoved":
                time, worker, moves, *rest = map(_frozen, values)
                moves = _moves_in(rest[2]) if moves is None else moves
                return ev.ArraysMoved(time, worker, moves, *rest)
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
