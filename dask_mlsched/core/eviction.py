"""Which arrays leave a device when a task needs room there.

By itself a worker's store evicts what was used longest ago. A rule names other
victims instead; they travel with the task's `Run`, and the controller's own
prediction evicts them first, so that the two agree. Whatever a rule leaves
open, the store decides.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from itertools import islice
from typing import Final, Protocol, runtime_checkable

from dask_mlsched.core.device import Device
from dask_mlsched.core.events import Priority
from dask_mlsched.core.graph import TaskGraph, TaskState
from dask_mlsched.core.residency import Residency

#: So many of the arrays that were used longest ago are looked at for one victim, and so many
#: readers of each that are not parked.
LOOKED_AT: Final = 64

#: So many arrays are named for one task at most; the rest is left to the store. A task that needs
#: the room of a thousand small ones must not keep the scheduler busy with each.
MOST_VICTIMS: Final = 64


#: Places of next uses: later than any priority, and earlier.
_NEVER: Final[Priority] = (-math.inf,)
_NOW: Final[Priority] = (math.inf,)

# By name, and not by attribute: they are compared with for each reader of each array.
_COMPUTED: Final = TaskState.COMPUTED
_UNDER_WAY: Final = (TaskState.SENT, TaskState.RUNNING)


@runtime_checkable
class Planned(Protocol):
    """A planner that knows which tasks a worker gets next."""

    def planned_users(self, worker: int, array: int) -> int:
        """Count the tasks planned for a worker, and not yet sent, that read an array."""
        ...


@runtime_checkable
class Ordered(Protocol):
    """A planner that knows the order of all tasks beforehand."""

    def next_use(self, worker: int, array: int) -> float:
        """Say when a worker uses an array next: a place in the order, infinite for never."""
        ...


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
    #: The planner of the task's user priority, which may be `Planned` or `Ordered`.
    planner: object = None

    def evictable(self) -> Iterator[int]:
        """Iterate over the arrays that may go and leave room, least recently used first."""
        pinned = self.pinned
        return (array for array, size in self.residency.sizes() if size and array not in pinned)

    def oldest_result(self) -> int | None:
        """Name the array among those that no task reads which was made first, if one may go."""
        size, dependents, pinned = self.residency.size, self.graph.dependents, self.pinned
        for array in self.residency.results:
            if array not in pinned and size(array) and not dependents[array]:
                return array
        return None


def pressure(
    graph: TaskGraph, device: Device, task: int, worker: int, planner: object = None
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
    return Pressure(worker, residency, graph, pinned, nbytes, planner)


class EvictionRule(Protocol):
    """Names victims."""

    #: The name that users configure and see.
    name: str

    def victim(self, pressure: Pressure) -> int | None:
        """Name the next array to evict, out of `pressure.evictable()`; None leaves the rest."""
        ...


class Lru:
    """What was used longest ago: what the store does by itself."""

    name = "lru"

    def victim(self, pressure: Pressure) -> int | None:
        """Name nothing."""
        return None


class Luf:
    """What the fewest planned tasks read: "least used in the future" (Gonthier et al., 2022).

    The first array that no planned task reads, or else the one that the fewest do. Those in
    flight are pinned, so nothing that a task which was given out reads is named. Without a
    planner that counts, parked tasks take the place of planned ones.
    """

    name = "luf"

    def victim(self, pressure: Pressure) -> int | None:
        """Name the array with the fewest planned readers."""
        graph, planner, worker = pressure.graph, pressure.planner, pressure.worker
        arrays = pressure.evictable()
        if isinstance(planner, Planned):
            return _fewest(arrays, lambda array: planner.planned_users(worker, array))
        return _fewest(arrays, graph.parked_readers.__getitem__)


def _fewest(arrays: Iterable[int], readers: Callable[[int], int]) -> int | None:
    best, fewest = None, math.inf
    for array in arrays:
        count = readers(array)
        if not count:
            return array
        if count < fewest:
            best, fewest = array, count
    return best


class NextUse:
    """The fewest bytes times nearness of the next use, and of equals the latest by Dask's order.

    A reader that is parked is near (1); one that waits for `n` arrays is at ``1 / (1 + n)``; an
    array that no task will read is at 0. Results, which no task of the graph reads, go before all
    others; of those, only the ones that were used longest ago are looked at.

    Where clean arrays go for free, what counts is the copying for each byte that is freed: the
    nearness of the next use, and one more for a dirty array that is to be read again, which may
    die before it has to go. A dirty one that nobody reads again is a result: it has to be copied
    once, whether now or later, and frees its place for good.

    Parameters
    ----------
    clean_is_free
        Whether the store drops a clean array without copying it.
    """

    name = "next-use"

    def __init__(self, *, clean_is_free: bool = False) -> None:
        self._clean_is_free = clean_is_free

    def victim(self, pressure: Pressure) -> int | None:
        """Name the array that costs least to do without."""
        result = pressure.oldest_result()
        if result is not None:
            return result
        arrays = islice(pressure.evictable(), LOOKED_AT)
        return min(arrays, key=lambda array: self._cost(pressure, array), default=None)

    def _cost(self, pressure: Pressure, array: int) -> tuple[float, Priority]:
        near, place = next_reader(pressure.graph, array)
        if not self._clean_is_free:
            return pressure.graph.expected_nbytes(array) * near, place
        if near > 0 and not pressure.residency.is_clean(array):
            return near + 1.0, place
        return near, place


def next_reader(graph: TaskGraph, array: int) -> tuple[float, Priority]:
    """Tell how near the next use of an array is, from 0 for never to 1, and its reader's place.

    The place is minus the reader's priority: of two uses that are as near, the larger is earlier.
    """
    # Priorities are compared as they are: to negate each would take most of the time.
    states, unfinished, priorities = graph.state, graph.unfinished, graph.priority
    fewest, earliest = math.inf, _NEVER
    for task in islice(graph.dependents[array], LOOKED_AT):
        state = states[task]
        if state == _COMPUTED:
            continue
        if state in _UNDER_WAY:
            return 1.0, _NOW
        waits_for = unfinished[task]
        if waits_for <= fewest and graph.will_read(task):
            priority = priorities[task]
            if waits_for < fewest or priority < earliest:
                fewest, earliest = waits_for, priority
    if fewest == math.inf:
        return 0.0, _NEVER
    return 1.0 / (1 + fewest), tuple(-part for part in earliest)


class Belady:
    """The furthest next use, which needs the order of all tasks beforehand (Belady, 1966).

    Parameters
    ----------
    place
        task -> its place in that order; without it, the planner is asked.
    """

    name = "belady"

    def __init__(self, place: Mapping[int, float] | None = None) -> None:
        self._place = place

    def victim(self, pressure: Pressure) -> int | None:
        """Name the array whose next use is furthest."""
        graph, place = pressure.graph, self._place
        planner, worker = pressure.planner, pressure.worker
        arrays = pressure.evictable()
        if place is not None:
            return max(arrays, key=lambda array: next_use(graph, array, place), default=None)
        if isinstance(planner, Ordered):
            return max(arrays, key=lambda array: planner.next_use(worker, array), default=None)
        return None  # the planner failed, and has not been made anew yet


def next_use(graph: TaskGraph, array: int, place: Mapping[int, float]) -> float:
    """Find the first place of a task that reads an array and has not been sent yet."""
    return min(
        (place.get(task, math.inf) for task in graph.dependents[array] if graph.will_read(task)),
        default=math.inf,
    )


#: Names that users may configure. `belady` needs a policy that knows the order beforehand.
RULES: Final[tuple[str, ...]] = ("lru", "luf", "next-use", "belady")


def make(name: str, policy: object = None, *, keep_clean: bool = False) -> EvictionRule:
    """Build a rule from its name.

    Parameters
    ----------
    policy
        Whose tasks the rule makes room for.
    keep_clean
        Whether the stores drop clean arrays for free.

    Raises
    ------
    ValueError
        If there is no rule of that name, or it cannot work with the policy.
    """
    match name:
        case "lru":
            return Lru()
        case "luf":
            return Luf()
        case "next-use":
            return NextUse(clean_is_free=keep_clean)
        case "belady" if isinstance(policy, Ordered):
            return Belady()
        case "belady":
            named = getattr(policy, "name", "stock")
            msg = (
                "eviction rule 'belady' needs the order of all tasks beforehand, which policy "
                f"{named!r} does not know; expected policy hfp, or take next-use"
            )
            raise ValueError(msg)
        case _:
            msg = f"unknown eviction rule {name!r}; expected one of {', '.join(RULES)}"
            raise ValueError(msg)
