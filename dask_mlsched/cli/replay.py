"""`dask mlsched replay …`: what is in a replay buffer, and taking it out; see also `replay_add`."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
from rich import box
from rich.table import Table

from dask_mlsched.cli.options import JSON, Checked, Command, Group, complain
from dask_mlsched.cli.output import console, write_json
from dask_mlsched.extension.quantities import parse_duration
from dask_mlsched.learning.replay import ReplayBuffer
from dask_mlsched.learning.replay_file import SUFFIX, Mode, ReplayError
from dask_mlsched.learning.replay_info import Info

_AGE = Checked("duration", lambda text: parse_duration("--older-than", text))
_WHERE = click.argument("where", metavar="DIR_OR_FILE", type=click.Path(path_type=Path))
_JSON = click.option("--json", "json_file", type=JSON, help="Write the figures here; - is stdout.")


def _family(text: str) -> int:
    """Read a family as `info` shows it.

    Raises
    ------
    ValueError
        If it is none.
    """
    try:
        return int(text, 16)
    except ValueError:
        msg = f"--family={text!r} is no family; expected up to 16 hexadecimal digits, as in info"
        raise ValueError(msg) from None


@click.command(cls=Command)
@_WHERE
@_JSON
def info(where: Path, json_file: str | None) -> None:
    """Count the decisions in a buffer, by where they come from."""
    with _opened(where, "read") as buffer:
        found = buffer.info()
    if json_file is not None:
        write_json(json_file, as_json(found))
    if json_file != "-":
        console().print(table(found))


@click.command(cls=Command)
@_WHERE
@click.option(
    "--out",
    required=True,
    type=click.Path(dir_okay=False, path_type=Path),
    help="The .npz file to write: an array for each field.",
)
@_JSON
def export(where: Path, out: Path, json_file: str | None) -> None:
    """Write all decisions to a file that numpy reads."""
    with _opened(where, "read") as buffer:
        try:
            count = buffer.export(out)
        except OSError as error:
            complain(f"--out={str(out)!r} cannot be written ({error.strerror}); name another file")
    _tell({"records": count, "out": str(out)}, f"{count} decisions written to {out}", json_file)


@click.command(cls=Command)
@_WHERE
@click.option("--keep", type=click.IntRange(min=0), help="Keep only so many, the newest.")
@click.option("--family", type=Checked("hex", _family), help="Remove those of a family.")
@click.option("--older-than", type=_AGE, help="Remove those of before, such as 30d.")
@_JSON
def prune(
    where: Path,
    keep: int | None,
    family: int | None,
    older_than: float | None,
    json_file: str | None,
) -> None:
    """Remove decisions from a buffer: by age, by family, or all but the newest."""
    given = [option for option in (keep, family, older_than) if option is not None]
    if len(given) != 1:
        complain(f"{len(given)} criteria; give one of --keep, --family and --older-than")
    before = None if older_than is None else time.time() - older_than
    with _opened(where, "write") as buffer:
        removed = buffer.prune(keep_newest=keep, family=family, older_than=before)
        left = len(buffer)
    figures = {"removed": removed, "records": left}
    _tell(figures, f"{removed} decisions removed, {left} left", json_file)


def _commands() -> Sequence[click.Command]:
    from dask_mlsched.cli.replay_add import add

    return add, info, export, prune


#: The group, one of the commands of `dask mlsched`.
replay = Group(
    "replay", help="Look after the decisions that are kept to learn from.", load=_commands
)


def as_json(found: Info) -> dict[str, Any]:
    """Return what `info` found for machines: times are seconds since the epoch."""
    families = {f"{family:016x}": count for family, count in found.families.items()}
    return asdict(found) | {"path": str(found.path), "families": families}


def table(found: Info) -> Table:
    """Lay out what `info` found for a terminal."""
    laid = Table(title=str(found.path), box=box.SIMPLE_HEAD, show_header=False)
    laid.add_column()
    laid.add_column(justify="right")
    for name, value in (
        ("decisions", f"{found.records:,} of {found.capacity:,}"),
        ("labelled", f"{found.labelled:,}"),
        ("live", f"{found.live:,}"),
        ("simulated", f"{found.simulated:,}"),
        ("torn, passed over", f"{found.torn:,}"),
        ("runs", f"{found.runs:,}"),
        ("features", f"{len(found.names)}"),
        ("size on disk", f"{found.nbytes / 1e6:,.1f} MB"),
        ("oldest", _date(found.oldest)),
        ("newest", _date(found.newest)),
        *((f"family {family:016x}", f"{count:,}") for family, count in found.families.items()),
    ):
        laid.add_row(name, value)
    return laid


def _date(seconds: float | None) -> str:
    if seconds is None:
        return "–"
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def _opened(where: Path, mode: Mode) -> ReplayBuffer:
    try:
        return ReplayBuffer.open(_file_of(where), mode=mode)
    except ReplayError as error:
        complain(str(error))


def _file_of(where: Path) -> Path:
    """Return the file, or the one buffer in the folder."""
    if not where.is_dir():
        return where
    found = sorted(where.glob(f"*{SUFFIX}"))
    if len(found) != 1:
        names = ", ".join(path.name for path in found) or "none"
        complain(f"{str(where)!r} holds {len(found)} replay buffers ({names}); name one file")
    return found[0]


def _tell(figures: dict[str, Any], text: str, json_file: str | None) -> None:
    if json_file is not None:
        write_json(json_file, figures)
    if json_file != "-":
        click.echo(text)
