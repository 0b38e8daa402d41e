"""HFP, with Belady's evictions: the whole order is planned beforehand. For small graphs."""

from __future__ import annotations

import heapq
import math
from collections.abc import Sequence
from typing import Final

from dask_mlsched.core import eviction
from dask_mlsched.core.planners.packages import pack
from dask_mlsched.core.planners.picture import Picture, estimated_bytes
from dask_mlsched.core.planners.replanner import Replanner

#: More tasks than this are not planned: the cost is quadratic.
MOST_TASKS: Final = 10_000


class Hfp(Replanner):
    """Runs tasks in the order of hierarchical fair packing, as far as they are ready.

    All known tasks are planned at once, and again when the graph or the workers change, and when
    the first task of a prefix has finished, since sizes are not known before. The package of a
    task holds its inputs and its output. With several workers, each takes a part of the order
    that computes as long as the others'.
    """

    name = "hfp"
    eviction: str | None = "belady"

    def attach(self, picture: Picture, level: float) -> None:
        """Begin, for the tasks of one user priority."""
        super().attach(picture, level)
        #: worker -> task -> its place in the order; worker -> heap of parked tasks by place.
        self._places: dict[int, dict[int, float]] = {}
        self._ready: dict[int, list[tuple[float, int]]] = {}
        self._worker_of: dict[int, int] = {}

    def propose(self, worker: int, now: float) -> Sequence[int]:
        """Name the first parked task of the worker's part of the order.

        Raises
        ------
        ValueError
            If there are too many tasks to plan.
        """
        if self._stale:
            self._plan()
        heap = self._ready.get(worker, [])
        while heap and heap[0][1] not in self._parked:
            heapq.heappop(heap)
        return (heap[0][1],) if heap else ()

    def _plan(self) -> None:
        graph = self.picture.graph
        tasks = [
            task
            for task in range(len(graph))
            if graph.will_read(task) and graph.priority[task][0] == self.level
        ]
        if len(tasks) > MOST_TASKS:
            msg = (
                f"hfp got {len(tasks)} tasks to plan; expected at most {MOST_TASKS}, for its cost "
                "is quadratic: take darts-luf"
            )
            raise ValueError(msg)
        tasks.sort(key=lambda task: (graph.priority[task], task))
        arrays = {task: (*graph.dependencies[task], task) for task in tasks}
        used = {array for each in arrays.values() for array in each}
        limits = [self.picture.devices[worker].residency.limit for worker in self._workers]
        limit = min((each for each in limits if each is not None), default=math.inf)
        order = pack(tasks, arrays, estimated_bytes(graph, used), limit)
        self._share_out(order)
        self._stale = False

    def _share_out(self, order: Sequence[int]) -> None:
        seconds = [self.picture.seconds(task) for task in order]
        total, done = sum(seconds) or 1.0, 0.0
        workers = self._workers
        self._places = {worker: {} for worker in workers}
        self._ready = {worker: [] for worker in workers}
        self._worker_of = {}
        for place, task in enumerate(order):
            part = int(done / total * len(workers))
            worker = workers[min(part, len(workers) - 1)]
            self._places[worker][task] = place
            self._worker_of[task] = worker
            done += seconds[place]
        for task in self._parked:
            self._push(task)

    def _push(self, task: int) -> None:
        worker = self._worker_of[task]
        heapq.heappush(self._ready[worker], (self._places[worker][task], task))

    def next_use(self, worker: int, array: int) -> float:
        """Say when the worker's part of the order uses an array next."""
        return eviction.next_use(self.picture.graph, array, self._places.get(worker, {}))

    def graph_changed(self, tasks: Sequence[int]) -> None:
        """Plan anew."""
        self._stale = True

    def task_ready(self, task: int) -> None:
        """Queue the task at its place."""
        self._parked.add(task)
        if task not in self._worker_of:
            self._stale = True  # it was computed when the rest was planned, and then lost
        elif not self._stale:
            self._push(task)

    def task_ended(self, task: int, worker: int) -> None:
        """Plan anew when sizes become known."""
        graph = self.picture.graph
        if graph.prefixes[graph.prefix[task]].finished == 1:
            self._stale = True
