"""A model, and specialists that begin at it, against every hand-written policy, DAG by DAG.

All evict what was used longest ago, but for `darts-luf`, which brings its own rule; HFP does not
bring Belady's here. Figures are ratios to Dask alone on the same instance, so below 1 is better.
The makespan is that of copies which take four times as long as computing under Dask alone, and
every decision but Dask's takes `DECISION`.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from statistics import geometric_mean
from typing import Any, Final, Literal, TypeAlias

import numpy as np
from rich import box
from rich.table import Table

from dask_mlsched.core import policies
from dask_mlsched.core.network import Network
from dask_mlsched.core.planners.planner import BasePlanner
from dask_mlsched.core.simulator import simulate
from dask_mlsched.learning.instance import Instance
from dask_mlsched.learning.processes import Processes
from dask_mlsched.learning.specialise import RUNS, after, specialise

#: Seconds of one decision: the median of the network, whose decisions take longest (docs/speed.md).
DECISION: Final = 75e-6

#: What is compared with; `stock` and `random` are none.
BASELINES: Final = tuple(name for name in policies.NAMES if name not in ("stock", "random"))

#: What is made small, and compared.
Measure: TypeAlias = Literal["bytes", "makespan"]
MEASURES: Final[tuple[Measure, ...]] = ("bytes", "makespan")

#: Called with the share that is done.
OnShare: TypeAlias = Callable[[float], None]


@dataclass(frozen=True)
class Round:
    """What all came to on one instance: makespan and bytes moved over those of Dask alone."""

    instance: str
    tasks: int
    #: By hand-written policy.
    baselines: Mapping[str, Mapping[Measure, float]]
    #: Of the model for all DAGs.
    generalist: Mapping[Measure, float]
    #: Of the specialist that was searched for by each measure.
    specialist: Mapping[Measure, float]

    def best_baseline(self, measure: Measure) -> tuple[str, float]:
        """Return the best of all that there is but ours: a baseline, or Dask alone."""
        name = min(self.baselines, key=lambda each: self.baselines[each][measure])
        least = self.baselines[name][measure]
        return (name, least) if least < 1 else ("stock", 1.0)

    def over_best(self, measure: Measure) -> float:
        """Return the specialist over the best of the others."""
        return self.specialist[measure] / self.best_baseline(measure)[1]


def run_contest(
    network: Network,
    processes: Processes,
    *,
    runs: int = RUNS,
    seed: int = 0,
    on_share: OnShare = lambda _share: None,
) -> list[Round]:
    """Run all of them on all instances.

    Parameters
    ----------
    network
        The model for all DAGs, at which specialists begin.
    processes
        Know the instances.
    runs
        That a search may make.
    seed
        Of the searches.
    on_share
        Told of progress.
    """
    rounds: list[Round] = []
    places = range(len(processes.instances))
    step = processes.count
    for start in range(0, len(places), step):
        on_share(start / len(places))
        calls = [(place, network, runs, seed) for place in places[start : start + step]]
        rounds += processes.call(one_round, calls)
    return rounds


def one_round(instance: Instance, network: Network, runs: int, seed: int) -> Round:
    """Run all of them on one instance."""
    costs = replace(instance.machine.costs, decision=DECISION)
    timed = replace(instance, machine=replace(instance.machine, costs=costs))
    figures = timed.rollout(network).run()
    return Round(
        instance.name,
        len(instance.dag),
        {name: _baseline(timed, name) for name in BASELINES},
        _over_stock(timed, figures.makespan, figures.bytes_moved),
        {measure: _specialist(timed, network, runs, seed, measure) for measure in MEASURES},
    )


def _baseline(instance: Instance, name: str) -> dict[Measure, float]:
    policy = policies.make(name, random.Random(0))
    if name == "hfp":
        assert isinstance(policy, BasePlanner)
        policy.eviction = None
    run = simulate(
        instance.dag, instance.machine, policy, order=instance.order, settings=instance.settings
    )
    return _over_stock(instance, run.makespan, run.bytes_loaded + run.bytes_evicted)


def _specialist(
    instance: Instance, network: Network, runs: int, seed: int, measure: Measure
) -> float:
    found = specialise(
        instance.dag,
        instance.machine,
        instance.settings,
        instance.order,
        network,
        expired=after(runs),
        rng=np.random.default_rng(seed),
        objective=measure,
    )
    return _over_stock(instance, *found.foretold[found.arm])[measure]


def _over_stock(instance: Instance, makespan: float, moved: int) -> dict[Measure, float]:
    return {
        "bytes": moved / instance.stock_bytes,
        "makespan": makespan / instance.stock_makespan,
    }


@dataclass(frozen=True)
class Summary:
    """Geometric means over some instances, by one measure."""

    baseline: float
    generalist: float
    specialist: float
    specialist_worst: float
    over_best: float
    over_best_worst: float
    #: On how many instances the specialist is more than a hundredth above the best of the others.
    beaten: int


def summary(rounds: Sequence[Round], measure: Measure) -> Summary:
    """Sum up a contest; of at least one round."""
    over = [each.over_best(measure) for each in rounds]
    special = [each.specialist[measure] for each in rounds]
    return Summary(
        geometric_mean(each.best_baseline(measure)[1] for each in rounds),
        geometric_mean(each.generalist[measure] for each in rounds),
        geometric_mean(special),
        max(special),
        geometric_mean(over),
        max(over),
        sum(each > 1.01 for each in over),
    )


def as_json(rounds: Mapping[str, Sequence[Round]], runs: int) -> dict[str, Any]:
    """Return what `dask mlsched evaluate --contest --json` prints."""
    return {
        "format": "mlsched-contest",
        "version": 1,
        "runs": runs,
        "decision_seconds": DECISION,
        "splits": {
            split: {
                "summary": {measure: asdict(summary(every, measure)) for measure in MEASURES},
                "instances": [
                    {
                        "instance": each.instance,
                        "tasks": each.tasks,
                        "generalist": dict(each.generalist),
                        "specialist": dict(each.specialist),
                        "baselines": {n: dict(ratios) for n, ratios in each.baselines.items()},
                    }
                    for each in every
                ],
            }
            for split, every in rounds.items()
        },
    }


_HEADINGS: Final = ("best other", "", "learned", "specialised", "over best other")


def _cells(each: Round, measure: Measure) -> tuple[str, ...]:
    name, least = each.best_baseline(measure)
    ratios = each.generalist[measure], each.specialist[measure]
    mine = (f"{ratio:.3f}" for ratio in ratios)
    return (f"{least:.3f}", name, *mine, f"{each.over_best(measure):.2f}")


def tables(rounds: Mapping[str, Sequence[Round]]) -> list[Table]:
    """Lay a contest out for a terminal: for each split and measure, all instances and means."""
    made = []
    for split, every in rounds.items():
        for measure in MEASURES:
            table = Table(
                title=f"{split}: {measure} over Dask alone", box=box.SIMPLE_HEAD, padding=0
            )
            table.add_column("instance")
            for heading in _HEADINGS:
                table.add_column(heading, justify="right", no_wrap=True)
            for each in every:
                table.add_row(each.instance, *_cells(each, measure))
            found = summary(every, measure)
            table.add_section()
            table.add_row(
                "geometric mean",
                f"{found.baseline:.3f}",
                "",
                f"{found.generalist:.3f}",
                f"{found.specialist:.3f}",
                f"{found.over_best:.2f}",
            )
            table.add_row(
                f"worst; above the best other: {found.beaten}",
                *("", "", ""),
                f"{found.specialist_worst:.2f}",
                f"{found.over_best_worst:.2f}",
            )
            made.append(table)
    return made
