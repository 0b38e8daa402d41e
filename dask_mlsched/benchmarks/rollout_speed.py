"""How fast whole DAGs are simulated: compiled runs beside the simulator that drives the controller.

Both do the same, task by task, so that their times can be paired. What is timed is a run from the
DAG to its figures, laying out included; building the DAG is not, nor is compiling, for which one
small run goes before. Both run on one thread, and its processor time counts: what other programs do
in between is not theirs.
"""

from __future__ import annotations

import math
import random
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias, get_args

import numpy as np

from dask_mlsched.benchmarks.families.pairs import pairs
from dask_mlsched.benchmarks.families.products import gemm
from dask_mlsched.core import policies
from dask_mlsched.core.chooser import Settings
from dask_mlsched.core.compiled.rollout import Rollout
from dask_mlsched.core.costs import CopyCost, Costs
from dask_mlsched.core.dag import Dag
from dask_mlsched.core.machine import Machine
from dask_mlsched.core.simulator import simulate

#: ``gemm``: products of tiles, accumulated in chains along k. ``2d``: independent tasks that each
#: read two operands.
Family: TypeAlias = Literal["gemm", "2d"]
FAMILIES: Final[tuple[Family, ...]] = get_args(Family)

#: Events of each task: ready, sent, ended, released.
EVENTS_PER_TASK: Final = 4

#: Above so many tasks the simulator, which takes some 0.4 ms a task, is timed once.
REPEATED_UP_TO: Final = 20_000

_POLICY: Final = "greedy"
_SETTINGS: Final = Settings(bandwidth=1e9)

#: Called with what runs next.
OnStep: TypeAlias = Callable[[str], None]


@dataclass(frozen=True)
class Timed:
    """How long one DAG took on so many workers; ``simulated[i]`` ran after ``compiled[i]``."""

    family: str
    tasks: int
    workers: int
    #: Seconds.
    compiled: Sequence[float]
    #: Fewer than compiled ones, or none, where the simulator would take minutes.
    simulated: Sequence[float] = ()

    @property
    def per_second(self) -> float:
        """Task events per second of the compiled run, by the median."""
        return EVENTS_PER_TASK * self.tasks / statistics.median(self.compiled)

    @property
    def simulated_per_second(self) -> float | None:
        """Task events per second of the simulator; None if it was left out."""
        if not self.simulated:
            return None
        return EVENTS_PER_TASK * self.tasks / statistics.median(self.simulated)

    @property
    def ratios(self) -> tuple[float, ...]:
        """How many times as long the simulator took, pair by pair."""
        return tuple(s / c for s, c in zip(self.simulated, self.compiled, strict=False))


def build(family: Family, tasks: int) -> Dag:
    """Build a DAG of about so many tasks, whose operands are given."""
    if family == "gemm":
        return gemm(tiles=max(1, round(tasks ** (1 / 3))), size=256)
    return pairs(n=max(1, round(math.sqrt(tasks))), result_nbytes=8, seconds=1e-3)


def count_tasks(dag: Dag) -> int:
    """Count the tasks that run: all but what is given."""
    return int((~dag.given).sum())


def machine_for(dag: Dag, workers: int) -> Machine:
    """Return workers whose devices hold half of the operands together, or four arrays each."""
    copy = CopyCost(1e9)
    room = max(4, int(dag.given.sum()) // (2 * workers))
    return Machine(room * int(dag.nbytes.max()), workers=workers, costs=Costs(copy, copy, copy))


def run_compiled(dag: Dag, workers: int) -> float:
    """Run a DAG compiled, from laying it out to its figures; return the seconds."""
    machine, order = machine_for(dag, workers), np.arange(len(dag))
    started = time.thread_time()
    Rollout(dag, machine, _SETTINGS, order, _POLICY).run()
    return time.thread_time() - started


def run_simulated(dag: Dag, workers: int) -> float:
    """Have the simulator run a DAG; return the seconds."""
    machine, order = machine_for(dag, workers), np.arange(len(dag))
    policy = policies.make(_POLICY, random.Random(0))
    started = time.thread_time()
    simulate(dag, machine, policy, order=order, settings=_SETTINGS)
    return time.thread_time() - started


def time_runs(
    families: Sequence[Family],
    tasks: Sequence[int],
    workers: Sequence[int],
    *,
    repeats: int = 3,
    both_up_to: int = REPEATED_UP_TO,
    on_step: OnStep | None = None,
) -> list[Timed]:
    """Time every size of every family on every number of workers, by turns.

    Parameters
    ----------
    families, tasks, workers
        What is run.
    repeats
        How often.
    both_up_to
        The simulator is left out for DAGs of more tasks. Above `REPEATED_UP_TO` it runs once.
    on_step
        Called with what runs next, once for each row.
    """
    run_compiled(build("2d", 4), 1)  # compiles
    rows = []
    for family in families:
        for count in tasks:
            dag = build(family, count)
            real = count_tasks(dag)
            both = 0 if count > both_up_to else 1 if count > REPEATED_UP_TO else repeats
            for number in workers:
                if on_step is not None:
                    on_step(f"{family}, {real:,} tasks, {number:,} workers")
                compiled: list[float] = []
                simulated: list[float] = []
                for repeat in range(repeats):
                    compiled.append(run_compiled(dag, number))
                    if repeat < both:
                        simulated.append(run_simulated(dag, number))
                rows.append(Timed(family, real, number, compiled, simulated))
    return rows
