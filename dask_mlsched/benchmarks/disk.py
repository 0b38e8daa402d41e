"""Whether a folder is on a disk, and whether there is room."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

#: File systems that keep their files in memory.
_IN_MEMORY = {"tmpfs", "ramfs", "devtmpfs"}
_MOUNTS = Path("/proc/mounts")


class DiskError(ValueError):
    """A folder that is no place to spill to: one line with the cure."""


def require_disk(directory: Path | None, nbytes: int) -> None:
    """Complain unless `nbytes` can be written to a disk there.

    Dask's workers would go on without: with files in memory a run would measure nothing, and
    without room arrays stay in memory.

    Parameters
    ----------
    directory
        The folder; None: where temporary files go.
    nbytes
        Twice as many must be free.

    Raises
    ------
    DiskError
        If it is no folder that can be written to, keeps its files in memory, or is too full.
    """
    folder = Path(tempfile.gettempdir() if directory is None else directory).resolve()
    cure = "name a folder on a disk with --directory"
    if not folder.is_dir() or not os.access(folder, os.W_OK):
        msg = f"{str(folder)!r} is no folder that can be written to; {cure}"
        raise DiskError(msg)
    kind = file_system(folder)
    if kind in _IN_MEMORY:
        msg = f"{str(folder)!r} keeps its files in memory ({kind}); {cure}"
        raise DiskError(msg)
    free = shutil.disk_usage(folder).free
    if free < 2 * nbytes:
        msg = f"{str(folder)!r} has {free:,} bytes free, and {2 * nbytes:,} are needed; {cure}"
        raise DiskError(msg)


def file_system(folder: Path, mounts: Path = _MOUNTS) -> str | None:
    """Return the kind of file system that a folder is on; None where the kernel does not say.

    Parameters
    ----------
    folder
        An absolute path without links.
    mounts
        The kernel's list: a device, a place, a kind, … on each line, later mounts above earlier.
    """
    if not mounts.exists():
        return None
    found: tuple[int, str | None] = (0, None)
    for line in mounts.read_text().splitlines():
        _, place, kind, *_ = line.split(" ")
        # The kernel writes blanks in names as octal numbers.
        where = Path(place.replace("\\040", " "))
        if folder.is_relative_to(where) and len(where.parts) >= found[0]:
            found = len(where.parts), kind
    return found[1]
