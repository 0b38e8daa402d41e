"""What loading each array into a device would free: the index behind DARTS' choice.

A scan over all arrays and their ready tasks for every choice is what made the
published implementation slow on large graphs. Here every event touches the
tasks that it changes, and a choice looks at the arrays of which something has
changed since the last one.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Container, Iterable
from typing import Final, TypeAlias

from dask_mlsched.core.events import Priority

#: A heap is built anew when it holds this many times more entries than there are arrays.
_SLACK: Final = 4

#: (load seconds per second of free tasks, minus free tasks, minus tasks one from free, minus
#: seconds of all readers, the array's priority, array): the lowest is the best to load.
_Merit: TypeAlias = tuple[float, int, int, int, Priority, int]


class Readers:
    """The tasks to choose from, by the arrays that they read; shared by all devices."""

    def __init__(self) -> None:
        #: task -> the arrays that it reads, and nanoseconds that it computes. (Whole numbers add
        #: up to the same sum in every order, so that sums can follow tasks that come and go.)
        self.inputs: dict[int, tuple[int, ...]] = {}
        self.nanoseconds: dict[int, int] = {}
        #: array -> tasks that read it, and how long all of them compute.
        self.of: dict[int, dict[int, None]] = {}
        self.demand: dict[int, int] = {}

    def add(self, task: int, inputs: tuple[int, ...], seconds: float) -> None:
        """Take in a task."""
        self.inputs[task] = inputs
        nanoseconds = self.nanoseconds[task] = round(seconds * 1e9)
        for array in inputs:
            self.of.setdefault(array, {})[task] = None
            self.demand[array] = self.demand.get(array, 0) + nanoseconds

    def remove(self, task: int) -> None:
        """Take a task out."""
        nanoseconds = self.nanoseconds.pop(task)
        for array in self.inputs.pop(task):
            readers = self.of[array]
            del readers[task]
            self.demand[array] -= nanoseconds
            if not readers:
                del self.of[array], self.demand[array]


class ArrayIndex:
    """For one device: the tasks to choose from by how many of their inputs are missing there.

    A task of which one input is missing is *free* once that array is loaded; one of which two
    are missing is *one from free*. Tasks that read nothing are not in the index.

    Parameters
    ----------
    readers
        The tasks; a task is added there first, and removed there last.
    resident
        What is resident at the beginning.
    load_seconds
        How long an array takes to load.
    priority
        Of the task that makes an array: the earlier one breaks ties.
    """

    def __init__(
        self,
        readers: Readers,
        resident: Iterable[int],
        load_seconds: Callable[[int], float],
        priority: Callable[[int], Priority],
    ) -> None:
        self._readers = readers
        #: A copy, which changes array by array where the device's own changes by several at once.
        self._resident = set(resident)
        self._load_seconds = load_seconds
        self._priority = priority
        #: task -> how many of its inputs are missing.
        self.missing: dict[int, int] = {}
        #: Tasks of which nothing is missing.
        self.at_hand: dict[int, None] = {}
        #: missing array -> tasks that it would free, how long they compute, and those that it
        #: would bring one from free.
        self.free: dict[int, dict[int, None]] = {}
        self.free_nanoseconds: dict[int, int] = {}
        self.one_from_free: dict[int, dict[int, None]] = {}
        #: Arrays whose merit may have changed; what it was; a heap of it.
        self._changed: set[int] = set()
        self._merit: dict[int, _Merit] = {}
        self._heap: list[_Merit] = []
        for task, inputs in readers.inputs.items():
            if inputs:
                self.add(task)

    @property
    def resident(self) -> Container[int]:
        """What is resident on the device."""
        return self._resident

    def _missing_inputs(self, task: int) -> list[int]:
        resident = self._resident
        return [array for array in self._readers.inputs[task] if array not in resident]

    def add(self, task: int) -> None:
        """Take in a task that reads something."""
        missing = self._missing_inputs(task)
        self.missing[task] = len(missing)
        self._file(task, missing)
        self._changed.update(missing)

    def remove(self, task: int) -> None:
        """Take a task out."""
        missing = self._missing_inputs(task)
        del self.missing[task]
        self._unfile(task, missing)
        self._changed.update(missing)

    def _file(self, task: int, missing: list[int]) -> None:
        if not missing:
            self.at_hand[task] = None
        elif len(missing) == 1:
            array = missing[0]
            self.free.setdefault(array, {})[task] = None
            nanoseconds = self._readers.nanoseconds[task]
            self.free_nanoseconds[array] = self.free_nanoseconds.get(array, 0) + nanoseconds
        elif len(missing) == 2:
            for array in missing:
                self.one_from_free.setdefault(array, {})[task] = None

    def _unfile(self, task: int, missing: list[int]) -> None:
        if not missing:
            del self.at_hand[task]
        elif len(missing) == 1:
            array = missing[0]
            _take_out(self.free, array, task)
            self.free_nanoseconds[array] -= self._readers.nanoseconds[task]
            if array not in self.free:
                del self.free_nanoseconds[array]
        elif len(missing) == 2:
            for array in missing:
                _take_out(self.one_from_free, array, task)

    def came(self, array: int) -> None:
        """Note that an array is resident now."""
        self._moved(array, self._resident.add, -1)

    def went(self, array: int) -> None:
        """Note that an array is not resident any more."""
        self._moved(array, self._resident.discard, 1)

    def _moved(self, array: int, move: Callable[[int], None], change: int) -> None:
        # Of a task of which more is missing, before and after, nothing but the number changes.
        tasks = self._readers.of.get(array, {})
        few = [task for task in tasks if min(m := self.missing[task], m + change) <= 2]
        for task in few:
            self._unfile(task, self._missing_inputs(task))
        move(array)
        for task in tasks:
            self.missing[task] += change
        for task in few:
            missing = self._missing_inputs(task)
            self._file(task, missing)
            self._changed.update(missing)
        self._changed.add(array)

    def best(self) -> int | None:
        """Name the missing array that is best to load; None if none would free anything soon."""
        self._judge_changed()
        heap = self._heap
        while heap and self._merit.get(heap[0][-1]) is not heap[0]:
            heapq.heappop(heap)
        return heap[0][-1] if heap else None

    def _judge_changed(self) -> None:
        # In one loop, by local names: this is most of the longest decisions.
        free, one_from_free, nanoseconds = self.free, self.one_from_free, self.free_nanoseconds
        load_seconds, demand, priority = self._load_seconds, self._readers.demand, self._priority
        merits, heap = self._merit, self._heap
        for array in self._changed:
            freed, nearer = free.get(array), one_from_free.get(array)
            if freed:
                load, seconds = load_seconds(array), nanoseconds[array] * 1e-9
                ratio = load / seconds if seconds else math.inf if load else 0.0
            elif nearer:
                ratio = math.inf
            else:
                merits.pop(array, None)
                continue
            merit = (
                ratio,
                -len(freed) if freed else 0,
                -len(nearer) if nearer else 0,
                -demand[array],
                priority(array),
                array,
            )
            if merits.get(array) != merit:
                merits[array] = merit
                heapq.heappush(heap, merit)
        self._changed.clear()
        if len(heap) > _SLACK * len(merits) + 64:
            self._heap = sorted(merits.values())


def _take_out(tasks: dict[int, dict[int, None]], array: int, task: int) -> None:
    filed = tasks[array]
    del filed[task]
    if not filed:
        del tasks[array]
