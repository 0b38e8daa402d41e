"""Reading files that nobody vouches for: quickly, never too much, and only what is a file.

A pipe would block for ever, a device may never end, and a link may lead anywhere.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Final

# Opened so, a pipe that nobody writes to is opened at once, and then found to be no file.
_FILE: Final = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC

_PIECE: Final = 1 << 20


class TooLargeError(OSError):
    """A file that is larger than it may be."""

    def __init__(self, nbytes: int) -> None:
        super().__init__(errno.EFBIG, f"{nbytes} bytes")
        self.nbytes = nbytes


def read_regular(path: Path, limit: int) -> bytes:
    """Read a regular file; links are followed.

    Raises
    ------
    TooLargeError
        If it holds more than `limit` bytes.
    OSError
        If it cannot be read, or is a folder, a pipe, a device or the like.
    """
    return _content(os.open(path, _FILE), limit)


def read_below(root: Path, parts: Sequence[str], limit: int) -> bytes:
    """Read a regular file below a folder, to which no link leads: it cannot lie elsewhere.

    Parameters
    ----------
    root
        The folder; links on the way to it are followed.
    parts
        The names of folders below it, and of the file.
    limit
        Bytes that it may hold.

    Raises
    ------
    TooLargeError
        If it holds more than `limit` bytes.
    OSError
        If it cannot be read, is no regular file, or a link leads there.
    """
    folder = os.open(root, _FOLDER)
    try:
        for part in parts[:-1]:
            inner = os.open(part, _FOLDER | os.O_NOFOLLOW, dir_fd=folder)
            os.close(folder)
            folder = inner
        return _content(os.open(parts[-1], _FILE | os.O_NOFOLLOW, dir_fd=folder), limit)
    finally:
        os.close(folder)


def open_for_appending(path: str | Path, flags: int = os.O_RDWR | os.O_APPEND) -> int:
    """Open a regular file to which no link leads, to write to it; it is made if it is not there.

    Raises
    ------
    OSError
        If it cannot be opened, is no regular file, or a link.
    """
    safe = os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
    descriptor = os.open(path, flags | safe, 0o666)
    try:
        _check_regular(os.fstat(descriptor))
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def _content(descriptor: int, limit: int) -> bytes:
    try:
        status = os.fstat(descriptor)
        _check_regular(status)
        if status.st_size > limit:
            raise TooLargeError(status.st_size)
        # The size that a file is said to have need not be true by now.
        data = bytearray()
        while piece := os.read(descriptor, min(_PIECE, limit + 1 - len(data))):
            data += piece
            if len(data) > limit:
                raise TooLargeError(max(len(data), os.fstat(descriptor).st_size))
        return bytes(data)
    finally:
        os.close(descriptor)


def _check_regular(status: os.stat_result) -> None:
    if stat.S_ISDIR(status.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.EINVAL, "a pipe or a device, no regular file")
