"""One instance of a workload, ready to run: its dask collections and the check of their result."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from dask.core import flatten
from dask.typing import Key

from dask_mlsched.benchmarks.tiles import Matrix, buffers

#: A dask.array.Array or a Delayed.
Collection: TypeAlias = Any
#: A parameter of a workload, as it is shown and written to JSON.
Parameter: TypeAlias = int | float | str


@dataclass(frozen=True)
class Problem:
    """A program to run, and what is known about it beforehand."""

    workload: str
    #: Everything that, with the seed, determines the instance.
    parameters: Mapping[str, Parameter]
    seed: int
    #: Ordinary dask collections, computed together; what a client keeps.
    collections: tuple[Collection, ...]
    #: Bytes of the operands, named intermediates and results: what would have to fit on the
    #: device for no array ever to move.
    working_set: int
    #: Working set over device memory limit, unless the user asks for another.
    memory_ratio: float
    #: Bytes per second between the tiers at which copies, not arithmetic, take most of the time.
    bandwidth: float
    #: Whether the computed chunks, by key, are what scipy or numpy computes.
    check: Callable[[Mapping[Key, Matrix]], bool]

    def keys(self) -> list[Key]:
        """Return the keys of the results, in a fixed order."""
        return [key for c in self.collections for key in flatten(c.__dask_keys__())]

    def tasks(self) -> int:
        """Count the tasks, as they are before Dask optimizes the graph."""
        return len({key for c in self.collections for key in c.__dask_graph__()})

    def device_memory_limit(self, memory_ratio: float | None = None) -> int:
        """Bytes of device memory at which the working set is `memory_ratio` times too large."""
        ratio = self.memory_ratio if memory_ratio is None else memory_ratio
        # A workload without arrays runs under any limit.
        return round(self.working_set / ratio) or 64_000_000


def digest(results: Mapping[Key, Matrix]) -> str:
    """Return a hash of every bit of the results, in the order of their keys.

    Runs of one program in different orders have equal bits: each task computes the same from
    the same inputs, whenever and wherever it runs.
    """
    total = hashlib.sha256()
    for key in sorted(results, key=str):
        total.update(str(key).encode())
        for buffer in buffers(results[key]):
            total.update(f"{buffer.dtype}{buffer.shape}".encode())
            total.update(buffer.tobytes())
    return total.hexdigest()
