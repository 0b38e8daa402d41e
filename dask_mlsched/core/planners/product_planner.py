"""What planners of block products have in common: the structure, and heaps of ready tasks."""

from __future__ import annotations

import heapq
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TypeAlias

from dask_mlsched.core.graph import TaskState
from dask_mlsched.core.planners.picture import Picture
from dask_mlsched.core.planners.products import Products, find_products
from dask_mlsched.core.planners.replanner import Replanner

#: A ready task: what is sorted by, and the task itself.
Entry: TypeAlias = tuple[tuple[float, ...], int]


class ProductPlanner(Replanner, ABC):
    """Plans a block product, once its structure is known.

    The structure is looked for when the planner is asked, and again when the graph or the workers
    change, and when the first task of a prefix has finished, since sizes are not known before. If
    there is none, asking raises, and tasks run in Dask's order.
    """

    def attach(self, picture: Picture, level: float) -> None:
        """Begin, for the tasks of one user priority."""
        super().attach(picture, level)
        #: Products that have been computed, though their arrays may be gone.
        self._done: set[int] = set()
        #: Of each worker: parked tasks that it may run. For any worker: what sums products, and
        #: whatever does not belong to the product.
        self._ready: dict[int, list[Entry]] = {}
        self._others: list[Entry] = []

    @abstractmethod
    def _arrange(self, products: Products) -> None:
        """Plan the product for the workers, of which there is at least one."""

    @abstractmethod
    def _file(self, task: int) -> None:
        """Put a parked task into its worker's heap, or keep it back; not called while stale."""

    @abstractmethod
    def _ended(self, task: int) -> None:
        """Note that a task has made its array; not called while stale."""

    def propose(self, worker: int, now: float) -> Sequence[int]:
        """Name what sums products first, and then what the plan has for the worker.

        Raises
        ------
        NotAProductError
            If the graph is no block product.
        """
        if worker not in self._workers:
            return ()
        if self._stale:
            self._plan()
        task = self._first(self._others)
        if task is None:
            task = self._planned(worker)
        return () if task is None else (task,)

    def _planned(self, worker: int) -> int | None:
        return self._first(self._ready[worker])

    def _first(self, heap: list[Entry]) -> int | None:
        while heap and heap[0][1] not in self._parked:
            heapq.heappop(heap)
        return heap[0][1] if heap else None

    def _plan(self) -> None:
        graph = self.picture.graph
        tasks = [
            task
            for task, state in enumerate(graph.state)
            if state != TaskState.UNKNOWN and graph.priority[task][0] == self.level
        ]
        products = find_products(graph, tasks)
        self._ready = {worker: [] for worker in self._workers}
        self._others = []
        self._arrange(products)
        self._stale = False
        for task in self._parked:
            self._file(task)

    def _is_done(self, task: int) -> bool:
        return task in self._done or self.picture.graph.state[task] == TaskState.COMPUTED

    def _push(self, heap: list[Entry], task: int, *urgency: float) -> None:
        """Put a task into a heap, the lowest urgency first, then in Dask's order."""
        heapq.heappush(heap, ((*urgency, *self.picture.graph.order(task)), task))

    def graph_changed(self, tasks: Sequence[int]) -> None:
        """Look for the structure anew."""
        self._done.difference_update(tasks)
        self._stale = True

    def task_forgotten(self, task: int) -> None:
        """Know nothing of the task any more: its number may be used again."""
        self._done.discard(task)

    def task_ready(self, task: int) -> None:
        """File the task."""
        self._parked.add(task)
        if not self._stale:
            self._file(task)

    def task_ended(self, task: int, worker: int) -> None:
        """Count what has been computed."""
        graph = self.picture.graph
        if graph.state[task] != TaskState.COMPUTED:
            return
        if graph.prefixes[graph.prefix[task]].finished == 1:
            self._stale = True
        if not self._stale:
            self._ended(task)
        self._done.add(task)
