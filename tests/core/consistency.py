"""Checks that a controller's tables agree with each other, each worked out anew from the others."""

from __future__ import annotations

from dask_mlsched.core.books import HOLDERS
from dask_mlsched.core.controller import Controller
from dask_mlsched.core.graph import WIDE, TaskGraph, TaskState
from dask_mlsched.core.residency import Residency
from dask_mlsched.core.worker_line import BRIDGE

ON_A_WORKER = (TaskState.SENT, TaskState.RUNNING)


def check(controller: Controller) -> None:
    """Assert every invariant that holds between two events."""
    check_graph(controller.graph)
    check_devices(controller)
    check_slots(controller)
    check_parked(controller)


def check_graph(graph: TaskGraph) -> None:
    unfinished_of_prefix = dict.fromkeys(graph.prefixes, 0)
    computed_bytes = 0
    for task, state in enumerate(graph.state):
        dependencies, dependents = graph.dependencies[task], graph.dependents[task]
        assert len(set(dependencies)) == len(dependencies)
        assert all(task in graph.dependents[dep] for dep in dependencies)
        assert all(task in graph.dependencies[dependent] for dependent in dependents)
        without_array = [dep for dep in dependencies if graph.state[dep] != TaskState.COMPUTED]
        assert graph.unfinished[task] == len(without_array), task
        parked = [each for each in dependents if graph.state[each] == TaskState.PARKED]
        assert graph.parked_readers[task] == len(parked), task
        if state == TaskState.COMPUTED:
            computed_bytes += graph.nbytes[task]
        else:
            assert not graph.holders[task], task
        if state == TaskState.UNKNOWN:
            assert not dependencies
            assert not dependents
        elif state != TaskState.COMPUTED:
            unfinished_of_prefix[graph.prefix[task]] += 1
    assert graph.computed_bytes == computed_bytes
    for prefix, statistics in graph.prefixes.items():
        assert statistics.unfinished == unfinished_of_prefix[prefix]


def check_residency(residency: Residency) -> None:
    assert not residency._resident.keys() & residency._slow.keys()
    assert residency.resident_bytes == sum(residency._resident.values())
    assert residency._clean <= residency._resident.keys()


def check_devices(controller: Controller) -> None:
    graph = controller.graph
    for worker, device in controller.devices.items():
        check_residency(device.residency)
        for array in device.residency.held():
            if graph.state[array] == TaskState.COMPUTED:
                assert worker in graph.holders[array], (array, worker)
            else:
                # Predicted: the task that makes it is there.
                assert graph.state[array] in ON_A_WORKER, array
                assert controller._where[array] == worker, array
        assert (device.held_since is None) == (device.hold_until is None)
        if device.held_since is not None and device.hold_until is not None:
            assert device.held_since < device.hold_until
            assert not device.paused
    for array, holders in enumerate(graph.holders):
        for worker in holders:
            assert array in controller.devices[worker].residency.held(), (array, worker)


def check_slots(controller: Controller) -> None:
    graph, settings = controller.graph, controller.settings
    on_a_worker = {task for task, state in enumerate(graph.state) if state in ON_A_WORKER}
    assert set(controller._where) == on_a_worker
    with_room = set()
    for worker, device in controller.devices.items():
        assert len(device.in_flight) <= device.threads + max(settings.lookahead, BRIDGE)
        assert all(controller._where[task] == worker for task in device.in_flight)
        if not device.paused and len(device.in_flight) < device.threads + settings.lookahead:
            with_room.add(worker)
    assert controller._with_room == with_room
    for task in on_a_worker:
        worker = controller._where[task]
        if graph.state[task] == TaskState.SENT and worker in controller.devices:
            assert task in controller.devices[worker].in_flight


def check_parked(controller: Controller) -> None:
    graph = controller.graph
    parked = {task for task, state in enumerate(graph.state) if state == TaskState.PARKED}
    in_levels = [task for level in controller.levels.values() for task in level.tasks()]
    assert len(in_levels) == len(set(in_levels))
    assert set(in_levels) == parked
    assert controller.parked == len(parked)
    for user_priority, level in controller.levels.items():
        assert level, user_priority
        for task in level.tasks():
            assert level._priority[task] == graph.order(task)
            assert graph.priority[task][0] == user_priority
            home = level.home(task)
            assert home is None or not controller.devices[home].paused, (task, home)
            assert level._missing[task].keys() <= controller.devices.keys()
            if is_followed_exactly(graph, task):
                assert level._missing[task] == missing_where_something_is(controller, task), task


def is_followed_exactly(graph: TaskGraph, task: int) -> bool:
    """Whether the missing bytes of a parked task are exact: no input is wide or on many workers."""
    return graph.unfinished[task] == 0 and all(
        len(graph.dependents[dep]) <= WIDE and len(graph.holders[dep]) <= HOLDERS
        for dep in graph.dependencies[task]
    )


def missing_where_something_is(controller: Controller, task: int) -> dict[int, int]:
    """Work out the missing bytes on each worker with a limit and at least one resident input."""
    graph = controller.graph
    inputs = graph.dependencies[task]
    return {
        worker: sum(graph.nbytes[dep] for dep in inputs if dep not in device.residency)
        for worker, device in controller.devices.items()
        if device.residency.limit is not None and any(dep in device.residency for dep in inputs)
    }


def check_empty(controller: Controller) -> None:
    """Assert that nothing is left behind once all tasks are forgotten."""
    graph = controller.graph
    assert all(state == TaskState.UNKNOWN for state in graph.state)
    assert graph.computed_bytes == 0
    assert not controller.levels
    assert not controller._where
    for device in controller.devices.values():
        assert not device.in_flight
        assert not device.residency.held()
        assert device.residency.resident_bytes == 0
