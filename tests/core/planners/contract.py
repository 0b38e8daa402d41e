"""What every planner keeps to, whatever it plans."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from core.driver import VirtualDask
from dask_mlsched.core.controller import Controller
from dask_mlsched.core.graph import WIDE, TaskState
from dask_mlsched.core.planners.array_index import ArrayIndex, Readers
from dask_mlsched.core.planners.darts import Darts, DartsLuf
from dask_mlsched.core.planners.dmdar import Dmdar
from dask_mlsched.core.planners.hfp import Hfp
from dask_mlsched.core.planners.learned import Learned
from dask_mlsched.core.planners.mirror import Mirror
from dask_mlsched.core.planners.picture import Picture
from dask_mlsched.core.planners.planner import BasePlanner, Planner


class RecordingPlanner(BasePlanner):
    """Writes down what it hears, and proposes what a test says.

    One for all user priorities: `fresh` returns itself.
    """

    name = "recording"
    even_if_fits = True

    def __init__(self, propose: Callable[[int], Sequence[int]] = lambda _: ()) -> None:
        self.heard: list[tuple[Any, ...]] = []
        self._propose = propose
        for callback in (
            "graph_changed",
            "task_forgotten",
            "task_ready",
            "task_withdrawn",
            "task_sent",
            "task_ended",
            "residency_changed",
            "worker_joined",
            "worker_left",
        ):
            setattr(self, callback, self._hears(callback))

    def _hears(self, callback: str) -> Callable[..., None]:
        return lambda *arguments: self.heard.append((callback, *arguments))

    def fresh(self) -> RecordingPlanner:
        return self

    def propose(self, worker: int, now: float) -> Sequence[int]:
        return self._propose(worker)


class ErraticPlanner(BasePlanner):
    """Raises in callbacks, and proposes nothing, or tasks that may be parked or not."""

    name = "erratic"

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng

    def fresh(self) -> ErraticPlanner:
        return ErraticPlanner(self._rng)

    def attach(self, picture: Picture, level: float) -> None:
        self._fail_at_times()
        self.ready: set[int] = set()

    def _fail_at_times(self) -> None:
        if self._rng.random() < 0.02:
            raise ZeroDivisionError

    def task_ready(self, task: int) -> None:
        self._fail_at_times()
        self.ready.add(task)

    def task_withdrawn(self, task: int) -> None:
        self._fail_at_times()
        self.ready.discard(task)

    def residency_changed(self, worker: int, came: Sequence[int], gone: Sequence[int]) -> None:
        self._fail_at_times()

    def propose(self, worker: int, now: float) -> Sequence[int]:
        self._fail_at_times()
        choices: list[Any] = [(), (), (self._rng.randrange(60),), (None,), None, sorted(self.ready)]
        return self._rng.choice(choices)

    def planned_users(self, worker: int, array: int) -> int:
        self._fail_at_times()
        return self._rng.randrange(3)


class TrackingPlanner(BasePlanner):
    """Knows by hearing alone what is parked, on workers, and resident; proposes the oldest."""

    name = "tracking"
    even_if_fits = True

    def attach(self, picture: Picture, level: float) -> None:
        super().attach(picture, level)
        self.ready: dict[int, None] = {}
        self.sent: dict[int, int] = {}
        self.resident: dict[int, set[int]] = {}

    def propose(self, worker: int, now: float) -> Sequence[int]:
        return list(self.ready)[:1]

    def task_ready(self, task: int) -> None:
        assert task not in self.ready
        self.ready[task] = None

    def task_withdrawn(self, task: int) -> None:
        del self.ready[task]

    def task_sent(self, task: int, worker: int) -> None:
        assert self.sent.get(task, worker) == worker
        self.ready.pop(task, None)
        self.sent[task] = worker

    def task_ended(self, task: int, worker: int) -> None:
        assert self.sent.pop(task) == worker

    def residency_changed(self, worker: int, came: Sequence[int], gone: Sequence[int]) -> None:
        resident = self.resident[worker]
        assert resident.isdisjoint(came)
        assert resident.issuperset(gone)
        resident.update(came)
        resident.difference_update(gone)

    def worker_joined(self, worker: int) -> None:
        self.resident[worker] = set(self.picture.devices[worker].residency)

    def worker_left(self, worker: int) -> None:
        self.resident.pop(worker, None)


def planners(controller: Controller) -> dict[float, Planner]:
    guard = controller.chooser.planners
    return {} if guard is None else dict(guard._planners)


def only_planner(dask: VirtualDask) -> Any:
    (planner,) = planners(dask.controller).values()
    return planner


def check_planners(controller: Controller) -> None:
    """Assert that no planner has lost the thread, and that its tables are the controller's."""
    guard = controller.chooser.planners
    if guard is not None and guard.last_failure is not None:
        # Some algorithms are not made for any graph.
        expected = ("took", "raised ValueError: ", "raised NotAProductError: ")
        erratic = isinstance(guard.policy, ErraticPlanner)
        assert erratic or any(each in guard.last_failure for each in expected), guard.last_failure
    for level, planner in planners(controller).items():
        parked = set(controller.levels[level].tasks()) if level in controller.levels else set()
        check = CHECKS.get(type(planner))
        if check is not None:
            check(planner, parked, controller)


def residents(controller: Controller, worker: int) -> set[int]:
    return set(controller.devices[worker].residency)


def check_tracking(planner: TrackingPlanner, parked: set[int], controller: Controller) -> None:
    assert set(planner.ready) == parked
    assert planner.sent == controller._where
    running = {w for w, device in controller.devices.items() if not device.paused}
    assert planner.resident == {worker: residents(controller, worker) for worker in running}


def check_dmdar(planner: Dmdar, parked: set[int], controller: Controller) -> None:
    graph = controller.graph
    assert set(planner._assigned) == parked
    running = {w for w, device in controller.devices.items() if not device.paused}
    assert set(planner._queues) == running
    for worker, queue in planner._queues.items():
        mine = {task for task, assigned in planner._assigned.items() if assigned == worker}
        assert set(queue.seconds) == set(queue._entries) == mine
        for task, (missing, _, _) in queue._entries.items():
            if graph.unfinished[task]:
                continue  # it lost an input, and is withdrawn next
            resident = residents(controller, worker)
            followed = [d for d in graph.dependencies[task] if len(graph.dependents[d]) <= WIDE]
            assert missing == sum(graph.nbytes[d] for d in followed if d not in resident)
        assert all(queue._readers.values())
    assert not parked or None not in planner._assigned.values() or not running


def check_darts(planner: Darts, parked: set[int], controller: Controller) -> None:
    planned = {task for plan in planner._plans.values() for task in plan.tasks()}
    assert planned == set(planner._planned_for)
    unplanned = set(planner._order)
    assert unplanned == set(planner._unplanned.inputs)
    assert planned.isdisjoint(unplanned)
    assert planned | unplanned == parked
    running = {w for w, device in controller.devices.items() if not device.paused}
    assert set(planner._plans) == set(planner._arrays) == running
    for worker, arrays in planner._arrays.items():
        check_array_index(arrays, planner._unplanned, residents(controller, worker))
    for worker, plan in planner._plans.items():
        readers: dict[int, set[int]] = {}
        for task in plan.tasks():
            assert planner._planned_for[task] == worker
            for array in {**plan._near, **plan._far}[task]:
                readers.setdefault(array, set()).add(task)
        assert {d: set(tasks) for d, tasks in plan.readers.items()} == readers


def check_array_index(arrays: ArrayIndex, tasks: Readers, resident: set[int]) -> None:
    assert arrays.resident == resident
    at_hand: set[int] = set()
    free: dict[int, set[int]] = {}
    one_from_free: dict[int, set[int]] = {}
    for task, inputs in tasks.inputs.items():
        missing = [array for array in inputs if array not in resident]
        assert not inputs or arrays.missing[task] == len(missing)
        if inputs and not missing:
            at_hand.add(task)
        for array in missing:
            if len(missing) <= 2:
                into = free if len(missing) == 1 else one_from_free
                into.setdefault(array, set()).add(task)
    assert set(arrays.at_hand) == at_hand
    assert {array: set(filed) for array, filed in arrays.free.items()} == free
    assert {array: set(filed) for array, filed in arrays.one_from_free.items()} == one_from_free
    assert arrays.free_nanoseconds == {
        array: sum(tasks.nanoseconds[task] for task in filed) for array, filed in free.items()
    }
    assert set(arrays.missing) == {task for task, inputs in tasks.inputs.items() if inputs}


def check_hfp(planner: Hfp, parked: set[int], controller: Controller) -> None:
    assert planner._parked == parked
    if not planner._stale:
        for worker, heap in planner._ready.items():
            mine = {task for task in parked if planner._worker_of[task] == worker}
            assert mine <= {task for _, task in heap}


def check_learned(planner: Learned, parked: set[int], controller: Controller) -> None:
    mirror = planner._mirror
    if mirror is not None:
        check_mirror(mirror, parked, controller)


def check_mirror(mirror: Mirror, parked: set[int], controller: Controller) -> None:
    graph, arrays = controller.graph, mirror.arrays
    rows = arrays["tasks"]
    for task in range(len(graph)):
        known = graph.known(task)
        assert known == (rows["state"][task] != TaskState.UNKNOWN), task
        if not known:
            continue
        made = graph.state[task] == TaskState.COMPUTED
        # It hears of an array that appeared when somebody needs it.
        if rows["state"][task] == TaskState.COMPUTED:
            assert made, task
            assert arrays["nbytes"][task] == graph.nbytes[task]
        reads = arrays["sources"][arrays["starts"][task] : arrays["ends"][task]].tolist()
        assert sorted(reads) == sorted(graph.dependencies[task])
        first, last = arrays["reader_starts"][task], arrays["reader_ends"][task]
        assert sorted(arrays["readers"][first:last].tolist()) == sorted(graph.dependents[task])
        waits = [dep for dep in reads if rows["state"][dep] != TaskState.COMPUTED]
        assert rows["unfinished"][task] == len(waits), task
    indexed = {task for task in range(len(rows)) if rows["state"][task] == TaskState.PARKED}
    assert indexed == parked
    assert set(np.flatnonzero(arrays["home_place"]).tolist()) == parked
    assert arrays["clock"]["parked"][0] == len(parked)
    assert arrays["clock"]["known"][0] == sum(graph.known(task) for task in range(len(graph)))
    for worker, slot in mirror._slots.items():
        device = controller.devices[worker]
        if device.paused:
            continue
        shelf = arrays["places"][slot]
        there = set(np.flatnonzero(shelf["where"][:-1] == 1).tolist())
        assert there == residents(controller, worker)
        assert arrays["shelves"]["resident"][slot] == len(there)
        sizes = sum(rows["size"][array] for array in there)
        assert arrays["shelves"]["resident_bytes"][slot] == sizes
        near = set(np.flatnonzero(arrays["near_place"][slot]).tolist())
        assert near <= parked
        if device.residency.limit is not None:
            expected = {
                task
                for task in parked
                if any(
                    dep in there and len(graph.dependents[dep]) <= WIDE
                    for dep in graph.dependencies[task]
                )
            }
            assert expected <= near


CHECKS: dict[type, Callable[[Any, set[int], Controller], None]] = {
    TrackingPlanner: check_tracking,
    Dmdar: check_dmdar,
    Darts: check_darts,
    DartsLuf: check_darts,
    Hfp: check_hfp,
    Learned: check_learned,
}
