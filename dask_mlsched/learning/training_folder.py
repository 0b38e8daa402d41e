"""The folder of a training beside a cluster: what lies where, and who may write to it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from dask_mlsched.core import features
from dask_mlsched.core.training_message import LIBRARY, RUN_SUFFIX, RUNS
from dask_mlsched.learning.families import Families
from dask_mlsched.learning.library import Library
from dask_mlsched.learning.replay import ReplayBuffer
from dask_mlsched.learning.replay_file import SUFFIX, ReplayError

DECISIONS: Final = f"decisions{SUFFIX}"
FAMILIES: Final = "families"

#: Seconds for which the process of a scheduler that was killed may still be there.
_LAST_BREATH: Final = 5.0


@dataclass(frozen=True, eq=False)
class TrainingFolder:
    """The parts of a folder, open for writing; one process at a time has it."""

    path: Path
    buffer: ReplayBuffer
    families: Families
    library: Library

    @classmethod
    def open(
        cls, path: Path, capacity: int, *, now: Callable[[], float] = time.time
    ) -> TrainingFolder:
        """Open a folder; it is made if it is not there.

        Parameters
        ----------
        capacity
            Decisions that are kept, if none have been so far.
        now
            Seconds since the epoch.

        Raises
        ------
        OSError
            If it cannot be made or read.
        dask_mlsched.learning.replay_file.ReplayError
            If another process has it, or its decisions cannot be used.
        dask_mlsched.learning.model_ref.LibraryError
            If its library cannot be used.
        """
        path.mkdir(parents=True, exist_ok=True)
        buffer = _opened(path / DECISIONS, capacity)
        try:
            library = Library.open(path / LIBRARY, now=now)
        except BaseException:
            buffer.close()
            raise
        return cls(path, buffer, Families(path / FAMILIES), library)

    def runs(self) -> list[Path]:
        """List the runs that wait to be learned from, oldest first."""
        return waiting_runs(self.path)

    def close(self) -> None:
        """Give it back."""
        self.buffer.close()


def waiting_runs(folder: Path) -> list[Path]:
    """List the runs in the folder of a training, oldest first; whoever has it."""
    spool = folder / RUNS
    return sorted(spool.glob(f"*{RUN_SUFFIX}")) if spool.is_dir() else []


def _opened(file: Path, capacity: int) -> ReplayBuffer:
    deadline = time.monotonic() + _LAST_BREATH
    while True:
        try:
            if not file.exists():
                return ReplayBuffer.create(file, features.NAMES, capacity)
            return ReplayBuffer.open(file, features.NAMES, "write")
        except ReplayError as error:
            if "is writing to it" not in str(error) or time.monotonic() > deadline:
                raise
        time.sleep(0.1)
