"""StarPU's dmdar: each ready task goes to the worker where it ends first, in a queue by readiness.

"Deque model data aware, ready": on a free slot, the worker's own queue is
searched for the task with the fewest bytes to load.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from typing import Final

from dask_mlsched.core.planners.picture import Picture
from dask_mlsched.core.planners.planner import BasePlanner

#: A heap is built anew when it holds this many times more entries than there are tasks.
_SLACK: Final = 4


class _Queue:
    """The tasks assigned to one worker, by missing bytes and then in the order of assignment."""

    def __init__(self) -> None:
        #: When its tasks in flight are expected to have ended, but for those sent since
        #: `idle_since`, and how long each of these takes, in seconds.
        self.idle_since = 0.0
        self.in_flight: dict[int, float] = {}
        self.in_flight_seconds = 0.0
        #: queued task -> how long it is expected to take, transfers included; and the sum.
        self.seconds: dict[int, float] = {}
        self.queued_seconds = 0.0
        #: queued task -> (missing bytes, when it was assigned, task): its entry in the heap.
        self._entries: dict[int, tuple[int, int, int]] = {}
        self._heap: list[tuple[int, int, int]] = []
        #: array -> queued tasks that read it, and how many bytes it has.
        self._readers: dict[int, dict[int, int]] = {}

    def free_at(self, now: float, threads: int) -> float:
        """Estimate when what is in flight and queued will have been computed."""
        start = max(self.idle_since + self.in_flight_seconds / threads, now)
        return start + self.queued_seconds / threads

    def add(
        self, task: int, turn: int, missing: int, inputs: dict[int, int], seconds: float
    ) -> None:
        """Queue a task; `inputs` has the bytes of the arrays that it reads."""
        self.seconds[task] = seconds
        self.queued_seconds += seconds
        self._push((missing, turn, task))
        for array, nbytes in inputs.items():
            self._readers.setdefault(array, {})[task] = nbytes

    def _push(self, entry: tuple[int, int, int]) -> None:
        self._entries[entry[2]] = entry
        heapq.heappush(self._heap, entry)
        if len(self._heap) > _SLACK * len(self._entries) + 64:
            self._heap = sorted(self._entries.values())

    def remove(self, task: int, inputs: Sequence[int]) -> None:
        """Take a task out."""
        del self._entries[task]
        self.queued_seconds -= self.seconds.pop(task)
        if not self.seconds:
            self.queued_seconds = 0.0  # and not what rounding has left
            self._heap.clear()
        for array in inputs:
            readers = self._readers.get(array)
            if readers is not None:
                readers.pop(task, None)
                if not readers:
                    del self._readers[array]

    def moved(self, array: int, sign: int) -> None:
        """Note that an array came (-1) or went (1)."""
        for task, nbytes in self._readers.get(array, {}).items():
            missing, turn, _ = self._entries[task]
            self._push((missing + sign * nbytes, turn, task))

    def best(self) -> int | None:
        """Name the task with the fewest missing bytes, the first assigned of equals."""
        heap = self._heap
        while heap:
            task = heap[0][2]
            # The very entry: a task that came back may have left an equal one behind.
            if self._entries.get(task) is heap[0]:
                return task
            heapq.heappop(heap)
        return None


class Dmdar(BasePlanner):
    """Assigns ready tasks to workers by expected end, and runs what is nearest to memory.

    On ready(t), with ``end(w) = max(start(w), now) + queued(w) + transfer(t, w) + compute(t)``,
    the worker is the argmin of ``end(w) - min(end) + transfer(t, w)``. On a free slot, the task
    of the worker's own queue with the fewest missing bytes, the first of equals.

    A worker of several threads counts as one that is as many times faster. Tasks are assigned
    anew when a worker joins, or leaves with tasks in its queue.
    """

    name = "dmdar"
    #: It says where a task runs: that matters where everything fits, too.
    even_if_fits = True

    def attach(self, picture: Picture, level: float) -> None:
        """Begin, for the tasks of one user priority."""
        super().attach(picture, level)
        self._queues: dict[int, _Queue] = {}
        #: task -> worker; None while there is no worker.
        self._assigned: dict[int, int | None] = {}
        self._turns = 0

    def propose(self, worker: int, now: float) -> Sequence[int]:
        """Name the task of the worker's queue with the fewest missing bytes."""
        queue = self._queues.get(worker)
        task = None if queue is None else queue.best()
        return () if task is None else (task,)

    def task_ready(self, task: int) -> None:
        """Assign the task to the worker where it ends first, transfers counted twice."""
        ends: dict[int, float] = {}
        transfers: dict[int, float] = {}
        picture = self.picture
        compute = picture.seconds(task)
        for worker, queue in self._queues.items():
            transfers[worker] = picture.transfer_seconds(task, worker)
            free_at = queue.free_at(picture.now, picture.devices[worker].threads)
            ends[worker] = free_at + transfers[worker] + compute
        if not ends:
            self._assigned[task] = None
            return
        first = min(ends.values())
        worker = min(ends, key=lambda w: (ends[w] - first + transfers[w], w))
        self._assigned[task] = worker
        self._turns += 1
        nbytes = {array: picture.graph.nbytes[array] for array in picture.inputs(task)}
        missing = picture.devices[worker].residency.missing_bytes(nbytes.items())
        seconds = compute + transfers[worker]
        self._queues[worker].add(task, self._turns, missing, nbytes, seconds)

    def task_withdrawn(self, task: int) -> None:
        """Take the task out of its queue."""
        worker = self._assigned.pop(task, None)
        if worker is not None:
            self._queues[worker].remove(task, self.picture.graph.dependencies[task])

    def task_sent(self, task: int, worker: int) -> None:
        """Count the task as begun."""
        self.task_withdrawn(task)
        if worker in self._queues:
            self._begun(task, worker)

    def _begun(self, task: int, worker: int) -> None:
        queue, picture = self._queues[worker], self.picture
        if not queue.in_flight:
            queue.idle_since = picture.now
        # Its inputs are on their way, but not there yet.
        queue.in_flight[task] = picture.seconds(task) + picture.transfer_seconds(task, worker)
        queue.in_flight_seconds = sum(queue.in_flight.values())

    def task_ended(self, task: int, worker: int) -> None:
        """Count from now on what else is in flight."""
        queue = self._queues.get(worker)
        if queue is not None and task in queue.in_flight:
            del queue.in_flight[task]
            queue.in_flight_seconds = sum(queue.in_flight.values())
            queue.idle_since = self.picture.now

    def residency_changed(self, worker: int, came: Sequence[int], gone: Sequence[int]) -> None:
        """Bring the queue's missing bytes up to date."""
        queue = self._queues[worker]
        for array in came:
            queue.moved(array, -1)
        for array in gone:
            queue.moved(array, 1)

    def worker_joined(self, worker: int) -> None:
        """Assign all queued tasks anew."""
        if worker in self._queues:
            return
        self._queues[worker] = _Queue()
        for task in self.picture.devices[worker].in_flight:
            self._begun(task, worker)
        self._assign_again(list(self._assigned))

    def worker_left(self, worker: int) -> None:
        """Give its queue to others."""
        if worker in self._queues:
            left = [task for task, assigned in self._assigned.items() if assigned == worker]
            for task in left:
                self.task_withdrawn(task)
            del self._queues[worker]
            self._assign_again(left)

    def _assign_again(self, tasks: Sequence[int]) -> None:
        for task in tasks:
            self.task_withdrawn(task)
        for task in tasks:
            self.task_ready(task)
