"""Dask's own scheduling, as a simulation needs it to compare with.

Tasks that Dask takes for roots (many of a kind, with few inputs between them all) wait in its queue
and go to whichever worker has fewer than ``ceil(saturation * threads)`` tasks. Every other task
goes, as soon as it is ready, to the worker where it is expected to start first: after what that
worker has to do already, and after fetching the inputs that are elsewhere. Work stealing is not
played: with balanced workers it has nothing to do.
"""

from __future__ import annotations

import heapq
import math
from collections import deque
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from dask_mlsched.core.dag import Dag, Integers
from dask_mlsched.core.planners.picture import UNKNOWN_SECONDS
from dask_mlsched.core.taken import Sent

#: Dask's default for ``distributed.scheduler.worker-saturation``.
_SATURATION = 1.1

#: Dask's assumption about the network, in bytes per second.
_BANDWIDTH = 100e6


class StockDask:
    """Which worker gets which task, and when, without us.

    Parameters
    ----------
    dag
        What is run.
    order
        [n] place of each task in Dask's order.
    workers, threads
        Workers, and threads of each.
    """

    def __init__(self, dag: Dag, order: Integers, workers: int, threads: int) -> None:
        self._order: list[int] = order.tolist()
        self._prefix: list[int] = dag.prefix.tolist()
        self._inputs = [dag.dependencies(task).tolist() for task in range(len(dag))]
        self._root_prefix = _root_prefixes(dag, workers * threads)
        self._slots = math.ceil(_SATURATION * threads)
        self._threads = threads
        #: Root tasks that are ready, by Dask's order.
        self._queued: list[tuple[int, int]] = []
        #: Others, in the order in which they became ready.
        self._ready: list[int] = []
        #: Per worker: tasks that it has, and seconds that they are expected to take.
        self._tasks = [0] * workers
        self._occupancy = [0.0] * workers
        #: Per prefix: how many have finished and their mean seconds.
        self._finished = [0] * len(dag.prefixes)
        self._mean = [0.0] * len(dag.prefixes)
        #: task -> what it was expected to take.
        self._expected: dict[int, float] = {}

    def ready(self, task: int) -> None:
        """Note that a task's inputs exist."""
        if self._root_prefix[self._prefix[task]]:
            heapq.heappush(self._queued, (self._order[task], task))
        else:
            self._ready.append(task)

    def finished(self, task: int, worker: int, seconds: float) -> None:
        """Note that a task has ended on a worker."""
        prefix = self._prefix[task]
        self._finished[prefix] += 1
        self._mean[prefix] += (seconds - self._mean[prefix]) / self._finished[prefix]
        self._tasks[worker] -= 1
        self._occupancy[worker] -= self._expected.pop(task)

    def decide(
        self, holders: Mapping[int, Iterable[int]], nbytes: Sequence[int]
    ) -> list[tuple[int, int]]:
        """Return the tasks that go off now, each with its worker."""
        sent = [
            (task, self._assign(task, self._best(task, holders, nbytes)))
            for task in sorted(self._ready, key=self._order.__getitem__)
        ]
        self._ready.clear()
        while self._queued:
            worker = min(range(len(self._tasks)), key=lambda w: (self._tasks[w], w))
            if self._tasks[worker] >= self._slots:
                break
            _, task = heapq.heappop(self._queued)
            sent.append((task, self._assign(task, worker)))
        return sent

    def _assign(self, task: int, worker: int) -> int:
        prefix = self._prefix[task]
        seconds = self._mean[prefix] if self._finished[prefix] else UNKNOWN_SECONDS
        self._expected[task] = seconds
        self._tasks[worker] += 1
        self._occupancy[worker] += seconds
        return worker

    def _best(self, task: int, holders: Mapping[int, Iterable[int]], nbytes: Sequence[int]) -> int:
        inputs = self._inputs[task]
        with_inputs = sorted({worker for array in inputs for worker in holders[array]})
        candidates = with_inputs or range(len(self._tasks))

        def start(worker: int) -> tuple[float, int, int]:
            fetched = sum(nbytes[array] for array in inputs if worker not in holders[array])
            waiting = self._occupancy[worker] / self._threads
            return waiting + fetched / _BANDWIDTH, self._tasks[worker], worker

        return min(candidates, key=start)


class StockAsTaken:
    """The same interface: which worker gets which task, and when, as in a run that is repeated.

    A task goes off once it is ready, those that went to its worker before it have gone, and what
    was heard of before it went has been heard of again. So tasks that Dask had queued wait for a
    slot, and others do not.

    Parameters
    ----------
    sent
        What was sent in that run, in order. Tasks that are not in it go to the first worker at
        once.
    order
        [n] place of each task in Dask's order.
    workers
        Workers.
    """

    def __init__(self, sent: Sequence[Sent], order: Integers, workers: int) -> None:
        self._order: list[int] = order.tolist()
        #: Per worker: what it gets, in order.
        self._turns: list[deque[Sent]] = [deque() for _ in range(workers)]
        for each in sent:
            self._turns[each.worker].append(each)
        self._known = {each.task for each in sent}
        self._ready: set[int] = set()
        self._ended: set[int | None] = {None}

    def ready(self, task: int) -> None:
        """Note that a task's inputs exist."""
        self._ready.add(task)

    def finished(self, task: int, worker: int, seconds: float) -> None:
        """Note that a task has ended on a worker."""
        self._ended.add(task)

    def decide(
        self, holders: Mapping[int, Iterable[int]], nbytes: Sequence[int]
    ) -> list[tuple[int, int]]:
        """Return the tasks that go off now, each with its worker."""
        unknown = sorted(self._ready - self._known, key=self._order.__getitem__)
        gone = [(task, 0) for task in unknown]
        for worker, turns in enumerate(self._turns):
            while turns and turns[0].task in self._ready and turns[0].after in self._ended:
                gone.append((turns.popleft().task, worker))
        self._ready.difference_update(task for task, _ in gone)
        return gone


def _root_prefixes(dag: Dag, threads: int) -> list[bool]:
    """Tell which prefixes Dask takes for roots (`Scheduler.is_rootish`), by its own limits."""
    counts = np.bincount(dag.prefix, minlength=len(dag.prefixes))
    reads: list[set[int]] = [set() for _ in dag.prefixes]
    reader = np.repeat(dag.prefix, np.diff(dag.starts))
    for prefix, source in np.unique(np.stack([reader, dag.prefix[dag.sources]]), axis=1).T:
        reads[int(prefix)].add(int(source))
    return [
        counts[prefix] > 2 * threads
        and len(sources) < 5
        and sum(int(counts[source]) for source in sources) < 5
        for prefix, sources in enumerate(reads)
    ]
