"""`dask mlsched training`: what a cluster's training has come to, from the files in its folder."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import click
from rich.table import Table

from dask_mlsched.cli import model_tables
from dask_mlsched.cli.models_folder import one_line_errors
from dask_mlsched.cli.options import JSON, Command, complain
from dask_mlsched.cli.output import console, write_json
from dask_mlsched.core import features
from dask_mlsched.core.training_message import LIBRARY
from dask_mlsched.learning.families import Families
from dask_mlsched.learning.library import Library
from dask_mlsched.learning.library_log import Event
from dask_mlsched.learning.model_ref import CHAMPION
from dask_mlsched.learning.models_in_use import family_alias
from dask_mlsched.learning.one_line import one_line
from dask_mlsched.learning.online import COLLECTED_RUN, REJECTED_RUN
from dask_mlsched.learning.replay import ReplayBuffer
from dask_mlsched.learning.replay_file import ReplayError
from dask_mlsched.learning.training_folder import DECISIONS, FAMILIES, waiting_runs

#: Events of runs, which are counted.
_OF_RUNS: Final = (COLLECTED_RUN, REJECTED_RUN)

#: So many of the last events are shown.
_SHOWN: Final = 12


@click.command(cls=Command)
@click.argument("directory", type=click.Path(path_type=Path))
@click.option("--json", "json_file", type=JSON, help="Write the figures here; - is stdout.")
def training(directory: Path, json_file: str | None) -> None:
    """Tell what was learned while a cluster ran, from the training.directory of its scheduler."""
    if not (directory / LIBRARY).is_dir():
        complain(
            f"{str(directory)!r} holds no {LIBRARY!r}; name the training.directory of a scheduler"
        )
    with one_line_errors():
        events = [each for each in Library.reading(directory / LIBRARY).events() if _tells(each)]
        found = figures(directory)
    if json_file is not None:
        write_json(json_file, found)
    if json_file != "-":
        for line in lines(found):
            click.echo(line)
        console().print(families_table(found["families"]))
        console().print(events_table(events[-_SHOWN:]))


def figures(directory: Path) -> dict[str, Any]:
    """Gather all of it for machines.

    Raises
    ------
    dask_mlsched.learning.model_ref.LibraryError
        If the library cannot be used.
    """
    library = Library.reading(directory / LIBRARY)
    events = library.events()
    counts = Counter(event.kind for event in events)
    aliases = library.aliases()
    families = Families(directory / FAMILIES)
    rejected = [event.why for event in events if event.kind == REJECTED_RUN]
    return {
        "directory": str(directory),
        "runs": {
            "collected": counts[COLLECTED_RUN],
            "rejected": counts[REJECTED_RUN],
            "waiting": len(waiting_runs(directory)),
        },
        "last_rejection": rejected[-1] if rejected else None,
        "decisions": _decisions(directory / DECISIONS),
        "champion": aliases.get(CHAMPION),
        "aliases": dict(aliases),
        "families": [
            {
                "family": each.name,
                "runs": each.count,
                "model": aliases.get(family_alias(each.name)),
                "sent_back": each.sent_back,
                "runs_left": each.runs_left,
                "banned": dict(each.banned),
                "last_model": each.runs[-1].model if each.runs else None,
                "last_ratio": _last_ratio([run.gain for run in each.runs if run.known]),
            }
            for each in families
        ],
        "problems": list(families.problems),
        "events": [event.as_json() for event in events if _tells(event)],
    }


def _tells(event: Event) -> bool:
    """Leave out what is counted, and what another event says better."""
    return event.kind not in _OF_RUNS and event.kind != "moved"


def _last_ratio(gains: Sequence[float]) -> float | None:
    """Return the last time over that of Dask alone."""
    return math.exp(-gains[-1]) if gains else None


def _decisions(file: Path) -> int | None:
    """Count the decisions that are kept; None if they cannot be read."""
    try:
        with ReplayBuffer.open(file, features.NAMES) as buffer:
            return len(buffer)
    except ReplayError:
        return None


def lines(found: dict[str, Any]) -> list[str]:
    """Tell people where it stands."""
    runs = found["runs"]
    counted = ", ".join(f"{count} {name}" for name, count in runs.items())
    decisions = found["decisions"]
    kept = (
        "the decisions cannot be read" if decisions is None else f"{decisions} decisions are there"
    )
    told = [f"runs: {counted}; {kept}"]
    if found["last_rejection"]:
        told.append(f"rejected last: {found['last_rejection']}")
    told.append(f"champion: {found['champion'] or 'none yet'}; families: {len(found['families'])}")
    told += [
        f"{each['family']} is left to Dask alone ({each['runs_left']} runs more): "
        f"{each['sent_back']}"
        for each in found["families"]
        if each["sent_back"] is not None
    ]
    return [one_line(each) for each in (*told, *found["problems"])]


def families_table(families: Sequence[dict[str, Any]]) -> Table:
    """Lay out what serves which family."""
    rows = []
    for each in families:
        ratio = each["last_ratio"]
        own = "-" if each["model"] is None else each["model"]
        by = each["last_model"] or "several, or none"
        time = "-" if ratio is None else f"{ratio:.3f}"
        rows.append((each["family"], str(each["runs"]), own, by, time))
    names = ("family", "runs", "model of its own", "last run by", "of Dask's time")
    return model_tables.table(names, rows)


def events_table(events: Sequence[Event]) -> Table:
    """Lay out events, the newest last."""
    rows = [
        (
            model_tables.when(event.time),
            event.kind,
            event.what or model_tables.family_of(event),
            event.why,
        )
        for event in events
    ]
    return model_tables.table(("when (UTC)", "event", "what", "why"), rows)
