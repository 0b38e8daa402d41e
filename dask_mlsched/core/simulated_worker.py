"""A worker in a simulation: threads, a store in two tiers, and an event loop that blocks.

As on a worker of Dask's, its event loop reads the inputs of a task before a thread computes it,
and stores its output after: loads and evictions are done one at a time, and while the loop copies,
nothing else begins on the worker, though tasks that have begun go on. With `overlap`, the inputs of
the task that is next are loaded while others compute, as far as there is room for them.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from dask_mlsched.core.costs import Costs
from dask_mlsched.core.residency import Residency


@dataclass(slots=True)
class TaskRecord:
    """What happened to a task: a row of the schedule."""

    task: int
    worker: int
    #: When it took its thread, and when it gave it back, in seconds.
    start: float
    end: float = 0.0
    #: In the order in which they happened: to bring in its inputs and to make room for its output.
    loaded: list[int] = field(default_factory=list)
    evicted: list[int] = field(default_factory=list)


class SimulatedWorker:
    """One worker's threads, store and event loop.

    Parameters
    ----------
    name
        Its number.
    threads
        How many tasks compute at a time.
    limit
        Bytes of the fast tier; None without limit.
    nbytes
        Bytes of every array, by task number.
    costs
        Of copies.
    keep_clean
        Whether an array that was loaded keeps its copy in the slow tier, so that evicting it
        again moves nothing.
    overlap
        Whether the inputs of the next task are loaded, and room for outputs made, while others
        compute.
    """

    #: What the store really holds; the controller has its own, a prediction.
    residency: Residency
    #: Tasks whose inputs are all here, as (place in Dask's order, task).
    queue: list[tuple[int, int]]
    #: Tasks that have a thread, with their records.
    running: dict[int, TaskRecord]
    #: From when on the event loop is free, in seconds.
    free_at: float
    #: Totals.
    bytes_loaded: int
    bytes_evicted: int
    copy_seconds: float

    def __init__(
        self,
        name: int,
        threads: int,
        limit: int | None,
        nbytes: Sequence[int],
        costs: Costs,
        *,
        keep_clean: bool,
        overlap: bool,
    ) -> None:
        self.name = name
        self.threads = threads
        self.residency = Residency(limit)
        self.queue = []
        self.running = {}
        self.free_at = 0.0
        self.bytes_loaded = 0
        self.bytes_evicted = 0
        self.copy_seconds = 0.0
        self._nbytes = nbytes
        self._costs = costs
        self._keep_clean = keep_clean
        self._overlap = overlap
        #: Resident arrays whose copy in the slow tier is still there.
        self._clean: set[int] = set()
        #: Copies since the last report, as `ArraysMoved` has them.
        self._copies: list[tuple[int, bool, int, float]] = []
        #: Inputs and output of each task that computes.
        self._pinned: dict[int, list[int]] = {}
        #: The record of the task whose inputs were loaded ahead: whatever comes, it is next.
        self._ahead: TaskRecord | None = None

    def holds(self, array: int) -> bool:
        """Tell whether the array is here, in either tier."""
        return array in self.residency or self.residency.in_slow_tier(array)

    def next_task(self) -> int | None:
        """Name the task that gets the next thread."""
        if self._ahead is not None:
            return self._ahead.task
        return self.queue[0][1] if self.queue else None

    @property
    def has_thread(self) -> bool:
        """Whether a thread is free."""
        return len(self.running) < self.threads

    def give(self, array: int) -> None:
        """Put an array into the slow tier, as it is at the beginning."""
        self.residency.store_slow(array, self._nbytes[array])

    def forget(self, array: int) -> None:
        """Drop an array from both tiers."""
        self.residency.discard(array)
        self._clean.discard(array)

    def begin(self, now: float, inputs: Sequence[int], victims: Iterable[int]) -> TaskRecord:
        """Bring in the inputs of the next task; return its record, begun but not ended.

        `victims` are evicted first: the hints that came with the task.
        """
        record, self._ahead = self._ahead or self._take(now), None
        task, record.start = record.task, now
        self.free_at = max(now, self.free_at) + self._costs.task
        self._bring_in(record, inputs, victims)
        if self._overlap:
            self._store(task, record)
        self._pinned[task] = [*inputs, task]
        self.running[task] = record
        return record

    def _take(self, now: float) -> TaskRecord:
        return TaskRecord(heapq.heappop(self.queue)[1], self.name, now)

    def load_ahead(self, now: float, inputs: Sequence[int], victims: Iterable[int]) -> None:
        """With `overlap`, load the inputs of the next task beside those that compute.

        Nothing that a computing task uses goes out for it: without room, it waits for its turn.
        """
        if not self._overlap or self._ahead is not None:
            return
        in_use = {array for arrays in self._pinned.values() for array in arrays}
        needed = sum(self._nbytes[array] for array in in_use.union(inputs))
        if self.residency.limit is not None and needed > self.residency.limit:
            return
        record = self._ahead = self._take(now)
        self.free_at = max(now, self.free_at)
        for array in in_use:
            self.residency.touch(array, self._nbytes[array])
        self._bring_in(record, inputs, [each for each in victims if each not in in_use])

    def _bring_in(self, record: TaskRecord, inputs: Sequence[int], victims: Iterable[int]) -> None:
        needed = set(inputs)
        for victim in victims:
            if victim not in needed and self.residency.evict(victim):
                self._evicted(victim, record)
        # What is there already first: it must not make room for the others.
        for array in sorted(inputs, key=self.residency.__contains__, reverse=True):
            self.read(array, record)

    def read(self, array: int, record: TaskRecord | None = None) -> None:
        """Read an array through the store: one that is not resident is loaded."""
        if array in self.residency:
            self.residency.touch(array, self._nbytes[array])
            return
        _, gone = self.residency.touch(array, self._nbytes[array])
        # The store evicts once the array is in; so do we, with what it takes.
        self._loaded(array, record)
        for victim in gone:
            self._evicted(victim, record)

    def receive(self, array: int, now: float) -> None:
        """Store an array that another worker sent."""
        self.free_at = max(now, self.free_at)
        self._store(array, None)

    def send(self, array: int, now: float) -> float:
        """Read an array for another worker; return when it can leave."""
        self.free_at = max(now, self.free_at)
        self.read(array)
        return self.free_at

    def end(self, task: int, now: float) -> TaskRecord:
        """Store a task's output; its thread gets free when that is done, at the record's end."""
        record = self.running[task]
        if self._overlap:
            record.end = now  # there has been room for it since the task began
            return record
        self.free_at = max(now, self.free_at)
        self._store(task, record)
        record.end = self.free_at
        return record

    def free_thread(self, task: int) -> None:
        """Take a task that has ended off its thread."""
        del self.running[task]
        del self._pinned[task]

    def _store(self, array: int, record: TaskRecord | None) -> None:
        for victim in self.residency.touch(array, self._nbytes[array])[1]:
            self._evicted(victim, record)

    def report(self) -> tuple[tuple[int, bool, int, float], ...]:
        """Return the copies since the last report, as `ArraysMoved` has them."""
        said = tuple(self._copies)
        self._copies.clear()
        return said

    def _loaded(self, array: int, record: TaskRecord | None) -> None:
        if self._keep_clean and array in self.residency:
            self._clean.add(array)
        if record is not None:
            record.loaded.append(array)
        self.bytes_loaded += self._nbytes[array]
        self._copied(array, self._costs.load.seconds(self._nbytes[array]), loaded=True)

    def _evicted(self, array: int, record: TaskRecord | None) -> None:
        if record is not None:
            record.evicted.append(array)
        if array in self._clean:
            self._clean.discard(array)
            self._copies.append((array, False, 0, 0.0))  # nothing was copied
            return
        self.bytes_evicted += self._nbytes[array]
        self._copied(array, self._costs.evict.seconds(self._nbytes[array]), loaded=False)

    def _copied(self, array: int, seconds: float, *, loaded: bool) -> None:
        self.free_at += seconds
        self.copy_seconds += seconds
        self._copies.append((array, loaded, self._nbytes[array], seconds))
