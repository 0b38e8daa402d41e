"""What commands show: progress on standard error, tables and JSON on standard output."""

from __future__ import annotations

import json
from pathlib import Path

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn


def advance(progress: Progress, bar: TaskID, done: float) -> None:
    """Say how much of a bar is done."""
    progress.update(bar, completed=done)


def progress_bars() -> Progress:
    """Return bars with what is going on, its share and its time."""
    return Progress(
        TextColumn("{task.description:<34}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} %"),
        TimeElapsedColumn(),
        console=Console(stderr=True),
    )


def console() -> Console:
    """Return where tables are printed."""
    terminal = Console()
    # Written to a file or a pipe, a table must not be cut to the width of nothing.
    return terminal if terminal.is_terminal else Console(width=110)


def write_json(where: str, content: object) -> None:
    """Write to a file, or to standard output for ``-``."""
    write_text(where, json.dumps(content, indent=2, allow_nan=False) + "\n")


def write_text(where: str, text: str) -> None:
    """Write to a file, or to standard output for ``-``."""
    if where == "-":
        click.echo(text, nl=False)
    else:
        Path(where).write_text(text)
