"""What happened in a training, one JSON object a line; lines are only ever appended."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any


class Journal:
    """A file of events, each with its time and its kind.

    A process that is killed in the middle of a line leaves one that is passed over.

    Parameters
    ----------
    path
        Made with the first event.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

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
        with self.path.open("ab+") as file:
            end = file.seek(0, os.SEEK_END)
            torn = False
            if end:
                file.seek(end - 1)
                torn = file.read(1) != b"\n"
            # In one piece, as far as the system has it; behind a line that was cut, a new one.
            file.write(b"\n" * torn + line.encode() + b"\n")

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
            except ValueError:
                continue
            if isinstance(event, dict) and isinstance(event.get("event"), str):
                events.append(event)
        return events
