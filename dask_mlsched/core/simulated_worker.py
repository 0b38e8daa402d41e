"""A worker in a simulation: threads, a store in two tiers, and an event loop that blocks.

As on a worker of Dask's, its event loop reads the inputs of a task before a thread computes it,
and stores its output after: loads and evictions are done one at a time, and while the loop copies,
nothing else begins on the worker, though tasks that have begun go on.

With `overlap`, a copier beside the event loop makes the copies, one after the other, in the order
in which the loop has asked for them. While all threads are busy, the loop asks for the inputs of
tasks that wait, as far as there is room for them. It waits itself only for what it needs to go on:
all inputs of a task that gets a thread, or an array for another worker. What goes out to make room
for an output goes when the output is there, and nothing but later copies waits for that.
"""

from __future__ import annotations

import heapq
from collections.abc import Collection, Iterable, Sequence
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
        Whether a copier beside the event loop loads ahead, and evicts, while tasks compute.
    """

    #: What the store really holds; the controller has its own, a prediction.
    residency: Residency
    #: Tasks whose inputs are all here, as (place in Dask's order, task).
    queue: list[tuple[int, int]]
    #: Tasks that have a thread, with their records.
    running: dict[int, TaskRecord]
    #: From when on the event loop is free, in seconds.
    free_at: float
    #: From when on the copier is, with `overlap`.
    copier_free_at: float
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
        self.copier_free_at = 0.0
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
        #: With `overlap`: inputs of each task that computes or was loaded ahead, in the order in
        #: which they were asked for; records of those that were loaded ahead; array -> when the
        #: copier has brought it in.
        self._users: dict[int, Sequence[int]] = {}
        self._ahead: dict[int, TaskRecord] = {}
        self._there_at: dict[int, float] = {}

    def holds(self, array: int) -> bool:
        """Tell whether the array is here, in either tier."""
        return array in self.residency or self.residency.in_slow_tier(array)

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

    def begin(self, now: float, inputs: Sequence[int], victims: Collection[int]) -> TaskRecord:
        """Give the first task in Dask's order a thread; return its record, begun but not ended.

        `victims` are evicted first: the hints that came with the task.
        """
        task = heapq.heappop(self.queue)[1]
        record = self._ahead.pop(task, None) or TaskRecord(task, self.name, now)
        record.start = now
        self.free_at = max(now, self.free_at) + self._costs.task
        if self._overlap:
            victims = self._not_in_use(victims)
            self._users.setdefault(task, inputs)
        self._bring_in(record, inputs, victims)
        self._wait_for(inputs)
        self.running[task] = record
        return record

    def waiting(self) -> list[int]:
        """List the tasks whose inputs have not been asked for, in Dask's order."""
        return [task for _, task in sorted(self.queue) if task not in self._ahead]

    def load_ahead(
        self, now: float, task: int, inputs: Sequence[int], victims: Collection[int]
    ) -> bool:
        """Have the copier bring in the inputs of a task that waits; False if there is no room.

        Nothing goes out for it that is in use: by a task that computes, or that was loaded ahead
        before. How large outputs will be, nobody knows; no room is kept for them.
        """
        in_use = [array for arrays in self._users.values() for array in arrays]
        needed = sum(self._nbytes[array] for array in {*in_use, *inputs})
        if self.residency.limit is not None and needed > self.residency.limit:
            return False
        self.free_at = max(now, self.free_at)
        for array in in_use:
            if array in self.residency:
                self.residency.touch(array, self._nbytes[array])
        record = self._ahead[task] = TaskRecord(task, self.name, now)
        self._bring_in(record, inputs, self._not_in_use(victims))
        self._users[task] = inputs
        return True

    def _not_in_use(self, victims: Collection[int]) -> Collection[int]:
        """Leave out what tasks use that compute or were loaded ahead."""
        if not victims:
            return victims
        in_use = {array for arrays in self._users.values() for array in arrays}
        return [victim for victim in victims if victim not in in_use]

    def _wait_for(self, arrays: Iterable[int]) -> None:
        """Have the event loop wait until the copier has brought in the arrays."""
        if self._overlap:
            for array in arrays:
                self.free_at = max(self.free_at, self._there_at.get(array, 0.0))

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
        if self._overlap:
            self._there_at[array] = self.copier_free_at

    def receive(self, array: int, now: float) -> None:
        """Store an array that another worker sent."""
        self.free_at = max(now, self.free_at)
        self._store(array, None)

    def send(self, array: int, now: float) -> float:
        """Read an array for another worker; return when it can leave."""
        self.free_at = max(now, self.free_at)
        self.read(array)
        self._wait_for([array])
        return self.free_at

    def end(self, task: int, now: float) -> TaskRecord:
        """Store a task's output; its thread gets free when that is done, at the record's end."""
        record = self.running[task]
        self.free_at = max(now, self.free_at)
        self._store(task, record)
        record.end = self.free_at
        return record

    def free_thread(self, task: int) -> None:
        """Take a task that has ended off its thread."""
        del self.running[task]
        self._users.pop(task, None)

    def _store(self, array: int, record: TaskRecord | None) -> None:
        for victim in self.residency.touch(array, self._nbytes[array])[1]:
            self._evicted(victim, record)

    def report(self) -> tuple[tuple[int, bool, int, float], ...]:
        """Return the copies since the last report, as `ArraysMoved` has them.

        With `overlap`, those that the copier has been asked for and will make are among them.
        """
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
        if self._overlap:
            self.copier_free_at = max(self.copier_free_at, self.free_at) + seconds
        else:
            self.free_at += seconds
        self.copy_seconds += seconds
        self._copies.append((array, loaded, self._nbytes[array], seconds))
