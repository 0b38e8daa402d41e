"""What is in a replay buffer, in figures."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dask_mlsched.learning.decision_record import SOURCES
from dask_mlsched.learning.replay_file import ReplayFile
from dask_mlsched.learning.replay_index import ReplayIndex


@dataclass(frozen=True)
class Info:
    """What is in a buffer."""

    path: Path
    names: tuple[str, ...]
    capacity: int
    nbytes: int
    records: int
    labelled: int
    #: Records that were being written when a process ended, and are passed over.
    torn: int
    live: int
    simulated: int
    #: How many different runs.
    runs: int
    #: Records of each family.
    families: dict[int, int]
    #: Seconds since the epoch, or None without records.
    oldest: float | None
    newest: float | None


def count(file: ReplayFile, index: ReplayIndex) -> Info:
    """Count what there is."""
    places = index.places(labelled=False)
    runs, family, source, times = (
        file.columns[name][places] for name in ("run", "family", "source", "time")
    )
    families, counts = np.unique(family, return_counts=True)
    live = int(np.count_nonzero(source == SOURCES.index("live")))
    return Info(
        path=file.path,
        names=file.names,
        capacity=file.capacity,
        nbytes=file.nbytes,
        records=len(places),
        labelled=len(index.places(labelled=True)),
        torn=index.torn,
        live=live,
        simulated=len(places) - live,
        runs=len(np.unique(runs)),
        families=dict(zip(families.tolist(), counts.tolist(), strict=True)),
        oldest=float(times.min()) if len(times) else None,
        newest=float(times.max()) if len(times) else None,
    )
