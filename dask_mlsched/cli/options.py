"""How commands take options: every mistake is one line on standard error, and exit code 2."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from dask_mlsched.benchmarks.optional import MissingDependencyError
from dask_mlsched.extension.quantities import parse_bandwidth, parse_duration, parse_size


class Mistake(click.ClickException):
    """Something that the user can put right: one line, exit code 2."""

    exit_code = 2


@contextmanager
def _one_line_errors(context: click.Context | None) -> Iterator[None]:
    # click itself prints three lines for a mistake: usage, a hint, and the error.
    try:
        yield
    except click.UsageError as error:
        if type(error).__name__ == "NoArgsIsHelpError":
            raise
        where = error.ctx or context
        cure = "" if where is None else f"; see: {where.command_path} --help"
        message = " ".join(error.format_message().split()).rstrip(".")
        raise Mistake(message + cure) from error


class Command(click.Command):
    """A command whose mistakes are one line."""

    def make_context(self, *args: Any, **kwargs: Any) -> click.Context:
        """Parse the command line."""
        with _one_line_errors(None):
            return super().make_context(*args, **kwargs)


class Group(click.Group):
    """The same for a group, whose commands are imported when one of them is used.

    Dask's command line loads every extension's group whatever the user runs, so ``dask scheduler``
    would otherwise wait for all that the benchmarks need.
    """

    def __init__(self, *args: Any, load: Callable[[], Sequence[click.Command]], **kw: Any) -> None:
        super().__init__(*args, **kw)
        self._load = load

    def make_context(self, *args: Any, **kwargs: Any) -> click.Context:
        """Parse the command line up to the command's name."""
        with _one_line_errors(None):
            return super().make_context(*args, **kwargs)

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        """Find the command that is named."""
        with _one_line_errors(ctx):
            return super().resolve_command(ctx, args)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Name the commands."""
        self._import()
        return super().list_commands(ctx)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Find a command."""
        self._import()
        return super().get_command(ctx, cmd_name)

    def _import(self) -> None:
        if not self.commands:
            self.commands = {command.name or "": command for command in self._load()}


if TYPE_CHECKING:
    _ParamType = click.ParamType[Any]
else:  # not generic at run time before click 8.4
    _ParamType = click.ParamType


class Checked(_ParamType):
    """An option whose text one of our own functions turns into a value, or complains about."""

    def __init__(self, name: str, convert: Callable[[str], Any]) -> None:
        self.name = name
        self._convert = convert

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Turn text into a value; a default may be one already."""
        if not isinstance(value, str):
            return value
        try:
            return self._convert(value)
        except ValueError as error:
            raise Mistake(str(error)) from error


def names(check: Callable[[str], object]) -> Callable[[str], tuple[str, ...]]:
    """Make a converter of names separated by commas, each of which `check` accepts or refuses."""

    def convert(text: str) -> tuple[str, ...]:
        # Twice the same name would count as two policies in one repeat.
        names = tuple(dict.fromkeys(name.strip() for name in text.split(",")))
        for name in names:
            check(name)
        return names

    return convert


def output_file(text: str) -> str:
    """Accept the name of a file that can be written, or ``-``.

    Checked before anything runs: minutes later, the figures would be lost.

    Raises
    ------
    ValueError
        If it cannot be written.
    """
    path = Path(text)
    target = path if path.exists() else path.parent
    if text != "-" and (path.is_dir() or not target.exists() or not os.access(target, os.W_OK)):
        msg = f"{text!r} cannot be written; name a file in a folder that can, or - for stdout"
        raise ValueError(msg)
    return text


@contextmanager
def missing_packages_are_mistakes() -> Iterator[None]:
    """Turn the want of an optional package into a line for the user."""
    try:
        yield
    except MissingDependencyError as error:
        raise Mistake(str(error)) from error


def complain(message: str) -> NoReturn:
    """End the command because of a mistake."""
    raise Mistake(message)


def make_folder(out: Path) -> None:
    """Make the folder of `--out` before anything runs, or complain."""
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        complain(f"--out={str(out)!r} cannot be made ({error.strerror}); name another folder")


def refuse_two_limits(memory_ratio: float | None, device_memory: int | None) -> None:
    """Complain if the device memory is given twice."""
    if memory_ratio is not None and device_memory is not None:
        complain(
            f"--memory-ratio={memory_ratio:g} and --device-memory={device_memory} "
            "both set the device memory; give one of them"
        )


#: Kinds of options that several commands take.
SIZE = Checked("size", lambda text: parse_size("--device-memory", text))
BANDWIDTH = Checked("bytes/s", lambda text: parse_bandwidth("--bandwidth", text))
LATENCY = Checked("duration", lambda text: parse_duration("--latency", text))
COUNT = click.IntRange(min=1)
JSON = Checked("file", output_file)
