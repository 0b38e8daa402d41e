"""A run that is over, and what it came to."""

from __future__ import annotations

from dataclasses import dataclass

from dask_mlsched.learning.fingerprint import Fingerprint
from dask_mlsched.learning.instance import Instance


@dataclass(frozen=True, eq=False)
class EndedRun:
    """A run that is over."""

    fingerprint: Fingerprint
    #: See `dag_digest`; and what most of its tasks are, for people.
    program: str
    word: str
    #: Seconds since the epoch.
    time: float
    #: Which model decided, as the library names it; None if that cannot be told.
    model: str | None
    seconds: float
    #: What Dask alone would take, simulated; 0 if the simulation does not foretell such runs.
    baseline_seconds: float
    #: To search and judge on; None if nothing can be won there, or it could not be simulated.
    instance: Instance | None
    bytes_moved: int = 0
    baseline_bytes: int = 0
    held_share: float = 0.0
    failures: int = 0
