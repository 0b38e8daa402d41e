"""What `dask mlsched models` shows to people.

Whatever comes out of a library's files may be any text: it is shown as it is, on one line, and
never taken for markup or for what a terminal does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from rich import box
from rich.table import Table
from rich.text import Text

from dask_mlsched.learning.library_log import Event
from dask_mlsched.learning.one_line import one_line
from dask_mlsched.learning.outcome import Outcome

#: So many features are shown.
SHOWN: Final = 10

#: Letters of a line that columns may take that are never broken.
WHOLE: Final = 62


def versions(found: Mapping[str, Any]) -> Table:
    """Lay out the versions of a library."""
    baseline = found["baseline"]
    rows = [("baseline", ", ".join(baseline["aliases"]), "Dask", "all", baseline["what"], "")]
    for each in found["versions"]:
        card = each["card"] or {}
        rows.append(
            (
                each["version"],
                ", ".join(each["aliases"]),
                card.get("made_by", ""),
                ", ".join(card.get("families", ())),
                each["problem"] or card["reason"],
                card.get("date", "")[:16].replace("T", " "),
            )
        )
    return table(("version", "aliases", "made by", "families", "why", "date"), rows)


def card(found: Mapping[str, Any]) -> list[str]:
    """Tell what is known of a version, in lines."""
    told = [one_line(f"{found['version']}: {', '.join(found['aliases']) or 'no alias means it'}")]
    if found["card"] is None:
        return [*told, found["what"]]
    named = {name: value for name, value in found["card"].items() if name not in ("name", "number")}
    told += [
        one_line(f"{name.replace('_', ' ')}: {_value(value)}")
        for name, value in named.items()
        if value or value == 0
    ]
    network = found["network"]
    layers = " - ".join(map(str, [network["features"], *network["hidden"], 2]))
    return [*told, f"layers: {layers}; {network['weights']} weights"]


def weights(rows: Sequence[Mapping[str, Any]], what: str = "weight") -> Table:
    """Lay out the features that weigh most, or whose weights changed most."""
    return table(
        ("feature", f"linear {what}", f"{what}s into the first hidden layer"),
        [
            (each["feature"], f"{each['linear']:+.4f}", f"{each['hidden']:.4f}")
            for each in rows[:SHOWN]
        ],
    )


def cards(found: Mapping[str, Any]) -> Table:
    """Lay out two cards side by side."""
    return table(
        ("", *found["versions"]),
        [(name.replace("_", " "), *map(_value, values)) for name, values in found["cards"].items()],
    )


def distance(found: Mapping[str, Any]) -> list[str]:
    """Tell how far apart two networks are, in lines."""
    networks = found["networks"]
    if networks is None:
        return ["baseline has no network to compare with"]
    told = []
    if not networks["same_shapes"]:
        one, other = networks["hidden"]
        told.append(f"hidden layers of {one} and {other}: only the linear parts can be compared")
    share = networks["relative"]
    relative = "" if share is None else f", {share:.1%} of the first one's norm"
    return [*told, f"distance of the networks: {networks['distance']:.4f}{relative}"]


def outcome(found: Outcome) -> list[str]:
    """Tell what came of an operation, in lines."""
    about = " ".join(filter(None, (found.model, found.family)))
    told = [one_line(f"{found.event}: {about + ': ' if about else ''}{found.reason}")]
    return [*told, one_line(f"figures: {_value(found.figures)}")] if found.figures else told


def events(found: Sequence[Event]) -> Table:
    """Lay out events, the newest last."""
    return table(
        ("", "when (UTC)", "event", "what", "why", "figures"),
        [
            (
                str(event.sequence),
                when(event.time),
                event.kind + " (recovered)" * event.recovered,
                _moves(event) or event.what or family_of(event),
                event.why,
                _value(event.figures or _others(event)),
            )
            for event in found
        ],
    )


def family_of(event: Event) -> str:
    """Return the family that an event is of; none for many."""
    return str(event.fields.get("family") or "")


def _others(event: Event) -> dict[str, Any]:
    """Return what else an event of a run says."""
    # A digest is for machines.
    known = {"family", "moves", "run", "digest"}
    plain = (str, int, float)
    fields = event.fields.items()
    return {name: each for name, each in fields if name not in known and isinstance(each, plain)}


def _moves(event: Event) -> str:
    moves = event.fields.get("moves")
    if not isinstance(moves, dict):
        return ""
    pairs = [(alias, pair) for alias, pair in moves.items() if isinstance(pair, list) and pair]
    return ", ".join(f"{alias} to {pair[-1] or 'nothing'}" for alias, pair in pairs)


def when(seconds: float) -> str:
    """Write seconds since the epoch as a date, if they are one."""
    try:
        return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M")
    except (ValueError, OverflowError, OSError):
        return f"{seconds:g}"


def _value(value: object) -> str:
    match value:
        case None:
            return ""
        case Mapping():
            return ", ".join(f"{name} {_value(each)}" for name, each in value.items())
        case list() | tuple():
            return ", ".join(map(str, value))
        case float():
            return f"{value:.4g}"
        case _:
            return str(value)


def table(names: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    """Lay out rows of any texts under the names of their columns.

    The first columns of short texts, such as names of versions and dates, are not broken.
    """
    made = Table(box=box.SIMPLE)
    lines = [[one_line(cell) for cell in row] for row in rows]
    left = WHOLE
    for place, name in enumerate(names):
        width = max(len(each) for each in (name, *(line[place] for line in lines)))
        whole = width <= left
        left -= width * whole
        made.add_column(Text(name), overflow="fold", no_wrap=whole)
    for line in lines:
        made.add_row(*map(Text, line))
    return made
