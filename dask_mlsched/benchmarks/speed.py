"""How fast deciding and simulating are: decisions against parked tasks, events against tasks.

The clock runs only where an answer is waited for. A decision is timed by the controller itself, one
by one; a simulation as a whole, its four events per task (ready, sent, ended, released), decisions
and workers included.
"""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from rich import box
from rich.table import Table

from dask_mlsched.benchmarks.families.pairs import pairs
from dask_mlsched.core import events as ev
from dask_mlsched.core import policies
from dask_mlsched.core.chooser import Settings
from dask_mlsched.core.controller import Controller
from dask_mlsched.core.costs import CopyCost, Costs
from dask_mlsched.core.machine import Machine
from dask_mlsched.core.simulator import simulate

#: Every parked task reads two arrays, and every array has so many readers, as in a product.
_READERS: Final = 75
_NBYTES: Final = 1_000_000
#: Room on the device, in arrays.
_ROOM: Final = 40

#: Events that the controller hears of each task.
EVENTS_PER_TASK: Final = 4

#: Called with what runs next.
OnStep = Callable[[str], None]


@dataclass(frozen=True)
class Decisions:
    """How long one policy took to decide with so many tasks parked."""

    policy: str
    parked: int
    #: Microseconds: the median and the 99th percentile.
    p50: float
    p99: float


@dataclass(frozen=True)
class Events:
    """How fast a whole DAG was simulated."""

    policy: str
    tasks: int
    workers: int
    seconds: float

    @property
    def per_second(self) -> float:
        """Task events per second."""
        return EVENTS_PER_TASK * self.tasks / self.seconds


def time_decisions(policy: str, parked: int, decisions: int = 2_000) -> Decisions:
    """Have a policy decide while `parked` tasks stay parked, and time each decision."""
    settings = Settings(time_budget=math.inf, bandwidth=1e9)
    made = policies.make(policy, random.Random(0))
    controller = Controller(made, settings, time.perf_counter)
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


def time_simulation(policy: str, tasks: int, workers: int) -> Events:
    """Simulate a 2D product of about so many tasks on so many workers, and time it as a whole."""
    side = round(math.sqrt(tasks))
    dag = pairs(n=side, tile_nbytes=_NBYTES, result_nbytes=8, seconds=1e-3)
    copy = CopyCost(1e9)
    machine = Machine(_ROOM * _NBYTES, workers=workers, costs=Costs(copy, copy, copy))
    made = policies.make(policy, random.Random(0))
    order = np.arange(len(dag))
    started = time.perf_counter()
    simulate(dag, machine, made, order=order, settings=Settings(bandwidth=1e9))
    return Events(policy, side * side, workers, time.perf_counter() - started)


def measure(
    names: Sequence[str],
    parked: Sequence[int],
    tasks: Sequence[int],
    workers: Sequence[int],
    on_step: OnStep | None = None,
) -> tuple[list[Decisions], list[Events]]:
    """Time every policy with every number of parked tasks, then `greedy` on every size."""

    def tell(text: str) -> None:
        if on_step is not None:
            on_step(text)

    decisions = []
    for name in names:
        for count in parked:
            tell(f"{name}, {count:,} parked")
            decisions.append(time_decisions(name, count))
    events = []
    for count in tasks:
        for number in workers:
            tell(f"{count:,} tasks, {number} workers")
            events.append(time_simulation("greedy", count, number))
    return decisions, events


def tables(decisions: Sequence[Decisions], events: Sequence[Events]) -> list[Table]:
    """Lay both out for a terminal."""
    parked = sorted({each.parked for each in decisions})
    first = Table(
        title="Microseconds per decision, p50 / p99, by parked tasks", box=box.SIMPLE_HEAD
    )
    first.add_column("policy")
    for count in parked:
        first.add_column(f"{count:,}", justify="right")
    for name in dict.fromkeys(each.policy for each in decisions):
        cells = {each.parked: each for each in decisions if each.policy == name}
        first.add_row(name, *(f"{cells[n].p50:.0f} / {cells[n].p99:.0f}" for n in parked))
    second = Table(title="Simulation, greedy: task events per second", box=box.SIMPLE_HEAD)
    workers = sorted({each.workers for each in events})
    second.add_column("tasks", justify="right")
    for number in workers:
        second.add_column(f"{number:,} worker{'s' * (number > 1)}", justify="right")
    for count in dict.fromkeys(each.tasks for each in events):
        by_workers = {each.workers: each for each in events if each.tasks == count}
        second.add_row(f"{count:,}", *(f"{by_workers[n].per_second:,.0f}" for n in workers))
    return [first, second]


def as_json(decisions: Sequence[Decisions], events: Sequence[Events]) -> dict[str, Any]:
    """Return all figures for machines: times in microseconds and seconds."""
    return {
        "decisions": [
            {"policy": d.policy, "parked": d.parked, "p50_us": d.p50, "p99_us": d.p99}
            for d in decisions
        ],
        "simulations": [
            {
                "policy": e.policy,
                "tasks": e.tasks,
                "workers": e.workers,
                "seconds": e.seconds,
                "events_per_second": e.per_second,
            }
            for e in events
        ],
    }
