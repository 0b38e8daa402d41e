"""`dask mlsched models merge|split|generalise|promote|rollback`: what else happens by itself.

A cluster may be learning in the same folder. It goes by what was done here from the end of its
next run on.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Final

import click

from dask_mlsched.cli import model_tables
from dask_mlsched.cli.models_folder import JSON_FILE, TRAINING, one_line_errors, shown
from dask_mlsched.cli.options import Command, complain
from dask_mlsched.config import Config, ConfigError
from dask_mlsched.core.training_message import LIBRARY
from dask_mlsched.learning.families import Families
from dask_mlsched.learning.family import Family
from dask_mlsched.learning.library import Library
from dask_mlsched.learning.model_ref import PREVIOUS, LibraryError
from dask_mlsched.learning.operations import Operations
from dask_mlsched.learning.outcome import REFUSED, Effort, Outcome
from dask_mlsched.learning.training_folder import FAMILIES

#: What commands end with whose gate has refused: nothing was wrong with how they were called.
REFUSED_EXIT: Final = 1

SECONDS = click.option(
    "--seconds",
    type=click.FloatRange(min=0),
    default=60.0,
    show_default=True,
    help="So long may the search take.",
)
REASON = click.option(
    "--reason", required=True, help="Why: one line, kept on the card and in the log."
)


@click.command(cls=Command)
@TRAINING
@click.argument("families", nargs=-1, required=True)
@SECONDS
@JSON_FILE
def merge(
    directory: Path, families: tuple[str, ...], seconds: float, json_file: str | None
) -> None:
    """Make one model of those of two or more FAMILIES, if it is as good for each of them."""

    def do(operations: Operations) -> Outcome:
        names = [_family(operations, name).name for name in dict.fromkeys(families)]
        return operations.merge(names, _effort(seconds), seed=_seed())

    _do(directory, json_file, do)


@click.command(cls=Command)
@TRAINING
@click.argument("family")
@SECONDS
@JSON_FILE
def split(directory: Path, family: str, seconds: float, json_file: str | None) -> None:
    """Try a model of its own for a FAMILY; the next version of it, if it has one."""
    _do(
        directory,
        json_file,
        lambda operations: operations.update(
            _family(operations, family), _effort(seconds), seed=_seed()
        ),
    )


@click.command(cls=Command)
@TRAINING
@SECONDS
@JSON_FILE
def generalise(directory: Path, seconds: float, json_file: str | None) -> None:
    """Try a generalist, made of all models and runs; it is on trial if its gate lets it through."""
    _do(
        directory,
        json_file,
        lambda operations: operations.generalise(_effort(seconds), seed=_seed()),
    )


@click.command(cls=Command)
@TRAINING
@click.argument("version")
@REASON
@click.option("--force", is_flag=True, help="Whatever its gate says.")
@JSON_FILE
def promote(directory: Path, version: str, reason: str, force: bool, json_file: str | None) -> None:
    """Let VERSION serve as champion, if its gate finds it as good as the one that serves."""

    def do(operations: Operations) -> Outcome:
        ref = operations.library.resolve(version)
        figures: Mapping[str, float]
        figures, objection = {}, None
        if ref != operations.champion:  # which `promote` complains about
            figures, objection = _gate(operations, ref, force=force)
        if objection is None or force:
            return operations.promote(ref, reason, figures)
        told = f"promotion of {ref}: {objection}"
        refused = operations.refuse(told, figures, [ref])
        return replace(refused, reason=f"{told}; --force does it all the same")

    _do(directory, json_file, do)


@click.command(cls=Command)
@TRAINING
@REASON
@JSON_FILE
def rollback(directory: Path, reason: str, json_file: str | None) -> None:
    """Let the champion before serve again, with the models of families as they were then."""

    def do(operations: Operations) -> Outcome:
        if PREVIOUS not in operations.library.aliases():
            complain(f"{operations.champion} is the first champion; there is none to go back to")
        return operations.roll_back(reason)

    _do(directory, json_file, do)


def _gate(
    operations: Operations, ref: str, *, force: bool
) -> tuple[Mapping[str, float], str | None]:
    """Put a version to its gate; with force, also a champion may go that cannot be loaded."""
    operations.network(ref)
    try:
        return operations.gate(ref)
    except LibraryError:
        if not force:
            raise
        return {}, None


def _family(operations: Operations, name: str) -> Family:
    if name not in operations.families:
        known = ", ".join(each.name for each in operations.families) or "none so far"
        complain(f"family {name!r} is not known; expected one of: {known}")
    return operations.families[name]


def _effort(seconds: float) -> Effort:
    began = time.monotonic()
    return Effort(lambda: time.monotonic() - began, seconds)


def _seed() -> int:
    # Another one each time: the same search again would come to the same.
    return time.time_ns() % 2**32


def _do(directory: Path, json_file: str | None, operation: Callable[[Operations], Outcome]) -> None:
    """Do something to the models of a training, and tell what came of it."""
    from dask_mlsched.benchmarks.shipped_instances import ship

    try:
        thresholds = Config.read().models
    except ConfigError as error:
        complain(str(error))
    with one_line_errors():
        # A mistyped folder must not be made into a library.
        Library.reading(directory / LIBRARY)
        families = Families(directory / FAMILIES)
        for problem in families.problems:
            click.echo(problem, err=True)
        operations = Operations(Library.open(directory / LIBRARY), families, thresholds, ship)
        outcome = operation(operations)
    content: dict[str, Any] = {"directory": str(directory), **asdict(outcome)}
    shown(json_file, content, people=lambda: _print(model_tables.outcome(outcome)))
    if outcome.event == REFUSED:
        click.get_current_context().exit(REFUSED_EXIT)


def _print(lines: Sequence[str]) -> None:
    for line in lines:
        click.echo(line)
