"""How long live policies take to decide, against the number of parked tasks.

Each decision is timed by the controller itself, one by one. The clock runs only where an answer is
waited for: not while events are taken in. It is that of the thread's processor time: on a machine
that others use, one decision in a hundred would be one during which another program had its turn.
"""

from __future__ import annotations

import math
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from dask_mlsched.benchmarks.rollout_speed import OnStep
from dask_mlsched.core import events as ev
from dask_mlsched.core.chooser import Settings
from dask_mlsched.core.controller import Controller
from dask_mlsched.core.planners.learned import Learned
from dask_mlsched.learning.served import make

#: Every parked task reads two arrays, and every array has so many readers, as in a product.
_READERS: Final = 75
_NBYTES: Final = 1_000_000
#: Room on the device, in arrays.
_ROOM: Final = 40


@dataclass(frozen=True)
class Decisions:
    """How long one policy took to decide with so many tasks parked."""

    policy: str
    parked: int
    #: Microseconds: the median and the 99th percentile.
    p50: float
    p99: float


def time_decisions(policy: str, parked: int, decisions: int = 2_000) -> Decisions:
    """Have a policy decide while `parked` tasks stay parked, and time each decision."""
    settings = Settings(time_budget=math.inf, bandwidth=1e9)
    made = make(policy, 0)
    if isinstance(made, Learned):
        made.prepare()  # compiled code is loaded before the clock runs
    controller = Controller(made, settings, time.thread_time)
    handle = controller.handle
    handle(ev.WorkerJoined(0.0, 0, 1, _ROOM * _NBYTES))
    arrays = max(2 * parked // _READERS, 2 * _ROOM)
    rng = random.Random(1)
    tasks = range(arrays, arrays + parked + decisions)
    specs = [ev.TaskSpec(i, (), (0, 0, i), 0) for i in range(arrays)]
    specs += [ev.TaskSpec(i, tuple(rng.sample(range(arrays), 2)), (0, 0, i), 1) for i in tasks]
    handle(ev.GraphArrived(0.0, tuple(specs)))
    for array in range(arrays):
        handle(ev.ArrayAppeared(0.0, array, _NBYTES, (0,)))
    handle(ev.ResidencySeen(0.0, 0, ()))
    for task in tasks:
        handle(ev.TaskReady(0.0, task))
    for step in range(decisions):
        now = 1.0 + step
        for run in handle(ev.Decide(now)):
            if isinstance(run, ev.Run):
                handle(ev.TaskStarted(now, run.task, 0))
        oldest = next(iter(controller.devices[0].in_flight))
        handle(ev.TaskFinished(now, oldest, 8, 0.01))
        handle(ev.ArrayReleased(now, oldest))
    took = np.array(controller.chooser.recent_seconds) * 1e6
    return Decisions(policy, parked, float(np.percentile(took, 50)), float(np.percentile(took, 99)))


def measure(
    names: Sequence[str], parked: Sequence[int], on_step: OnStep | None = None
) -> list[Decisions]:
    """Time every policy with every number of parked tasks."""
    decisions = []
    for name in names:
        for count in parked:
            if on_step is not None:
                on_step(f"{name}, {count:,} parked")
            decisions.append(time_decisions(name, count))
    return decisions
