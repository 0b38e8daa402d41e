"""The k-constraint: a block product step by step, a few steps at a time.

As TTG's block-sparse product does it, which withholds the broadcasts of a step
until an earlier one is consumed.
"""

from __future__ import annotations

from collections import Counter

from dask_mlsched.core.planners.picture import Picture
from dask_mlsched.core.planners.product_planner import ProductPlanner
from dask_mlsched.core.planners.products import Products


class KConstraint(ProductPlanner):
    """Runs what has the longest chain before it, among the steps that are not withheld.

    What makes the arrays of step k, and its products, are withheld until all products of step
    k - ahead are done. When nothing runs, the next step is released at once. The products of one
    sum go to one worker.

    Parameters
    ----------
    ahead
        How many steps may be under way.
    """

    name = "k-constraint"

    def __init__(self, ahead: int = 2) -> None:
        if ahead < 1:
            msg = f"ahead is {ahead}; expected at least 1 step"
            raise ValueError(msg)
        self._ahead = ahead

    def fresh(self) -> KConstraint:
        """Make another planner like this one, which knows nothing yet."""
        return KConstraint(self._ahead)

    def attach(self, picture: Picture, level: float) -> None:
        """Begin, for the tasks of one user priority."""
        super().attach(picture, level)
        #: product or source -> (step, worker, products from here to the end of the chain)
        self._order: dict[int, tuple[int, int, int]] = {}
        self._sources: frozenset[int] = frozenset()
        #: Products of each step that are not done; the first such step; how many are released.
        self._left: Counter[int] = Counter()
        self._consumed = 0
        self._released = 0
        #: step -> parked tasks that are withheld.
        self._withheld: dict[int, list[int]] = {}

    def _arrange(self, products: Products) -> None:
        places, workers = products.places, self._workers
        sums: dict[tuple[int, int], list[tuple[int, int]]] = {}
        for task, (i, j, k) in places.items():
            sums.setdefault((i, j), []).append((k, task))
        self._order = {}
        self._left = Counter()
        for number, chain in enumerate(sums.values()):
            worker = workers[number % len(workers)]
            chain.sort(reverse=True)
            for remaining, (k, task) in enumerate(chain, start=1):
                self._order[task] = (k, worker, remaining)
                self._left[k] += not self._is_done(task)
        self._sources = products.sources
        self._follow_sources()
        self._withheld = {}
        self._consumed = self._released = 0
        self._go_on()

    def _follow_sources(self) -> None:
        """Let what makes arrays, or helps to, go with the most urgent task that needs it."""
        graph = self.picture.graph
        # Each source feeds at most one chain of sources, so that going up from products is enough.
        reached = list(self._order)
        for task in reached:
            mine = self._order[task]
            for dep in graph.dependencies[task]:
                if dep in self._sources:
                    theirs = self._order.get(dep)
                    if theirs is None or _urgency(mine) < _urgency(theirs):
                        self._order[dep] = mine
                        reached.append(dep)

    def _file(self, task: int) -> None:
        order = self._order.get(task)
        if order is None:
            self._push(self._others, task, 0.0)
        elif order[0] < self._released:
            self._push(self._ready[order[1]], task, -order[2])
        else:
            self._withheld.setdefault(order[0], []).append(task)

    def _planned(self, worker: int) -> int | None:
        if not self.picture.on_workers:
            self._keep_going()
        return super()._planned(worker)

    def _keep_going(self) -> None:
        """Release steps while nothing is active, and nothing could be."""
        while self._withheld and all(self._first(heap) is None for heap in self._ready.values()):
            self._release(min(self._withheld) + 1)

    def _release(self, steps: int) -> None:
        self._released = max(self._released, steps)
        for step in [each for each in self._withheld if each < self._released]:
            for task in self._withheld.pop(step):
                if task in self._parked:
                    self._file(task)

    def _ended(self, task: int) -> None:
        order = self._order.get(task)
        if order is None or task in self._sources or task in self._done:
            return
        self._left[order[0]] -= 1
        self._go_on()

    def _go_on(self) -> None:
        while self._consumed in self._left and not self._left[self._consumed]:
            self._consumed += 1
        self._release(self._consumed + self._ahead)


def _urgency(order: tuple[int, int, int]) -> tuple[int, int]:
    step, _, remaining = order
    return step, -remaining
