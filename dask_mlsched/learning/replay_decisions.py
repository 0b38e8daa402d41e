"""The labelled decisions in the replay buffers of a folder."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from dask_mlsched.core import features
from dask_mlsched.learning.decisions import Decisions, InvalidDecisionsError
from dask_mlsched.learning.replay import ReplayBuffer
from dask_mlsched.learning.replay_file import SUFFIX


def read_folder(where: Path) -> Decisions:
    """Read a buffer, or all buffers in a folder, oldest decisions of each first.

    Raises
    ------
    InvalidDecisionsError
        If there is no buffer, or no labelled decision.
    dask_mlsched.learning.replay_file.ReplayError
        If a buffer cannot be used.
    """
    paths = sorted(where.glob(f"*{SUFFIX}")) if where.is_dir() else [where]
    records = []
    for path in paths:
        with ReplayBuffer.open(path, features.NAMES) as buffer:
            records.append(buffer.records(labelled=True))
    if not sum(map(len, records)):
        msg = (
            f"{str(where)!r} holds {len(paths)} replay buffers and no labelled decision; "
            "expected some: label what was recorded first, or name another folder"
        )
        raise InvalidDecisionsError(msg)
    return Decisions.from_records(np.concatenate(records))
