"""Files that are there as a whole or not at all, whenever the process or the machine stops."""

from __future__ import annotations

import contextlib
import itertools
import os
from pathlib import Path

#: Tells apart what one process is writing.
_NUMBERS = itertools.count(1)


def temporary_for(path: Path) -> Path:
    """Name a hidden file beside `path`: only within a folder's disk is renaming atomic."""
    return path.with_name(f".{path.name}-{os.getpid()}-{next(_NUMBERS)}")


def move_into_place(temporary: Path, path: Path) -> None:
    """Give a file, whose bytes are on disk, its name; on disk too when this returns.

    Raises
    ------
    OSError
        If it cannot; what was there stays.
    """
    temporary.replace(path)
    sync_folder(path.parent)


def sync_folder(path: Path) -> None:
    """Bring the names in a folder to disk.

    Raises
    ------
    OSError
        If it cannot be done.
    """
    folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def write_whole(path: Path, data: bytes) -> None:
    """Write a file by atomic rename, replacing what was there.

    Raises
    ------
    OSError
        If it cannot be written; what was there stays.
    """
    temporary = temporary_for(path)
    try:
        with temporary.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        move_into_place(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise
