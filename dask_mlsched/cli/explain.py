"""`dask mlsched explain` and `dask mlsched status`: what the plugin says of a task, of itself."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

import click

from dask_mlsched.cli import traces
from dask_mlsched.cli.cluster import SCHEDULER, handle_of
from dask_mlsched.cli.options import JSON, Command, complain
from dask_mlsched.cli.output import write_json
from dask_mlsched.core.trace_explanation import explain_in_trace
from dask_mlsched.extension.explanation import Explanation


@click.command(cls=Command)
@click.argument("key")
@SCHEDULER
@click.option(
    "--trace",
    "trace_file",
    type=click.Path(path_type=Path),
    help="Instead of a cluster that runs: a recorded run, as handle.save_trace writes it.",
)
@click.option("--json", "json_file", type=JSON, help="Write the figures here; - is stdout.")
def explain(
    key: str, scheduler: str | None, trace_file: Path | None, json_file: str | None
) -> None:
    """Say why a task was run, held back or passed over.

    KEY is the task's, as Dask's dashboard shows it: sum-1a2b3c, or "('x-4d5e6f', 0, 1)" in quotes.
    A part of it lists the keys in which it occurs.
    """
    if trace_file is not None:
        if scheduler is not None:
            complain("--trace and --scheduler are two ways to ask; leave one of them out")
        answer = Explanation(explain_in_trace(traces.read(trace_file), key))
    else:
        with handle_of(scheduler) as handle:
            answer = handle.explain(_as_key(key))
            if answer["state"] == "unknown" and "decision" not in answer:
                # A key that looks like a tuple may be text all the same.
                answer = handle.explain(key)
    _show(answer, json_file)
    if answer["state"] == "unknown" and "decision" not in answer:
        raise SystemExit(1)


@click.command(cls=Command)
@SCHEDULER
@click.option("--json", "json_file", type=JSON, help="Write the figures here; - is stdout.")
def status(scheduler: str | None, json_file: str | None) -> None:
    """Say what the plugin on a cluster does, and how its workers are."""
    with handle_of(scheduler) as handle:
        _show(handle.status(), json_file)


def _as_key(text: str) -> Any:
    """Read a key as Dask shows it: a tuple, or text."""
    if not text.startswith("("):
        return text
    try:
        read = ast.literal_eval(text)
    except (SyntaxError, ValueError):
        return text
    return read if isinstance(read, tuple) else text


def _show(answer: Any, json_file: str | None) -> None:
    if json_file is not None:
        write_json(json_file, _plain(answer))
    if json_file != "-":
        click.echo(str(answer))


def _plain(value: Any) -> Any:
    """Return what JSON can hold: keys that are tuples become text, and so do their parts."""
    if isinstance(value, dict):
        return {str(name): _plain(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_plain(each) for each in value]
    return value if isinstance(value, str | int | float | None) else str(value)
