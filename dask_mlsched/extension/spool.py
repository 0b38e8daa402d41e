"""The spool: runs that wait, as files, to be learned from; they outlive their scheduler."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Final

from dask_mlsched.core.training_message import LIBRARY, RUN_SUFFIX, RUNS
from dask_mlsched.extension.trace_files import write_at_once

#: So many runs wait at most; for one more, the oldest goes.
MOST: Final = 64


class Spool:
    """The runs in the folder of a training.

    Parameters
    ----------
    directory
        The folder; made with the first run.
    most
        So many wait at most.
    """

    def __init__(self, directory: str, most: int = MOST) -> None:
        self._folder = Path(directory).expanduser()
        self._runs = self._folder / RUNS
        self._most = most

    def anything(self) -> bool:
        """Tell whether there is something to learn from, or something that has been learned.

        Raises
        ------
        OSError
            If the folder cannot be read.
        """
        folders = (self._runs, self._folder / LIBRARY)
        return any(any(folder.iterdir()) for folder in folders if folder.is_dir())

    def add(self, run: bytes) -> int:
        """Write a run as a whole or not at all; return how many had to go for it.

        Raises
        ------
        OSError
            If it cannot be written.
        """
        self._runs.mkdir(parents=True, exist_ok=True)
        # In the order of time, also within a second.
        seconds, rest = divmod(time.time_ns(), 10**9)
        when = time.strftime("%Y%m%dT%H%M%S", time.gmtime(seconds))
        write_at_once(self._runs / f"{when}.{rest:09d}-{os.getpid()}{RUN_SUFFIX}", run)
        waiting = sorted(self._runs.glob(f"*{RUN_SUFFIX}"))
        gone = waiting[: max(0, len(waiting) - self._most)]
        for path in gone:
            path.unlink(missing_ok=True)
        return len(gone)
