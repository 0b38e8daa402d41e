"""What happened in a training, one JSON object a line; lines are only ever appended."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import IO, Any

from dask_mlsched.learning.checked_file import open_for_appending


class Journal:
    """A file of events, each with its time and its kind.

    A process that is killed in the middle of a line leaves one that is passed over.

    Parameters
    ----------
    path
        Made with the first event.
    durable
        Whether an event is on disk when `write` returns. Nor is such a journal written to through
        a link.
    """

    def __init__(self, path: Path, *, durable: bool = False) -> None:
        self.path = path
        self._durable = durable

    def write(self, kind: str, time: float, **fields: Any) -> None:
        """Append an event.

        Parameters
        ----------
        time
            Seconds since the epoch.
        **fields
            What JSON can hold.

        Raises
        ------
        OSError
            If it cannot be written.
        """
        line = json.dumps({"time": round(time, 3), "event": kind, **fields}, allow_nan=False)
        with self._open() as file:
            end = file.seek(0, os.SEEK_END)
            torn = False
            if end:
                file.seek(end - 1)
                torn = file.read(1) != b"\n"
            # In one piece, as far as the system has it; behind a line that was cut, a new one.
            file.write(b"\n" * torn + line.encode() + b"\n")
            if self._durable:
                file.flush()
                os.fsync(file.fileno())

    def _open(self) -> IO[bytes]:
        if self._durable:
            return os.fdopen(open_for_appending(self.path), "ab+")
        return self.path.open("ab+")

    def read(self) -> list[dict[str, Any]]:
        """List the events, oldest first; lines that are none are passed over.

        Raises
        ------
        OSError
            If the file is there and cannot be read.
        """
        if not self.path.exists():
            return []
        events = []
        for line in self.path.read_bytes().splitlines():
            try:
                event = json.loads(line)
            except (ValueError, RecursionError):
                continue
            if isinstance(event, dict) and isinstance(event.get("event"), str):
                events.append(event)
        return events
