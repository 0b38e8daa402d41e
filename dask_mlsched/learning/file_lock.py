"""One process at a time, as long as it takes to change a few files."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dask_mlsched.learning.checked_file import open_for_appending


@contextmanager
def locked(path: Path, patience: float) -> Iterator[None]:
    """Hold a lock that no other process or thread holds; it ends with the process, too.

    Parameters
    ----------
    path
        A file that stands for it; made if it is not there, and never taken away.
    patience
        Seconds to wait for it.

    Raises
    ------
    TimeoutError
        If others do not give it back.
    OSError
        If the file cannot be opened, or is no regular file.
    """
    descriptor = open_for_appending(path, os.O_RDWR)
    try:
        _wait(descriptor, path, patience)
        yield
    finally:
        # This gives it back: no other descriptor stands for the same opening.
        os.close(descriptor)


def _wait(descriptor: int, path: Path, patience: float) -> None:
    deadline = time.monotonic() + patience
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                msg = f"{str(path)!r} has been locked by another process for {patience:g} seconds"
                raise TimeoutError(msg) from None
            time.sleep(0.005)
        else:
            return
