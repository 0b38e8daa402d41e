"""Lives with models on tiny instances, for tests."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from dask_mlsched.benchmarks.families.matvec import matvec
from dask_mlsched.benchmarks.families.stencils import stencil
from dask_mlsched.benchmarks.training_set import instance_of
from dask_mlsched.core.dag import Dag
from dask_mlsched.core.model_choice import BASELINE
from dask_mlsched.core.network import Network
from dask_mlsched.core.thresholds import Thresholds
from dask_mlsched.learning.ended_run import EndedRun
from dask_mlsched.learning.families import Families
from dask_mlsched.learning.family import Family
from dask_mlsched.learning.fingerprint import fingerprint
from dask_mlsched.learning.instance import Instance
from dask_mlsched.learning.library import Library
from dask_mlsched.learning.lifelong import Lifelong
from dask_mlsched.learning.models_in_use import family_alias
from dask_mlsched.learning.operations import Operations
from dask_mlsched.learning.outcome import Outcome
from dask_mlsched.learning.shipped import Shipped
from learning.instances import factorization, product

#: Runs that end at one time are one run.
_TIMES = itertools.count(1_000)


@functools.cache
def run_of(kind: str, tiles: int, ratio: float = 2.0) -> Instance:
    """Make an instance as a recorded run leaves it: its DAG stands in Dask's order."""
    if kind in ("gemm", "cholesky"):
        made = {"gemm": product, "cholesky": factorization}[kind](tiles, ratio)
    elif kind == "stencil":
        drawn = stencil(rows=tiles, columns=tiles, steps=4, size=32)
        made = instance_of(drawn, name=kind, family=kind, memory_ratio=ratio)
    else:
        drawn = matvec(tiles=tiles, size=32, density=0.5, fill=0.5, iterations=tiles)
        made = instance_of(drawn, name=kind, family=kind, memory_ratio=ratio)
    tasks = list(made.dag.tasks())
    dag = Dag.build(kind, [tasks[place] for place in np.argsort(made.order).tolist()])
    return Instance.recorded(f"run {kind}{tiles}", kind, dag, made.machine, made.settings)


def no_ship() -> Shipped:
    raise AssertionError("nothing that ships is needed here")


def tiny_ship() -> Shipped:
    return Shipped([run_of("cholesky", 6), run_of("gemm", 4, 3.0)], [run_of("cholesky", 5, 3.0)])


def open_library(folder: Path) -> Library:
    seconds = itertools.count(1_000)
    return Library.open(folder / "library", now=lambda: float(next(seconds)))


def operations(
    folder: Path,
    thresholds: Thresholds | None = None,
    ship: Callable[[], Shipped] = no_ship,
) -> Operations:
    return Operations(
        open_library(folder), Families(folder / "families"), thresholds or Thresholds(), ship
    )


def lifelong(
    folder: Path,
    thresholds: Thresholds | None = None,
    ship: Callable[[], Shipped] = no_ship,
    tell: Callable[[Outcome], None] = lambda _: None,
) -> Lifelong:
    library, families = open_library(folder), Families(folder / "families")
    return Lifelong(library, families, thresholds or Thresholds(), ship, tell)


def known_family(families: Families, kind: str, *sizes: int) -> Family:
    """Let a family have runs of some sizes."""
    family = None
    for tiles in sizes:
        run = run_of(kind, tiles)
        family = families.of(fingerprint(run.dag), f"{kind}{tiles}", kind, Thresholds())
        assert family is not None
        families.suite(family).offer(f"{kind}{tiles}", run)
    assert family is not None
    families.save(family)
    return family


def add(
    made: Operations,
    name: str,
    network: Network,
    *,
    families: Sequence[str] = (),
    parents: Sequence[str] = (),
) -> str:
    """Add a version without any gate."""
    return made.library.add(
        name, network, made_by="test", reason="made by hand", families=families, parents=parents
    )


def give(made: Operations, family: Family, network: Network) -> str:
    """Let a family have a model of its own."""
    ref = add(made, family.name, network, families=[family.name], parents=[made.champion])
    made.library.move({family_alias(family.name): ref}, "given by hand")
    return ref


def ended(
    run: Instance,
    model: str | None = BASELINE,
    ratio: float = 1.0,
    *,
    program: str | None = None,
    offered: bool = True,
    failures: int = 0,
) -> EndedRun:
    """End a run that took so many times as long as Dask alone."""
    return EndedRun(
        fingerprint=fingerprint(run.dag),
        program=run.name.removeprefix("run ") if program is None else program,
        word=run.family,
        time=float(next(_TIMES)),
        model=model,
        seconds=ratio * run.stock_makespan,
        baseline_seconds=run.stock_makespan,
        instance=run if offered else None,
        failures=failures,
    )
