"""What our own store is worth in the simulator, and each of its parts, against Dask alone.

Dask alone evicts what was used longest ago, and every eviction is a copy. Our store evicts what it
is told to, by next use, keeps clean copies, and loads ahead. A specialist is searched for on each
store anew, as in `contest`: copies take four times as long as computing under Dask alone, and
every decision but Dask's takes `DECISION`. Figures are ratios to Dask alone, so below 1 is better.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import geometric_mean
from typing import Any, Final

import numpy as np
from rich import box
from rich.console import Console
from rich.table import Table

from dask_mlsched.benchmarks.contest import DECISION, MEASURES, Measure
from dask_mlsched.benchmarks.training_set import Case, make
from dask_mlsched.core.network import Network
from dask_mlsched.learning.default_model import default_network
from dask_mlsched.learning.instance import Instance
from dask_mlsched.learning.processes import Processes
from dask_mlsched.learning.specialise import RUNS, after, specialise

#: Workloads by what is expected of them.
GROUPS: Final[Mapping[str, tuple[str, ...]]] = {
    "dense products": ("gemm", "gemm-tree"),
    "block-sparse products": ("block-sparse", "block-sparse-tree"),
    "others": ("cholesky", "galerkin", "lu", "stencil"),
}
WORKLOADS: Final = tuple(name for names in GROUPS.values() for name in names)
RATIOS: Final = (2.0, 3.0, 4.0)

#: What a geometric mean is to be at most: (group or None for all, measure) -> ratio.
TARGETS: Final[Mapping[tuple[str | None, Measure], float]] = {
    ("dense products", "bytes"): 0.35,
    ("block-sparse products", "bytes"): 0.55,
    (None, "makespan"): 0.45,
}


@dataclass(frozen=True)
class Store:
    """What a worker's store does."""

    #: A rule of `eviction`.
    eviction: str = "lru"
    keep_clean: bool = False
    loads_ahead: bool = False


OURS: Final = "ours"
_OURS: Final = Store("next-use", keep_clean=True, loads_ahead=True)

#: Dask's, ours, ours without each of its parts, and clean copies alone.
STORES: Final[Mapping[str, Store]] = {
    "stock": Store(),
    "clean copies": Store(keep_clean=True),
    "no victims": replace(_OURS, eviction="lru"),
    "no clean copies": replace(_OURS, keep_clean=False),
    "no loads ahead": replace(_OURS, loads_ahead=False),
    OURS: _OURS,
}


@dataclass(frozen=True)
class Row:
    """What specialists come to on one instance: store -> measure -> ratio to Dask alone."""

    instance: str
    family: str
    tasks: int
    specialised: Mapping[str, Mapping[Measure, float]]


def cases(workloads: Sequence[str] = WORKLOADS) -> list[Case]:
    """Return every instance, or those of some workloads."""
    return [Case(name, ratio) for name in workloads for ratio in RATIOS]


def run(
    network: Network,
    processes: Processes,
    *,
    runs: int = RUNS,
    seed: int = 0,
    on_row: Callable[[Row], None] = lambda _row: None,
) -> list[Row]:
    """Search for specialists of all instances on all stores.

    Parameters
    ----------
    network
        The model at which searches begin.
    processes
        Know the instances.
    runs
        That a search may make.
    seed
        Of the searches.
    on_row
        Called with each row when it is there.
    """
    rows: list[Row] = []
    instances = processes.instances
    # So many at a time that no process is without work, and rows come while others are searched.
    for start in range(0, len(instances), processes.count):
        places = range(start, min(start + processes.count, len(instances)))
        calls = [
            (place, store, measure, network, runs, seed)
            for place in places
            for store in STORES
            for measure in MEASURES
        ]
        found = iter(processes.call(specialised, calls))
        for place in places:
            made = instances[place]
            ratios = {store: {measure: next(found) for measure in MEASURES} for store in STORES}
            rows.append(Row(made.name, made.family, len(made.dag), ratios))
            on_row(rows[-1])
    return rows


def specialised(
    instance: Instance, name: str, measure: Measure, network: Network, runs: int, seed: int
) -> float:
    """Search for a specialist on a store; return what it comes to over Dask alone on Dask's."""
    store = STORES[name]
    found = specialise(
        instance.dag,
        replace(
            instance.machine,
            costs=replace(instance.machine.costs, decision=DECISION),
            keep_clean=store.keep_clean,
            overlap=store.loads_ahead,
        ),
        replace(instance.settings, eviction=store.eviction, keep_clean=store.keep_clean),
        instance.order,
        network,
        expired=after(runs),
        rng=np.random.default_rng(seed),
        objective=measure,
    )
    makespan, moved = found.foretold[found.arm]
    if measure == "makespan":
        return makespan / instance.stock_makespan
    return moved / instance.stock_bytes


def means(rows: Sequence[Row], measure: Measure) -> dict[str, float]:
    """Return the geometric mean for each store; of at least one row."""
    return {
        store: geometric_mean(row.specialised[store][measure] for row in rows) for store in STORES
    }


def grouped(rows: Sequence[Row]) -> Iterator[tuple[str | None, list[Row]]]:
    """Yield each group that has rows, and then all of them as None."""
    for group, names in GROUPS.items():
        chosen = [row for row in rows if row.family in names]
        if chosen:
            yield group, chosen
    yield None, list(rows)


def as_json(rows: Sequence[Row], runs: int) -> dict[str, Any]:
    """Return what programs are told."""
    return {
        "format": "mlsched-store-figures",
        "version": 1,
        "runs": runs,
        "decision_seconds": DECISION,
        "means": [
            {"group": group, "measure": measure, "target": TARGETS.get((group, measure))}
            | {"ratios": means(chosen, measure)}
            for group, chosen in grouped(rows)
            for measure in MEASURES
        ],
        "instances": [
            {"instance": row.instance, "tasks": row.tasks, "ratios": dict(row.specialised)}
            for row in rows
        ],
    }


def table(rows: Sequence[Row], measure: Measure) -> Table:
    """Lay one measure out for a terminal: all instances, then means beside their targets."""
    made = Table(
        title=f"{measure} over Dask alone: specialised on each store",
        box=box.SIMPLE_HEAD,
        padding=(0, 1),
    )
    made.add_column("instance")
    for store in STORES:
        made.add_column(store, justify="right")
    made.add_column("at most", justify="right")
    for row in rows:
        made.add_row(row.instance, *(f"{row.specialised[store][measure]:.3f}" for store in STORES))
    made.add_section()
    for group, chosen in grouped(rows):
        target = TARGETS.get((group, measure))
        made.add_row(
            f"geometric mean, {group or 'all'}",
            *(f"{mean:.3f}" for mean in means(chosen, measure).values()),
            "" if target is None else f"{target:g}",
        )
    made.add_section()
    every = means(rows, measure)
    gains = {name: mean / every[OURS] for name, mean in every.items() if name.startswith("no ")}
    made.add_row(
        "times as much without it", *(f"{gains[n]:.2f}" if n in gains else "" for n in STORES)
    )
    return made


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--runs", type=int, default=RUNS, help="of each search")
    parser.add_argument("--seed", type=int, default=0, help="of the searches")
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--workloads", help="some of them, separated by commas")
    parser.add_argument("--json", action="store_true", help="print JSON instead")
    chosen = parser.parse_args(arguments)
    workloads = chosen.workloads.split(",") if chosen.workloads else list(WORKLOADS)
    if not set(workloads) <= set(WORKLOADS):
        parser.error(f"--workloads={chosen.workloads!r}; expected some of {', '.join(WORKLOADS)}")
    console = Console(width=130)
    with Console(stderr=True).status("makes the instances") as status:
        instances = make(cases(workloads))
        with Processes(instances, chosen.processes) as started:
            rows = run(
                default_network(),
                started,
                runs=chosen.runs,
                seed=chosen.seed,
                on_row=lambda row: status.update(f"{row.instance} is done"),
            )
    if chosen.json:
        sys.stdout.write(json.dumps(as_json(rows, chosen.runs), indent=2) + "\n")
        return
    for measure in MEASURES:
        console.print(table(rows, measure))


if __name__ == "__main__":
    main()
