"""The active set: a block product in cubes that fit the device, one after the other.

Herault's plan for block-sparse products (2021). It needs the product's
structure, and knows it beforehand: what a hand-made schedule does.
"""

from __future__ import annotations

import math
from collections import Counter

from dask_mlsched.core.planners.cubes import Cube, cubes, follow_sources
from dask_mlsched.core.planners.picture import Picture, estimated_bytes
from dask_mlsched.core.planners.product_planner import ProductPlanner
from dask_mlsched.core.planners.products import Products


class ActiveSet(ProductPlanner):
    """Runs a product cube by cube: the next one is released when all of the last one is done.

    The blocks of C that a cube sums go to one worker, the blocks of cubes in turn to all workers;
    each runs its own cubes in the order of rows, columns and steps, so that a sum goes on where
    it is. What makes an array runs with the first cube that reads it.
    """

    name = "active-set"

    def attach(self, picture: Picture, level: float) -> None:
        """Begin, for the tasks of one user priority."""
        super().attach(picture, level)
        #: product or source -> (which of its worker's cubes it belongs to, worker)
        self._cube: dict[int, tuple[int, int]] = {}
        self._sources: frozenset[int] = frozenset()
        #: worker -> products of each of its cubes that are not done; the first such cube.
        self._left: dict[int, Counter[int]] = {}
        self._active: dict[int, int] = {}

    def _arrange(self, products: Products) -> None:
        graph, workers = self.picture.graph, self._workers
        arrays = {*products.places, *products.left, *products.right}
        limits = [self.picture.devices[worker].residency.limit for worker in workers]
        limit = min((each for each in limits if each is not None), default=math.inf)
        by_cube: dict[Cube, list[int]] = {}
        for task, cube in cubes(products, estimated_bytes(graph, arrays), limit).items():
            by_cube.setdefault(cube, []).append(task)
        columns = max(column for _, column, _ in by_cube) + 1
        self._cube = {}
        self._left = {worker: Counter() for worker in workers}
        begun = dict.fromkeys(workers, 0)
        for cube in sorted(by_cube):
            worker = workers[(cube[0] * columns + cube[1]) % len(workers)]
            number = begun[worker]
            begun[worker] += 1
            for task in by_cube[cube]:
                self._cube[task] = (number, worker)
                self._left[worker][number] += not self._is_done(task)
        self._sources = products.sources
        follow_sources(self._cube, products.sources, graph.dependents)
        self._active = dict.fromkeys(workers, 0)
        for worker in workers:
            self._go_on(worker)

    def _file(self, task: int) -> None:
        cube = self._cube.get(task)
        if cube is None:
            self._push(self._others, task, 0.0)
        else:
            # Products of a cube before the arrays that others of it wait for.
            self._push(self._ready[cube[1]], task, cube[0], task in self._sources)

    def _planned(self, worker: int) -> int | None:
        task = super()._planned(worker)
        return None if task is None or self._cube[task][0] > self._active[worker] else task

    def _ended(self, task: int) -> None:
        cube = self._cube.get(task)
        if cube is None or task in self._sources or task in self._done:
            return
        number, worker = cube
        self._left[worker][number] -= 1
        self._go_on(worker)

    def _go_on(self, worker: int) -> None:
        left = self._left[worker]
        while self._active[worker] in left and not left[self._active[worker]]:
            self._active[worker] += 1
