"""The control that does nothing but withhold roots: Dask's order, what reads nothing last."""

from __future__ import annotations

import heapq
from collections.abc import Sequence

from dask_mlsched.core.events import Priority
from dask_mlsched.core.planners.picture import Picture
from dask_mlsched.core.planners.planner import BasePlanner


class StockWithhold(BasePlanner):
    """Runs tasks in Dask's order, but roots only on a worker that has nothing else to run.

    Tasks that read something run where most of it is, as they do without a policy, and leave for
    a worker that would be idle otherwise only when no root is left for it.
    """

    name = "stock-withhold"
    takes_from_others = True

    def attach(self, picture: Picture, level: float) -> None:
        """Begin, for the tasks of one user priority."""
        super().attach(picture, level)
        #: Parked roots; parked tasks that read something and are at home nowhere.
        self._roots: list[tuple[Priority, int]] = []
        self._anywhere: list[tuple[Priority, int]] = []

    def propose(self, worker: int, now: float) -> Sequence[int]:
        """Name the first task that reads something, or else the first root."""
        parked = self.picture.parked(self.level)
        order = self.picture.graph.order
        tasks = parked.at_home_in_order(worker, 1)
        tasks += self._first(self._anywhere)
        if tasks:
            return (min(tasks, key=order),)
        return self._first(self._roots)

    def _first(self, heap: list[tuple[Priority, int]]) -> list[int]:
        parked, graph = self.picture.parked(self.level), self.picture.graph
        while heap:
            order, task = heap[0]
            # A task that came back has another turn.
            if task in parked and graph.order(task) == order and parked.home(task) is None:
                return [task]
            heapq.heappop(heap)
        return []

    def task_ready(self, task: int) -> None:
        """File the task, if it is at home nowhere."""
        if self.picture.parked(self.level).home(task) is None:
            graph = self.picture.graph
            heap = self._anywhere if graph.dependencies[task] else self._roots
            heapq.heappush(heap, (graph.order(task), task))

    def worker_left(self, worker: int) -> None:
        """File the tasks that were at home there."""
        parked, graph = self.picture.parked(self.level), self.picture.graph
        known = {task for _, task in self._anywhere}
        for task in parked.at_home(None):
            if graph.dependencies[task] and task not in known:
                heapq.heappush(self._anywhere, (graph.order(task), task))
