"""What the commands of `dask mlsched models` have in common."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from dask_mlsched.cli.options import JSON, complain
from dask_mlsched.cli.output import write_json
from dask_mlsched.core.training_message import LIBRARY as IN_TRAINING
from dask_mlsched.learning.model_ref import LibraryError


def _library(_context: click.Context, _parameter: click.Parameter, value: Path) -> Path:
    """Take the library itself, or the folder of a training that has one."""
    inside = value / IN_TRAINING
    return inside if inside.is_dir() else value


def _training(_context: click.Context, _parameter: click.Parameter, value: Path) -> Path:
    """Take the folder of a training, or the library in it."""
    whole = value.absolute()
    of_it = whole.name == IN_TRAINING and whole.is_dir() and not (whole / IN_TRAINING).is_dir()
    found = whole.parent if of_it else value
    if not (found / IN_TRAINING).is_dir():
        complain(
            f"{str(value)!r} holds no {IN_TRAINING!r}; name the training.directory of a scheduler"
        )
    return found


LIBRARY = click.argument(
    "directory", metavar="DIRECTORY", type=click.Path(path_type=Path), callback=_library
)
TRAINING = click.argument(
    "directory", metavar="DIRECTORY", type=click.Path(path_type=Path), callback=_training
)
JSON_FILE = click.option("--json", "json_file", type=JSON, help="Write it here; - is stdout.")


@contextmanager
def one_line_errors() -> Iterator[None]:
    """Turn what is wrong with a library into a line for the user."""
    try:
        yield
    except LibraryError as error:
        complain(str(error))
    except OSError as error:
        complain(f"the library cannot be used: {error}")


def shown(json_file: str | None, content: object, *, people: Callable[[], None]) -> None:
    """Write what was found for machines, and, unless that takes standard output, for people."""
    if json_file is not None:
        write_json(json_file, content)
    if json_file != "-":
        people()
