"""`dask mlsched models …`: what is in a library of models, and how it came there."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
from rich.table import Table

from dask_mlsched.cli import model_figures, model_tables
from dask_mlsched.cli.models_folder import JSON_FILE, LIBRARY, one_line_errors, shown
from dask_mlsched.cli.options import COUNT, Command, Group
from dask_mlsched.cli.output import console
from dask_mlsched.learning.library import Library


def _printed(*parts: str | Table) -> None:
    for part in parts:
        if isinstance(part, str):
            click.echo(part)
        else:
            console().print(part)


@click.command("list", cls=Command)
@LIBRARY
@JSON_FILE
def list_versions(directory: Path, json_file: str | None) -> None:
    """List all versions of all models, which aliases mean them, and what is wrong with them."""
    with one_line_errors():
        found = model_figures.survey(Library.reading(directory))
    parts = (model_tables.versions(found), *found["problems"])
    shown(json_file, found, people=lambda: _printed(*parts))


@click.command(cls=Command)
@LIBRARY
@click.argument("version")
@JSON_FILE
def show(directory: Path, version: str, json_file: str | None) -> None:
    """Tell what is known of VERSION: an alias, the name of a model (its newest), or name/v0007."""
    with one_line_errors():
        library = Library.reading(directory)
        found = model_figures.version(library, library.resolve(version))
    parts: list[str | Table] = [*model_tables.card(found)]
    if found["network"]:
        parts.append(model_tables.weights(found["network"]["by_feature"]))
    shown(json_file, found, people=lambda: _printed(*parts))


@click.command(cls=Command)
@LIBRARY
@click.argument("first")
@click.argument("second")
@JSON_FILE
def diff(directory: Path, first: str, second: str, json_file: str | None) -> None:
    """Compare the cards and the networks of two versions."""
    with one_line_errors():
        library = Library.reading(directory)
        both = library.resolve(first), library.resolve(second)
        found = model_figures.difference(library, *both)
    parts: list[str | Table] = [model_tables.cards(found), *model_tables.distance(found)]
    if found["networks"]:
        parts.append(model_tables.weights(found["networks"]["by_feature"], "change"))
    shown(json_file, found, people=lambda: _printed(*parts))


@click.command(cls=Command)
@LIBRARY
@click.option("-n", "count", type=COUNT, help="So many of the last; all by default.")
@JSON_FILE
def log(directory: Path, count: int | None, json_file: str | None) -> None:
    """Tell what happened in a library, the newest last."""
    with one_line_errors():
        found = Library.reading(directory).events()
    last = found[-count:] if count else found
    content: dict[str, Any] = {
        "library": str(directory),
        "events": [event.as_json() for event in last],
    }
    shown(json_file, content, people=lambda: _printed(model_tables.events(last)))


@click.command(cls=Command)
@LIBRARY
@click.argument("version")
@click.option("--reason", required=True, help="Why: one line, kept in the library's events.")
@JSON_FILE
def remove(directory: Path, version: str, reason: str, json_file: str | None) -> None:
    """Remove VERSION, such as name/v0007, that no alias means."""
    with one_line_errors():
        # A mistyped folder must not be made into a library.
        Library.reading(directory)
        Library.open(directory).remove(version, reason)
    content = {"library": str(directory), "removed": version}
    shown(json_file, content, people=lambda: _printed(f"{version} is removed"))


def _commands() -> Sequence[click.Command]:
    from dask_mlsched.cli.models_change import generalise, merge, promote, rollback, split
    from dask_mlsched.cli.models_report import report
    from dask_mlsched.cli.similarities import similarities

    return (
        diff,
        generalise,
        list_versions,
        log,
        merge,
        promote,
        remove,
        report,
        rollback,
        show,
        similarities,
        split,
    )


models = Group(
    "models",
    help="Look into a library of models; make, merge, promote, roll back and remove some.",
    load=_commands,
)
