"""DARTS: choose an array to load, and then run all tasks that it frees.

Gonthier, Marchal, Thibault: "Memory-aware scheduling of tasks sharing data on
multiple GPUs with dynamic runtime systems", IPDPS 2022; as in StarPU 1.5.
"""

from __future__ import annotations

import heapq
from collections import OrderedDict
from collections.abc import Callable, Container, Iterable, Sequence
from functools import partial

from dask_mlsched.core.events import Priority
from dask_mlsched.core.planners.array_index import ArrayIndex, Readers
from dask_mlsched.core.planners.picture import Picture
from dask_mlsched.core.planners.planner import BasePlanner


class Plan:
    """The tasks planned for one worker, in order, and the arrays that they read."""

    def __init__(self) -> None:
        #: Tasks before the first one with a missing input, as far as that was looked for, and the
        #: others. (A plain dict is slow to take the first item from, time and again.)
        self._near: OrderedDict[int, tuple[int, ...]] = OrderedDict()
        self._far: OrderedDict[int, tuple[int, ...]] = OrderedDict()
        #: array -> planned tasks that read it.
        self.readers: dict[int, dict[int, None]] = {}

    def __len__(self) -> int:
        """Count the planned tasks."""
        return len(self._near) + len(self._far)

    def __contains__(self, task: object) -> bool:
        """Tell whether the task is planned here."""
        return task in self._near or task in self._far

    def tasks(self) -> list[int]:
        """List the planned tasks in order."""
        return [*self._near, *self._far]

    def first(self) -> int | None:
        """Name the first planned task."""
        return next(iter(self._near or self._far), None)

    def append(self, task: int, inputs: tuple[int, ...]) -> None:
        """Plan a task as the last one."""
        self._far[task] = inputs
        self._note(task, inputs)

    def insert(self, task: int, inputs: tuple[int, ...], resident: Container[int]) -> None:
        """Plan a task before the first one with a missing input."""
        while self._far:
            first = next(iter(self._far))
            if any(array not in resident for array in self._far[first]):
                break
            self._near[first] = self._far.pop(first)
        self._near[task] = inputs
        self._note(task, inputs)

    def _note(self, task: int, inputs: tuple[int, ...]) -> None:
        for array in inputs:
            self.readers.setdefault(array, {})[task] = None

    def remove(self, task: int) -> tuple[int, ...]:
        """Take a task out; return the arrays that it reads."""
        inputs = self._near.pop(task) if task in self._near else self._far.pop(task)
        for array in inputs:
            readers = self.readers[array]
            del readers[task]
            if not readers:
                del self.readers[array]
        return inputs

    def array_went(self, array: int) -> None:
        """Note that an array is missing now: look for the first such task anew."""
        if array in self.readers:
            self._near.update(self._far)
            self._near, self._far = OrderedDict(), self._near


class Darts(BasePlanner):
    """Plans, for each worker, all ready tasks that one more array would free.

    *Select*, for an empty plan: the missing array with the smallest load time per second of the
    tasks that it frees; then the one that frees most; then that brings most tasks one from free;
    then whose readers compute longest. Its free tasks are planned, or else its first task that
    is one from free, or else the first ready task. *Ready*: a task whose inputs are all
    resident or read by planned tasks is planned at once, before the first planned task with a
    missing input.

    Where StarPU goes by a priority that users give, tasks here are all of one, and Dask's order
    takes the place of its last, random choice. StarPU's data exist from the start; a task that
    reads nothing, and makes them, is left to select's last resort. A task of which nothing is
    missing, but that was not planned when that came about, is planned before any array is chosen.
    """

    name = "darts"

    def attach(self, picture: Picture, level: float) -> None:
        """Begin, for the tasks of one user priority."""
        super().attach(picture, level)
        self._luf = picture.eviction == "luf"
        #: Ready tasks that are not planned; their places in Dask's order, and a heap of these.
        self._unplanned = Readers()
        self._order: dict[int, Priority] = {}
        self._by_order: list[tuple[Priority, int]] = []
        #: worker -> what is planned for it, and what loading arrays there would free.
        self._plans: dict[int, Plan] = {}
        self._arrays: dict[int, ArrayIndex] = {}
        #: planned task -> worker.
        self._planned_for: dict[int, int] = {}

    def propose(self, worker: int, now: float) -> Sequence[int]:
        """Name the first planned task; plan some if there is none."""
        plan = self._plans.get(worker)
        if plan is None:
            return ()
        if not plan:
            self._select(worker)
        task = plan.first()
        return () if task is None else (task,)

    def _select(self, worker: int) -> None:
        arrays = self._arrays[worker]
        in_order: Callable[[int], Priority] = self._order.__getitem__
        if arrays.at_hand:
            self._plan(sorted(arrays.at_hand, key=in_order), worker)
            return
        array = arrays.best()
        if array is None:
            first = self._first_in_order()
            self._plan(() if first is None else (first,), worker)
        elif array in arrays.free:
            self._plan(sorted(arrays.free[array], key=in_order), worker)
        else:
            self._plan((min(arrays.one_from_free[array], key=in_order),), worker)

    def _first_in_order(self) -> int | None:
        heap = self._by_order
        while heap and self._order.get(heap[0][1]) is not heap[0][0]:
            heapq.heappop(heap)
        return heap[0][1] if heap else None

    def _plan(self, tasks: Iterable[int], worker: int) -> None:
        for task in tasks:
            inputs = self._unplanned.inputs[task]
            self._take_out(task)
            self._plans[worker].append(task, inputs)
            self._planned_for[task] = worker

    def task_ready(self, task: int) -> None:
        """Plan the task where it needs nothing more than what is planned; else leave it."""
        inputs = tuple(self.picture.inputs(task))
        if inputs:
            plans = self._plans
            for worker in sorted(plans, key=lambda each: (len(plans[each]), each)):
                plan, resident = plans[worker], self._arrays[worker].resident
                if all(array in resident or array in plan.readers for array in inputs):
                    plan.insert(task, inputs, resident)
                    self._planned_for[task] = worker
                    return
        self._leave(task, inputs)

    def _leave(self, task: int, inputs: tuple[int, ...]) -> None:
        """Leave a task to select."""
        picture = self.picture
        self._unplanned.add(task, inputs, picture.seconds(task))
        order = self._order[task] = picture.graph.order(task)
        heapq.heappush(self._by_order, (order, task))
        if len(self._by_order) > 4 * len(self._order) + 64:
            self._by_order = sorted((order, task) for task, order in self._order.items())
        if inputs:
            for arrays in self._arrays.values():
                arrays.add(task)

    def _take_out(self, task: int) -> None:
        if self._unplanned.inputs[task]:
            for arrays in self._arrays.values():
                arrays.remove(task)
        self._unplanned.remove(task)
        del self._order[task]

    def task_withdrawn(self, task: int) -> None:
        """Take the task out, planned or not."""
        worker = self._planned_for.pop(task, None)
        if worker is not None:
            self._plans[worker].remove(task)
        elif task in self._order:
            self._take_out(task)

    def residency_changed(self, worker: int, came: Sequence[int], gone: Sequence[int]) -> None:
        """Bring the index up to date; under LUF, planned tasks that read a victim are ready again.

        That belongs to the rule: it evicts what plans need least, so those plans no longer hold.
        """
        arrays, plan = self._arrays[worker], self._plans[worker]
        for array in gone:
            arrays.went(array)
            if self._luf:
                self._unplan(tuple(plan.readers.get(array, ())), worker)
            else:
                plan.array_went(array)
        for array in came:
            arrays.came(array)

    def _unplan(self, tasks: Iterable[int], worker: int) -> None:
        for task in tasks:
            del self._planned_for[task]
            self._leave(task, self._plans[worker].remove(task))

    def worker_joined(self, worker: int) -> None:
        """Index what loading arrays there would free."""
        if worker not in self._plans:
            picture = self.picture
            self._plans[worker] = Plan()
            self._arrays[worker] = ArrayIndex(
                self._unplanned,
                picture.devices[worker].residency,
                partial(picture.load_seconds, worker=worker),
                picture.graph.priority.__getitem__,
            )

    def worker_left(self, worker: int) -> None:
        """Leave what was planned for it to others."""
        if worker in self._plans:
            del self._arrays[worker]
            self._unplan(self._plans[worker].tasks(), worker)
            del self._plans[worker]

    def planned_users(self, worker: int, array: int) -> int:
        """Count the tasks planned for a worker that read an array."""
        plan = self._plans.get(worker)
        return 0 if plan is None else len(plan.readers.get(array, ()))


class DartsLuf(Darts):
    """DARTS with its own eviction rule: what the fewest planned tasks read."""

    name = "darts-luf"
    eviction = "luf"
