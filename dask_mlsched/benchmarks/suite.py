"""Simulated runs of many instances: every policy on each, against stock and against the bounds."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import geometric_mean
from typing import Any, TypeAlias

from dask_mlsched.benchmarks.problem import Parameter
from dask_mlsched.benchmarks.simulation import Result, Simulation, as_json, simulate_policies
from dask_mlsched.benchmarks.working_set import working_set
from dask_mlsched.benchmarks.workloads import Scale, find
from dask_mlsched.core.costs import CopyCost, Costs
from dask_mlsched.core.machine import Machine, needed_bytes

#: What the ratios compare with.
STOCK = "stock"

#: Copies at this speed take some five times as long as computing on tiles of 256 by 256.
_BANDWIDTH = 500e6

#: Called with what runs next and the share of the suite that is done.
OnInstance: TypeAlias = Callable[[str, float], None]


@dataclass(frozen=True)
class Instance:
    """One DAG on one machine."""

    workload: str
    memory_ratio: float
    workers: int = 1
    #: Where it differs from the workload's own.
    parameters: Mapping[str, Parameter] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Tell instances apart in a table."""
        workers = f", {self.workers} workers" if self.workers > 1 else ""
        parameters = "".join(f", {name} {value}" for name, value in self.parameters.items())
        return f"{self.workload} / {self.memory_ratio:g}{workers}{parameters}"


SUITES: Mapping[str, tuple[Instance, ...]] = {
    "core": (
        Instance("2d", 2),
        Instance("2d-shuffled", 2),
        Instance("2d-sparse", 2),
        Instance("gemm", 1.5),
        Instance("gemm", 3),
        Instance("gemm", 3, workers=4),
        Instance("gemm-tree", 3),
        Instance("block-sparse", 2),
        Instance("block-sparse", 4),
        Instance("block-sparse-tree", 3),
        Instance("gallery", 3),
        Instance("gallery-matvec", 2),
        Instance("matvec", 2),
        Instance("helmholtz", 4),
        Instance("galerkin", 3),
        Instance("cholesky", 3),
        Instance("lu", 3),
        Instance("qr", 3),
        Instance("tensordot", 3),
        Instance("stencil", 2),
        Instance("stencil", 2, workers=2),
        Instance("reduction", 2),
    ),
}


@dataclass(frozen=True)
class Row:
    """What every policy came to on one instance."""

    instance: Instance
    simulation: Simulation

    def result(self, policy: str) -> Result | None:
        """Return the result of a policy, if it was run."""
        return next((each for each in self.simulation.results if each.policy == policy), None)

    def to_stock(self, policy: str) -> float | None:
        """Return makespan over stock's, if both were run."""
        result, stock = self.result(policy), self.result(STOCK)
        if result is None or stock is None or not stock.run.makespan:
            return None
        return result.run.makespan / stock.run.makespan

    def to_bound(self, policy: str) -> float | None:
        """Return makespan over the bound that nothing can beat."""
        result, bound = self.result(policy), self.simulation.bounds.makespan
        return None if result is None or not bound else result.run.makespan / bound


@dataclass(frozen=True)
class Suite:
    """All instances under all policies."""

    name: str
    policies: Sequence[str]
    eviction: str
    keep_clean: bool
    rows: Sequence[Row]

    def mean_to_stock(self, policy: str) -> float | None:
        """Return the geometric mean of a policy's ratios to stock."""
        ratios = [ratio for row in self.rows if (ratio := row.to_stock(policy)) is not None]
        return geometric_mean(ratios) if ratios else None


def run_suite(
    name: str,
    policies: Sequence[str],
    *,
    scale: Scale = "full",
    eviction: str = "lru",
    keep_clean: bool = False,
    seed: int = 0,
    on_instance: OnInstance | None = None,
) -> Suite:
    """Simulate every instance of a suite.

    Raises
    ------
    ValueError
        If there is no suite of that name.
    """
    if name not in SUITES:
        msg = f"unknown suite {name!r}; expected one of {', '.join(SUITES)}"
        raise ValueError(msg)
    instances = SUITES[name]
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="mlsched-") as folder:
        for instance in instances:
            if on_instance is not None:
                on_instance(instance.name, len(rows) / len(instances))
            rows.append(
                _simulate(instance, policies, Path(folder), scale, eviction, keep_clean, seed)
            )
    if on_instance is not None:
        on_instance("done", 1.0)
    return Suite(name, policies, eviction, keep_clean, rows)


def _simulate(
    instance: Instance,
    policies: Sequence[str],
    folder: Path,
    scale: Scale,
    eviction: str,
    keep_clean: bool,
    seed: int,
) -> Row:
    dag = find(instance.workload).dag(folder, seed, scale, **instance.parameters)
    # A worker must have room for the largest task, however small the instance is.
    most = int(needed_bytes(dag).max())
    limit = max(most, round(working_set(dag) / instance.memory_ratio / instance.workers))
    copy = CopyCost(_BANDWIDTH, 1e-5)
    machine = Machine(
        limit=limit, workers=instance.workers, costs=Costs(copy, copy, copy), keep_clean=keep_clean
    )
    simulation = simulate_policies(dag, machine, policies, eviction=eviction, seed=seed)
    return Row(instance, simulation)


def suite_as_json(suite: Suite) -> dict[str, Any]:
    """Return what `dask mlsched bench --simulated --json` prints."""
    return {
        "format": "mlsched-suite",
        "version": 1,
        "suite": suite.name,
        "eviction": suite.eviction,
        "keep_clean": suite.keep_clean,
        "instances": [
            {
                "instance": row.instance.name,
                "workload": row.instance.workload,
                "memory_ratio": row.instance.memory_ratio,
                "tasks": len(row.simulation.dag),
                **as_json(row.simulation),
            }
            for row in suite.rows
        ],
        "ratio_to_stock": {policy: suite.mean_to_stock(policy) for policy in suite.policies},
    }
