"""What the controller knows: tasks, arrays and devices, and which parked task misses what where.

The tables are kept in step with each other here, so that whoever takes in events need not know
how: a change of a device's predicted residency changes the missing bytes of the parked tasks that
read what moved.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from dask_mlsched.core.device import Device
from dask_mlsched.core.graph import WIDE, TaskGraph, TaskState
from dask_mlsched.core.parked import ParkedTasks

#: So many holders of one array are looked at to find a task's home.
HOLDERS: Final = 16

_PARKED, _COMPUTED = TaskState.PARKED, TaskState.COMPUTED


class Books:
    """The tables of one controller; they begin empty.

    Parameters
    ----------
    lookahead
        Tasks that a worker may have beyond its threads.
    moved
        Called with a worker, and with the arrays that came to its device and that went, in the
        prediction; before the parked tasks' missing bytes follow.
    """

    #: Everything known about tasks and arrays.
    graph: TaskGraph
    #: worker -> its slots and residency.
    devices: dict[int, Device]
    #: user priority (lower first) -> the parked tasks of that priority.
    levels: dict[float, ParkedTasks]
    #: task -> worker, for tasks that are SENT or RUNNING.
    where: dict[int, int]
    #: Workers that have a free slot.
    with_room: set[int]

    def __init__(
        self, lookahead: int, moved: Callable[[int, Sequence[int], Sequence[int]], None]
    ) -> None:
        self.graph = TaskGraph()
        self.devices = {}
        self.levels = {}
        self.where = {}
        self.with_room = set()
        self._lookahead = lookahead
        self._moved = moved

    # Parked tasks

    def park(self, task: int) -> None:
        """Park a task whose inputs are there, at home where most of them are."""
        graph = self.graph
        graph.parked(task)
        held: dict[int, int] = {}
        for dep in graph.dependencies[task]:
            nbytes = graph.nbytes[dep]
            for worker, _ in zip(graph.holders[dep], range(HOLDERS), strict=False):
                held[worker] = held.get(worker, 0) + nbytes
        # Not a paused worker: until it resumes, nobody would take the task.
        homes = [worker for worker in held if not self.devices[worker].paused]
        home = max(homes, key=lambda worker: (held[worker], -worker)) if homes else None
        missing = {}
        for worker in held:
            nbytes_missing = self.missing_bytes(task, worker)
            if nbytes_missing is not None:
                missing[worker] = nbytes_missing
        graph.take_turn(task)
        order = graph.order(task)
        level = self.levels.get(order[0])
        if level is None:
            level = self.levels[order[0]] = ParkedTasks()
        level.add(task, order, home, missing)

    def missing_bytes(self, task: int, worker: int) -> int | None:
        """Sum the inputs that are not resident; None if that is all of them, or never matters."""
        residency = self.devices[worker].residency
        if residency.limit is None:
            return None
        missing, some_resident = 0, False
        for dep in self.graph.dependencies[task]:
            if dep in residency:
                some_resident = True
            else:
                missing += self.graph.nbytes[dep]
        return missing if some_resident else None

    def limit_changed(self, worker: int) -> None:
        """Work out anew what is missing on a worker.

        That means nothing without a limit, and everything with the first one.
        """
        for level in self.levels.values():
            for task in level.tasks():
                level.set_missing(task, worker, self.missing_bytes(task, worker))

    def unpark(self, task: int) -> None:
        """Take a task out of the parked ones."""
        level = self._level(task)
        level.remove(task)
        if not level:
            del self.levels[self.graph.priority[task][0]]
        self.graph.unparked(task)

    def _level(self, task: int) -> ParkedTasks:
        return self.levels[self.graph.priority[task][0]]

    def rehome(self, worker: int) -> None:
        """Let any worker take the parked tasks whose home takes none."""
        for level in self.levels.values():
            for task in level.at_home(worker):
                level.move_home(task, None)

    # Predicted residency

    def needed_bytes(self, task: int) -> int:
        """Sum the bytes of a task's inputs and of its expected output."""
        graph = self.graph
        inputs = sum(graph.nbytes[dep] for dep in graph.dependencies[task])
        return inputs + graph.expected_nbytes(task)

    def expect_on(self, task: int, worker: int) -> None:
        """Move the prediction ahead: the task reads its inputs, then its output comes in."""
        graph = self.graph
        residency = self.devices[worker].residency
        came: list[int] = []
        gone: list[int] = []
        for dep in graph.dependencies[task]:
            if graph.state[dep] != _COMPUTED:
                continue
            loaded, evicted = residency.touch(dep, graph.nbytes[dep])
            graph.holders[dep].add(worker)
            came += loaded
            gone += evicted
        loaded, evicted = residency.touch(task, graph.expected_nbytes(task))
        if not graph.dependents[task]:
            residency.note_result(task)
        came += loaded
        gone += evicted
        self.residency_changed(worker, came, gone)

    def residency_changed(self, worker: int, came: Sequence[int], gone: Sequence[int]) -> None:
        """Bring the parked tasks' missing bytes up to date with what moved on a worker."""
        graph = self.graph
        self._moved(worker, came, gone)
        if not self.levels or self.devices[worker].residency.limit is None:
            return
        affected: set[int] = set()
        for array in (*came, *gone):
            dependents = graph.dependents[array]
            if len(dependents) <= WIDE:
                affected.update(d for d in dependents if graph.state[d] == _PARKED)
        for task in affected:
            self._level(task).set_missing(task, worker, self.missing_bytes(task, worker))

    def discard(self, array: int, worker: int) -> None:
        """Take an array off a device, as the store does with one that nobody needs."""
        if self.devices[worker].residency.discard(array):
            self.residency_changed(worker, (), (array,))

    # Slots

    def leave_worker(self, task: int) -> Device | None:
        """Take a task off its worker; return that one's device, if it is still there."""
        worker = self.where.pop(task)
        self.leave_slot(task, worker)
        return self.devices.get(worker)

    def leave_slot(self, task: int, worker: int) -> None:
        """Free the slot that a task has, if it has one and the worker is still there."""
        device = self.devices.get(worker)
        if device is not None and device.in_flight.pop(task, None) is not None:
            self.slots_changed(worker)

    def slots_changed(self, worker: int) -> None:
        """Note whether a worker has a free slot."""
        if self.devices[worker].free_slots(self._lookahead) > 0:
            self.with_room.add(worker)
        else:
            self.with_room.discard(worker)
