"""The active set: a block product in cubes that fit the device, one after the other.

Herault's plan for block-sparse products (2021). It needs the product's
structure, and knows it beforehand: what a hand-made schedule does.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable

import numpy as np

from dask_mlsched.core.planners.cubes import Blocks, cube_shape
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
        shape = self._shape(products)
        workers = self._workers
        columns = max(j // shape[1] for _, j, _ in products.places.values()) + 1
        cubes: dict[tuple[int, ...], list[int]] = {}
        for task, place in products.places.items():
            cube = tuple(at // size for at, size in zip(place, shape, strict=True))
            cubes.setdefault(cube, []).append(task)
        self._cube = {}
        self._left = {worker: Counter() for worker in workers}
        begun = dict.fromkeys(workers, 0)
        for cube in sorted(cubes):
            worker = workers[(cube[0] * columns + cube[1]) % len(workers)]
            number = begun[worker]
            begun[worker] += 1
            for task in cubes[cube]:
                self._cube[task] = (number, worker)
                self._left[worker][number] += not self._is_done(task)
        self._sources = products.sources
        self._follow_sources()
        self._active = dict.fromkeys(workers, 0)
        for worker in workers:
            self._go_on(worker)

    def _follow_sources(self) -> None:
        """Let what makes arrays, or helps to, belong to the first cube that needs it."""
        graph = self.picture.graph
        followed: set[int] = set()
        for source in self._sources:
            stack = [source]
            while stack:
                task = stack[-1]
                dependents = [d for d in graph.dependents[task] if d in self._sources]
                waiting = [d for d in dependents if d not in followed]
                if waiting:
                    stack += waiting
                    continue
                stack.pop()
                if task not in followed:
                    followed.add(task)
                    needed = [self._cube[d] for d in graph.dependents[task] if d in self._cube]
                    if needed:
                        self._cube[task] = min(needed)

    def _shape(self, products: Products) -> tuple[int, int, int]:
        graph, places = self.picture.graph, products.places
        nbytes = estimated_bytes(graph, {*places, *products.left, *products.right})
        rows, columns, steps = (max(p[d] for p in places.values()) + 1 for d in range(3))
        a = _blocks((rows, steps), ((at, nbytes[x]) for x, at in products.left.items()))
        b = _blocks((steps, columns), ((at, nbytes[x]) for x, at in products.right.items()))
        c = _blocks((rows, columns), (((i, j), nbytes[t]) for t, (i, j, _) in places.items()))
        devices = (self.picture.devices[worker] for worker in self._workers)
        limits = [device.residency.limit for device in devices]
        limit = min((each for each in limits if each is not None), default=math.inf)
        return cube_shape(a, b, c, limit)

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


def _blocks(shape: tuple[int, int], nbytes: Iterable[tuple[tuple[int, int], int]]) -> Blocks:
    blocks = np.zeros(shape, np.int64)
    for at, size in nbytes:
        blocks[at] = max(blocks[at], size)
    return blocks
