"""A stream of runs: six families in random order, then a new one, then one whose sizes drift.

Each arrival is a DAG of a family, with its own size and seed, on a device that is too small. The
stream depends on its seed alone, so that every way to serve it meets the same runs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, TypeAlias

import numpy as np

from dask_mlsched.benchmarks.dask_order import dask_order
from dask_mlsched.benchmarks.problem import Parameter
from dask_mlsched.benchmarks.training_set import folder_for_files
from dask_mlsched.benchmarks.working_set import working_set
from dask_mlsched.benchmarks.workloads import find
from dask_mlsched.core.chooser import Settings
from dask_mlsched.core.costs import CopyCost, Costs
from dask_mlsched.core.dag import Dag
from dask_mlsched.core.machine import Machine, needed_bytes
from dask_mlsched.learning.instance import TRANSFERS, Instance

Phase: TypeAlias = Literal["mixed", "bad", "new", "drift"]

#: What the phases are, for people.
PHASES: Final[Mapping[Phase, str]] = {
    "mixed": "in random order",
    "bad": "after a bad champion",
    "new": "a family never seen",
    "drift": "sizes drift",
}

#: Scatter of what a run takes: the deviation of its logarithm.
SCATTER: Final = 0.02

#: Working set over device memory.
MEMORY_RATIO: Final = 2.5

_Sizes: TypeAlias = tuple[Mapping[str, Parameter], ...]


def _tiles(*counts: int, **others: Parameter) -> _Sizes:
    return tuple({"tiles": count, **others} for count in counts)


#: Family -> the sizes that are drawn from: two hundred to seven hundred tasks.
MIXED: Final[Mapping[str, _Sizes]] = {
    "gemm": _tiles(6, 7, 8),
    "block-sparse-tree": _tiles(12, 13, 14, 15, density=0.35, smallest=96, largest=256),
    "cholesky": _tiles(9, 10, 11, 12),
    "stencil": tuple(
        {"rows": 7, "columns": 7, "steps": steps, "points": 5} for steps in (5, 6, 7, 8)
    ),
    "matvec": _tiles(8, 9, 10, iterations=8, density=0.4),
    "lu": _tiles(7, 8, 9, 10),
}

#: Of a family that no training has seen.
NEW: Final = "qr"
NEW_SIZES: Final[_Sizes] = tuple({"rows": rows, "columns": 8} for rows in (8, 9, 10))

#: Larger and denser with each run.
DRIFT: Final = "block-sparse"


@dataclass(frozen=True)
class Plan:
    """How long the stream is."""

    families: tuple[str, ...]
    #: Runs in random order, of a new family, and of one that drifts.
    mixed: int
    new: int
    drift: int
    #: The run in random order before which a champion is promoted that is bad on purpose.
    bad_champion: int

    @property
    def runs(self) -> int:
        """How many in all."""
        return self.mixed + self.new + self.drift


FULL: Final = Plan(tuple(MIXED), mixed=36, new=6, drift=8, bad_champion=26)
QUICK: Final = Plan(("gemm", "cholesky"), mixed=7, new=4, drift=2, bad_champion=4)


@dataclass(frozen=True, eq=False)
class Arrival:
    """A run that is to come."""

    #: What it is, which nobody is told: graphs are told apart by their fingerprints.
    workload: str
    instance: Instance
    phase: Phase
    #: What its real time is multiplied by.
    scatter: float


def stream(
    plan: Plan, seed: int, on_step: Callable[[str, float], None] | None = None
) -> list[Arrival]:
    """Make the runs of a stream; always the same ones for a seed.

    Parameters
    ----------
    on_step
        Called with what is made next and the share that is done.
    """
    rng = np.random.default_rng(seed)
    made = []
    with folder_for_files() as folder:
        for number, (phase, workload, parameters) in enumerate(_sizes(plan, rng)):
            if on_step is not None:
                on_step(f"makes run {number + 1}: {workload}", number / plan.runs)
            scatter = float(np.exp(rng.normal(0, SCATTER)))
            instance = _instance(workload, seed * 1_000 + number, parameters, folder)
            made.append(Arrival(workload, instance, phase, scatter))
    return made


def _sizes(
    plan: Plan, rng: np.random.Generator
) -> list[tuple[Phase, str, Mapping[str, Parameter]]]:
    """Draw what comes: each family as often as the others, but in random order."""
    order = rng.permutation([place % len(plan.families) for place in range(plan.mixed)])
    found: list[tuple[Phase, str, Mapping[str, Parameter]]] = []
    for number, place in enumerate(order):
        family = plan.families[place]
        phase: Phase = "mixed" if number < plan.bad_champion else "bad"
        found.append((phase, family, MIXED[family][rng.integers(len(MIXED[family]))]))
    found += [("new", NEW, NEW_SIZES[number % len(NEW_SIZES)]) for number in range(plan.new)]
    found += [("drift", DRIFT, _drifted(number)) for number in range(plan.drift)]
    return found


def _drifted(number: int) -> Mapping[str, Parameter]:
    return {
        "tiles": 11 + (2 * number) // 3,
        "density": round(0.32 + 0.02 * number, 2),
        "smallest": 96,
        "largest": 256,
    }


def _instance(
    workload: str, seed: int, parameters: Mapping[str, Parameter], folder: Path
) -> Instance:
    """Put a DAG in Dask's order on one worker whose memory is too small."""
    made = find(workload).dag(folder, seed, "full", **parameters)
    order = np.argsort(dask_order(made))
    tasks = list(made.tasks())
    dag = Dag.build(workload, [tasks[place] for place in order])
    limit = max(int(needed_bytes(dag).max()), round(working_set(dag) / MEMORY_RATIO))
    return _on_slow_copies(workload, dag, limit)


def _on_slow_copies(workload: str, dag: Dag, limit: int) -> Instance:
    """Choose the bandwidth as for training: copies take four times as long as computing."""
    seconds = float(dag.seconds.sum())
    first = _copying_at(workload, dag, limit, float(dag.nbytes.sum()) / seconds)
    return _copying_at(workload, dag, limit, first.stock_bytes / (TRANSFERS * seconds))


def _copying_at(workload: str, dag: Dag, limit: int, bandwidth: float) -> Instance:
    copy = CopyCost(bandwidth)
    machine = Machine(limit, costs=Costs(copy, copy, copy))
    settings = Settings(bandwidth=bandwidth, network_bandwidth=bandwidth)
    return Instance.recorded(f"run of {workload}", workload, dag, machine, settings)
