"""Which arrays leave a device when a task needs room there.

By itself a worker's store evicts what was used longest ago. A rule names other
victims instead; they travel with the task's `Run`, and the controller's own
prediction evicts them first, so that the two agree. Whatever a rule leaves
open, the store decides.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Final, Protocol, runtime_checkable

from dask_mlsched.core.device import Device
from dask_mlsched.core.graph import TaskGraph
from dask_mlsched.core.residency import Residency


@dataclass(frozen=True, slots=True)
class Pressure:
    """A device on which a task that is about to be sent needs room."""

    worker: int
    residency: Residency
    graph: TaskGraph
    #: Arrays that stay: what this task and those in flight on the worker read and make.
    pinned: AbstractSet[int]
    #: How many bytes must go; more than 0.
    nbytes: int
    #: What a planner has planned for the worker; None without such a planner.
    plan: Plan | None = None

    def evictable(self) -> Iterable[int]:
        """Iterate over the arrays that may go, least recently used first."""
        return (array for array in self.residency if array not in self.pinned)


@runtime_checkable
class Plan(Protocol):
    """What a planner may tell an eviction rule, besides being a planner."""

    def planned_users(self, worker: int, array: int) -> int:
        """Count the tasks planned for a worker, and not yet sent, that read an array."""
        ...


def pressure(
    graph: TaskGraph, device: Device, task: int, worker: int, plan: Plan | None
) -> Pressure | None:
    """Work out what a task needs on a worker; None if there is room for it."""
    residency = device.residency
    if residency.limit is None:
        return None
    incoming = [task, *graph.dependencies[task]]
    nbytes = residency.resident_bytes - residency.limit
    for array in incoming:
        expected = graph.expected_nbytes(array)
        # What is larger than the limit stays in the slow tier.
        if array not in residency and expected <= residency.limit:
            nbytes += expected
    if nbytes <= 0:
        return None
    pinned = set(incoming)
    for other in device.in_flight:
        pinned.add(other)
        pinned.update(graph.dependencies[other])
    return Pressure(worker, residency, graph, pinned, nbytes, plan)


class EvictionRule(Protocol):
    """Names victims."""

    #: The name that users configure and see.
    name: str

    def victims(self, pressure: Pressure) -> Sequence[int]:
        """Name arrays to evict, in order, of `pressure.nbytes` together where that can be."""
        ...


class Lru:
    """What was used longest ago: what the store does by itself."""

    name = "lru"

    def victims(self, pressure: Pressure) -> Sequence[int]:
        """Name nothing."""
        return ()


#: Names that users may configure.
RULES: Final[tuple[str, ...]] = ("lru",)


def make(name: str) -> EvictionRule:
    """Build a rule from its name.

    Raises
    ------
    ValueError
        If there is no rule of that name.
    """
    match name:
        case "lru":
            return Lru()
        case _:
            msg = f"unknown eviction rule {name!r}; expected one of {', '.join(RULES)}"
            raise ValueError(msg)
