"""`dask mlsched models merge|split|generalise|promote|rollback`: what else happens by itself."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from dask_mlsched.cli.models_folder import DIRECTORY, JSON_FILE, one_line_errors, shown
from dask_mlsched.cli.options import Command, complain
from dask_mlsched.config import Config
from dask_mlsched.core.training_message import LIBRARY
from dask_mlsched.learning.families import Families
from dask_mlsched.learning.library import Library
from dask_mlsched.learning.model_ref import LibraryError
from dask_mlsched.learning.operations import Effort, Operations, Outcome
from dask_mlsched.learning.training_folder import FAMILIES

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
@DIRECTORY
@click.argument("families", nargs=-1, required=True)
@SECONDS
@JSON_FILE
def merge(
    directory: Path, families: tuple[str, ...], seconds: float, json_file: str | None
) -> None:
    """Make one model of those of two or more FAMILIES, if it is as good for each of them."""
    _do(directory, json_file, lambda operations: operations.merge(families, _effort(seconds)))


@click.command(cls=Command)
@DIRECTORY
@click.argument("family")
@SECONDS
@JSON_FILE
def split(directory: Path, family: str, seconds: float, json_file: str | None) -> None:
    """Try a model of its own for a FAMILY; the next version of it, if it has one."""
    _do(
        directory,
        json_file,
        lambda operations: operations.update(
            operations.families[family], _effort(seconds), seed=time.time_ns() % 2**32
        ),
    )


@click.command(cls=Command)
@DIRECTORY
@SECONDS
@JSON_FILE
def generalise(directory: Path, seconds: float, json_file: str | None) -> None:
    """Try a generalist, made of all models and runs; it is on trial if its gate lets it through."""
    _do(directory, json_file, lambda operations: operations.generalise(_effort(seconds)))


@click.command(cls=Command)
@DIRECTORY
@click.argument("version")
@REASON
@click.option("--force", is_flag=True, help="Whatever its gate says.")
@JSON_FILE
def promote(directory: Path, version: str, reason: str, force: bool, json_file: str | None) -> None:
    """Let VERSION serve as champion, if its gate finds it as good as the one that serves."""

    def do(operations: Operations) -> Outcome:
        ref = operations.library.resolve(version)
        figures, objection = operations.gate(ref)
        if objection is not None and not force:
            msg = f"{ref} may not be promoted: {objection}; --force does it all the same"
            raise LibraryError(msg)
        return operations.promote(ref, reason, figures)

    _do(directory, json_file, do)


@click.command(cls=Command)
@DIRECTORY
@REASON
@JSON_FILE
def rollback(directory: Path, reason: str, json_file: str | None) -> None:
    """Let the champion before serve again, with the models of families as they were then."""
    _do(directory, json_file, lambda operations: operations.roll_back(reason))


def _effort(seconds: float) -> Effort:
    began = time.monotonic()
    return Effort(lambda: time.monotonic() - began, seconds)


def _do(directory: Path, json_file: str | None, operation: Callable[[Operations], Outcome]) -> None:
    """Do something to the models of a training, and tell what came of it."""
    from dask_mlsched.benchmarks.shipped_instances import ship

    with one_line_errors():
        # A mistyped folder must not be made into a library.
        Library.reading(directory / LIBRARY)
        operations = Operations(
            Library.open(directory / LIBRARY),
            Families(directory / FAMILIES),
            Config.read().models,
            ship,
        )
        try:
            outcome = operation(operations)
        except KeyError as error:
            known = ", ".join(each.name for each in operations.families) or "none so far"
            complain(f"family {error} is not known; expected one of {known}")
    content: dict[str, Any] = {"directory": str(directory), **asdict(outcome)}
    shown(json_file, content, people=lambda: click.echo(_line(outcome)))


def _line(outcome: Outcome) -> str:
    about = " ".join(filter(None, (outcome.model, outcome.family)))
    return f"{outcome.event}: {about + ': ' if about else ''}{outcome.reason}"
