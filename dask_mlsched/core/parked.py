"""The parked tasks of one user priority, indexed for every question a decision asks.

A decision looks at a shortlist, never at all parked tasks, so each order in
which tasks can be asked for is kept up to date as events arrive: by the bytes
missing on a worker, by Dask's priority on the worker that holds most of the
inputs (the task's *home*), by the time of parking, and at random.

The ordered indexes are heaps with lazy deletion: an entry counts only while it
still says what the tables say, and stale ones are dropped when they come up.
"""

from __future__ import annotations

import heapq
import random
from typing import TypeAlias

from dask_mlsched.core.events import Priority

#: (missing bytes, priority, task) or (priority, task)
_ByMissing: TypeAlias = tuple[int, Priority, int]
_ByPriority: TypeAlias = tuple[Priority, int]

#: A heap is built anew when it holds this many times more entries than count.
_SLACK = 4


class ParkedTasks:
    """Parked tasks of equal user priority."""

    def __init__(self) -> None:
        #: task -> priority, in the order of parking.
        self._priority: dict[int, Priority] = {}
        #: task -> the worker that holds most bytes of its inputs; None for tasks without inputs.
        self._home: dict[int, int | None] = {}
        self._home_count: dict[int | None, int] = {}
        self._by_home: dict[int | None, list[_ByPriority]] = {}
        #: task -> {worker: bytes of inputs not resident there}, where at least one input is.
        self._missing: dict[int, dict[int, int]] = {}
        self._by_missing: dict[int, list[_ByMissing]] = {}
        #: worker -> how many tasks `_missing` has with it.
        self._near_count: dict[int, int] = {}
        #: The same tasks in a list, and each one's place in it, to draw from at random.
        self._pool: list[int] = []
        self._place: dict[int, int] = {}

    def __len__(self) -> int:
        """Count the parked tasks."""
        return len(self._priority)

    def __contains__(self, task: object) -> bool:
        """Tell whether the task is parked here."""
        return task in self._priority

    def home(self, task: int) -> int | None:
        """Name the worker that holds most of the task's inputs."""
        return self._home[task]

    def home_count(self, worker: int | None) -> int:
        """Count the parked tasks whose home is the worker (None: those without inputs)."""
        return self._home_count.get(worker, 0)

    def add(self, task: int, priority: Priority, home: int | None, missing: dict[int, int]) -> None:
        """Park a task; `missing` has the workers on which at least one input is resident."""
        assert task not in self._priority
        self._priority[task] = priority
        self._place[task] = len(self._pool)
        self._pool.append(task)
        self._set_home(task, home)
        self._missing[task] = missing
        for worker, nbytes in missing.items():
            self._near_count[worker] = self._near_count.get(worker, 0) + 1
            self._push_missing(worker, nbytes, task)

    def remove(self, task: int) -> None:
        """Take a task out."""
        del self._priority[task]
        for worker in self._missing.pop(task):
            self._near_count[worker] -= 1
        self._home_count[self._home.pop(task)] -= 1
        place = self._place.pop(task)
        last = self._pool.pop()
        if last != task:
            self._pool[place] = last
            self._place[last] = place
        if not self._priority:
            # Nothing but stale entries is left.
            self._by_home.clear()
            self._by_missing.clear()
            self._home_count.clear()
            self._near_count.clear()

    def _set_home(self, task: int, home: int | None) -> None:
        self._home[task] = home
        self._home_count[home] = self._home_count.get(home, 0) + 1
        heap = self._by_home.setdefault(home, [])
        heapq.heappush(heap, (self._priority[task], task))
        if len(heap) > _SLACK * self._home_count[home] + 64:
            heap[:] = [entry for entry in set(heap) if self._counts_at(home, entry)]
            heapq.heapify(heap)

    def move_home(self, task: int, home: int | None) -> None:
        """Give the task another home."""
        self._home_count[self._home[task]] -= 1
        self._set_home(task, home)

    def at_home(self, worker: int | None) -> list[int]:
        """List all tasks whose home is the worker, in no order; looks at all entries of a heap."""
        tasks = {task for _, task in self._by_home.get(worker, ())}
        return [task for task in tasks if task in self._home and self._home[task] == worker]

    def set_missing(self, task: int, worker: int, nbytes: int | None) -> None:
        """Note how many bytes of the inputs are missing on a worker; None when all are."""
        missing = self._missing[task]
        if nbytes is None:
            if missing.pop(worker, None) is not None:
                self._near_count[worker] -= 1
            return
        if worker not in missing:
            self._near_count[worker] = self._near_count.get(worker, 0) + 1
        missing[worker] = nbytes
        self._push_missing(worker, nbytes, task)

    def _push_missing(self, worker: int, nbytes: int, task: int) -> None:
        heap = self._by_missing.setdefault(worker, [])
        heapq.heappush(heap, (nbytes, self._priority[task], task))
        if len(heap) > _SLACK * self._near_count[worker] + 64:
            heap[:] = [entry for entry in set(heap) if self._counts(worker, entry)]
            heapq.heapify(heap)

    def _counts(self, worker: int, entry: _ByMissing) -> bool:
        missing = self._missing.get(entry[2])
        return (
            missing is not None
            and missing.get(worker) == entry[0]
            and self._priority[entry[2]] == entry[1]
        )

    def drop_worker(self, worker: int) -> None:
        """Forget what was resident on a worker that left. Looks at every parked task."""
        self._by_missing.pop(worker, None)
        self._near_count.pop(worker, None)
        for missing in self._missing.values():
            missing.pop(worker, None)

    def nearest(self, worker: int, count: int) -> list[int]:
        """List tasks with some input resident on the worker, fewest missing bytes first.

        Ties stand in Dask's order.
        """
        heap = self._by_missing.get(worker)
        if not heap:
            return []
        # Written out, here and in `_smallest_at`: a call for each entry is a third of a decision.
        tables, priority = self._missing, self._priority
        found: list[_ByMissing] = []
        last = -1
        while heap and len(found) < count:
            entry = heapq.heappop(heap)
            nbytes, order, task = entry
            # A task that was parked twice leaves equal entries behind; they come one by one.
            if task == last:
                continue
            missing = tables.get(task)
            if missing is not None and missing.get(worker) == nbytes and priority[task] == order:
                found.append(entry)
                last = task
        for entry in found:
            heapq.heappush(heap, entry)
        return [entry[2] for entry in found]

    def in_order(self, worker: int, count: int) -> list[int]:
        """List tasks at home on the worker, or without inputs, in Dask's order."""
        entries: list[_ByPriority] = []
        for home in (worker, None):
            heap = self._by_home.get(home)
            if heap:
                entries += self._smallest_at(home, heap, count)
        entries.sort()
        return [task for _, task in entries[:count]]

    def at_home_in_order(self, worker: int, count: int) -> list[int]:
        """List tasks at home on the worker in Dask's order, without those that have no inputs."""
        heap = self._by_home.get(worker)
        return [task for _, task in self._smallest_at(worker, heap, count)] if heap else []

    def _smallest_at(
        self, home: int | None, heap: list[_ByPriority], count: int
    ) -> list[_ByPriority]:
        priority, homes = self._priority, self._home
        found: list[_ByPriority] = []
        last = -1
        while heap and len(found) < count:
            entry = heapq.heappop(heap)
            order, task = entry
            if task != last and priority.get(task) == order and homes[task] == home:
                found.append(entry)
                last = task
        for entry in found:
            heapq.heappush(heap, entry)
        return found

    def _counts_at(self, home: int | None, entry: _ByPriority) -> bool:
        priority, task = entry
        return self._priority.get(task) == priority and self._home[task] == home

    def busiest_home(self, besides: int) -> int | None:
        """Name the worker, other than `besides`, at which most parked tasks are at home."""
        counts = [
            (count, -home)
            for home, count in self._home_count.items()
            if home is not None and home != besides and count
        ]
        return -max(counts)[1] if counts else None

    def oldest(self, count: int) -> list[int]:
        """List the tasks that have been parked longest, longest first."""
        return [task for task, _ in zip(self._priority, range(count), strict=False)]

    def sample(self, rng: random.Random, count: int) -> list[int]:
        """Draw distinct tasks, each with the same chance."""
        if count >= len(self._pool):
            return list(self._pool)
        return rng.sample(self._pool, count)

    def tasks(self) -> list[int]:
        """List all parked tasks, in the order of parking."""
        return list(self._priority)
