"""The reference of the command line, from what click knows of the commands."""

from __future__ import annotations

import inspect
from collections.abc import Iterator

import click

from dask_mlsched.cli import mlsched


def command_reference() -> str:
    """Return a page's worth of Markdown: a section for each command, with its arguments."""
    context = click.Context(mlsched, info_name="dask mlsched")
    return "\n".join(line for part in _sections(mlsched, context, level=2) for line in part)


def _sections(
    command: click.Command, context: click.Context, level: int
) -> Iterator[tuple[str, ...]]:
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            inner = command.get_command(context, name)
            assert inner is not None
            below = click.Context(inner, info_name=name, parent=context)
            yield _section(inner, below, level)
            yield from _sections(inner, below, level + 1)


def _section(command: click.Command, context: click.Context, level: int) -> tuple[str, ...]:
    usage = " ".join(command.collect_usage_pieces(context))
    lines = [
        f"{'#' * level} {context.command_path}",
        "",
        *("```console", f"$ {context.command_path} {usage}", "```", ""),
        *_text(command.help or ""),
        "",
    ]
    if not isinstance(command, click.Group):
        lines += _options(command, context)
    return (*lines, "")


def _text(help_text: str) -> Iterator[str]:
    """Yield the paragraphs of a help text; those that click keeps as they are begin with a sign."""
    for paragraph in inspect.cleandoc(help_text).split("\n\n"):
        if paragraph.startswith("\b\n"):
            yield from ("```text", paragraph.removeprefix("\b\n"), "```")
        else:
            yield _plain(paragraph)
        yield ""


def _options(command: click.Command, context: click.Context) -> Iterator[str]:
    records = [
        record
        for parameter in command.get_params(context)
        if (record := parameter.get_help_record(context)) is not None
    ]
    if records:
        yield "| option | meaning |"
        yield "|---|---|"
        for names, meaning in records:
            yield f"| `{names.replace('|', chr(92) + '|')}` | {_plain(meaning)} |"


def _plain(text: str) -> str:
    """Make one line of a text in which nothing is markup."""
    line = " ".join(text.split())
    for sign in "\\`*_[]<>|$":
        line = line.replace(sign, f"\\{sign}")
    return line
