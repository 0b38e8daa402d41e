"""Compiles, or loads, all that a network's policy calls, before anybody waits for a decision."""

from __future__ import annotations

import numpy as np

from dask_mlsched.core import events as ev
from dask_mlsched.core import features
from dask_mlsched.core.chooser import Settings
from dask_mlsched.core.controller import Controller
from dask_mlsched.core.network import linear
from dask_mlsched.core.planners.learned import Learned

_NBYTES = 10


def warm_up() -> None:
    """Take a controller through everything that can happen to a planner.

    Takes a minute or two the first time on a machine, and some seconds in each process after.
    """
    policy = Learned(linear(np.zeros(features.COUNT)))
    controller = Controller(policy, Settings(), lambda: 0.0)
    handle = controller.handle
    handle(ev.WorkerJoined(0.0, 0, 1, 5 * _NBYTES))
    roots = [ev.TaskSpec(i, (), (0, 0, i), 0) for i in range(6)]
    pairs = [ev.TaskSpec(6 + i, (i, (i + 1) % 6), (0, 0, 6 + i), 1) for i in range(6)]
    handle(ev.GraphArrived(0.0, (*roots, *pairs)))
    for task in range(6):
        handle(ev.ArrayAppeared(0.0, task, _NBYTES, (0,)))
    for task in range(6, 12):
        handle(ev.TaskReady(0.0, task))
    _run_one(controller, 1.0)
    handle(ev.GraphArrived(1.5, (ev.TaskSpec(12, (6,), (0, 1, 0), 2),)))
    handle(ev.DependenciesAdded(1.5, 12, (7,), (0, 1, 0)))
    for now in range(2, 9):
        _run_one(controller, float(now))
    for task in range(12):
        if controller.graph.known(task) and controller.graph.state[task] == 2:
            handle(ev.TaskWithdrawn(10.0, task))
            handle(ev.TaskForgotten(10.0, task))
            break
    guard = controller.chooser.guard
    assert guard is not None
    assert not guard.failures, guard.last_failure


def _run_one(controller: Controller, now: float) -> None:
    """Let a worker run what it is given, load what it needs for that, and drop what it made."""
    handle = controller.handle
    for instruction in handle(ev.Decide(now)):
        if isinstance(instruction, ev.Run):
            handle(ev.TaskStarted(now, instruction.task, 0))
    in_flight = list(controller.devices[0].in_flight)
    if not in_flight:
        return
    task = in_flight[0]
    handle(ev.TaskFinished(now, task, _NBYTES, 0.01))
    handle(ev.ArraysMoved(now, 0, ((0, True), (1, False)), 2 * _NBYTES, 0.01))
    if not controller.graph.dependents[task]:
        handle(ev.ArrayReleased(now, task))
