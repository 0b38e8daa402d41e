"""What commands share that speak with a cluster which runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import click
from distributed import Client

from dask_mlsched.cli.options import complain
from dask_mlsched.config import scheduler_address
from dask_mlsched.extension.handle import Handle, NotInstalledError

#: Seconds in which a scheduler has to answer.
_TIMEOUT = 10

SCHEDULER: Callable[[Any], Any] = click.option(
    "--scheduler",
    metavar="ADDRESS",
    help="Of the scheduler, such as tcp://host:8786. Default: Dask's setting scheduler-address. "
    "For TLS, Dask's settings under distributed.comm.tls count.",
)


@contextmanager
def handle_of(scheduler: str | None) -> Iterator[Handle]:
    """Speak with the plugin on a cluster; what is missing there ends the command with one line."""
    address = scheduler or scheduler_address()
    if address is None:
        complain("which cluster? give --scheduler ADDRESS, or set DASK_SCHEDULER_ADDRESS")
    try:
        with Client(address, timeout=_TIMEOUT, set_as_default=False) as client:
            yield Handle(client)
    except NotInstalledError as error:
        complain(f"{address}: {error}")
    except (OSError, TypeError, ValueError) as error:  # as a wrong address has it
        said = " ".join(str(error).split())
        complain(f"--scheduler={address!r} cannot be reached ({said}); is it running?")
