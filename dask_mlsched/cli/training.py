"""`dask mlsched training`: what a cluster's training has come to, from the files in its folder."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import click
from rich import box
from rich.table import Table

from dask_mlsched.cli.options import JSON, Command, complain
from dask_mlsched.cli.output import console, write_json
from dask_mlsched.core import features
from dask_mlsched.core.training_message import MODELS
from dask_mlsched.learning.journal import Journal
from dask_mlsched.learning.model_versions import ModelVersions
from dask_mlsched.learning.replay import ReplayBuffer
from dask_mlsched.learning.replay_file import ReplayError
from dask_mlsched.learning.training_folder import DECISIONS, EVENTS, waiting_runs

_UPDATES: Final = ("accepted", "refused", "failed")

#: So many of the last updates are shown.
_SHOWN: Final = 10


@click.command(cls=Command)
@click.argument("directory", type=click.Path(path_type=Path))
@click.option("--json", "json_file", type=JSON, help="Write the figures here; - is stdout.")
def training(directory: Path, json_file: str | None) -> None:
    """Tell what was learned while a cluster ran, from the training.directory of its scheduler."""
    if not (directory / EVENTS).is_file():
        complain(
            f"{str(directory)!r} holds no {EVENTS}; name the training.directory of a scheduler"
        )
    found = figures(directory)
    if json_file is not None:
        write_json(json_file, found)
    if json_file != "-":
        for line in lines(found):
            click.echo(line)
        console().print(table(found))


def figures(directory: Path) -> dict[str, Any]:
    """Gather all of it for machines."""
    events = Journal(directory / EVENTS).read()
    counts = Counter(event["event"] for event in events)
    versions = ModelVersions(directory / MODELS)
    newest = versions.newest()
    rejected = [event for event in events if event["event"] == "rejected"]
    return {
        "directory": str(directory),
        "runs": {
            "collected": counts["collected"],
            "rejected": counts["rejected"],
            "waiting": len(waiting_runs(directory)),
        },
        "last_rejection": rejected[-1].get("reason") if rejected else None,
        "decisions": _decisions(directory / DECISIONS),
        "version": newest.number,
        "versions": versions.numbers(),
        "problems": list(newest.problems),
        "updates": [event for event in events if event["event"] in _UPDATES],
    }


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
    told = [f"runs: {counted}; {found['decisions']} decisions are there"]
    if found["last_rejection"]:
        told.append(f"rejected last: {found['last_rejection']}")
    serves = "the model that ships" if not found["version"] else f"version {found['version']}"
    told.append(f"{serves} serves; versions that are there: {found['versions'] or 'none'}")
    return [*told, *found["problems"]]


def table(found: dict[str, Any]) -> Table:
    """Lay out the last updates, the newest last."""
    made = Table(box=box.SIMPLE)
    for name in ("when (UTC)", "update", "overall", "own runs", "why"):
        made.add_column(name)
    for event in found["updates"][-_SHOWN:]:
        told = event.get("figures", {})
        what = event["event"]
        made.add_row(
            datetime.fromtimestamp(event["time"], UTC).strftime("%Y-%m-%d %H:%M"),
            f"version {event['version']}" if what == "accepted" else what,
            *(f"{told[name]:.4f}" if name in told else "" for name in ("overall", "own")),
            str(event.get("reason", "")),
        )
    return made
