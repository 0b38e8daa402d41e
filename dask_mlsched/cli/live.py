"""Live comparisons, as several commands run them."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from dask_mlsched.benchmarks.clusters import Conditions, find_store
from dask_mlsched.benchmarks.comparison import Comparison, compare
from dask_mlsched.benchmarks.contender import Contender
from dask_mlsched.benchmarks.device_arrays import MissingDeviceError
from dask_mlsched.benchmarks.disk import DiskError
from dask_mlsched.benchmarks.problem import Problem
from dask_mlsched.benchmarks.runner import RunFailedError
from dask_mlsched.benchmarks.workloads import Scale, find
from dask_mlsched.cli.options import complain, missing_packages_are_mistakes
from dask_mlsched.cli.output import progress_bars


def run_live(
    workloads: Sequence[str],
    contenders: Sequence[Contender],
    *,
    repeats: int,
    scale: Scale,
    seed: int = 0,
    **limits: Any,
) -> list[Comparison]:
    """Compare contenders on workloads, showing how far it is; mistakes end the command.

    `limits` are those of `_conditions`.
    """
    steps = len(contenders) * repeats
    comparisons: list[Comparison] = []
    with tempfile.TemporaryDirectory(prefix="mlsched-") as folder, progress_bars() as progress:
        bar = progress.add_task("reading the matrices", total=len(workloads) * steps)
        with missing_packages_are_mistakes():
            # All of them now: what is missing shows before the first run, not after minutes.
            problems = [find(name).build(Path(folder), seed, scale) for name in workloads]
            chosen = [_conditions(problem, **limits) for problem in problems]
            _require_stores(contenders, problems, chosen)
        for number, (problem, conditions) in enumerate(zip(problems, chosen, strict=True)):

            def on_step(
                run: int,
                contender: Contender,
                share: float,
                what: str = problem.workload,
                before: int = number * steps,
            ) -> None:
                text = f"{what}, {contender}"
                progress.update(bar, completed=before + run + share, description=text)

            try:
                comparisons.append(compare(problem, conditions, contenders, repeats, on_step))
            except RunFailedError as error:
                raise click.ClickException(str(error)) from error
        progress.update(bar, completed=len(workloads) * steps, description="done")
    return comparisons


def _conditions(
    problem: Problem,
    *,
    memory_ratio: float | None = None,
    device_memory: int | None = None,
    bandwidth: float | None = None,
    latency: float = 1e-5,
    workers: int = 1,
    threads: int = 1,
    directory: Path | None = None,
) -> Conditions:
    """Fill in the workload's own where None is given."""
    return Conditions(
        device_memory_limit=device_memory or problem.device_memory_limit(memory_ratio),
        bandwidth=bandwidth or problem.bandwidth,
        latency=latency,
        workers=workers,
        threads_per_worker=threads,
        directory=directory,
    )


def _require_stores(
    contenders: Sequence[Contender], problems: Sequence[Problem], chosen: Sequence[Conditions]
) -> None:
    for name in dict.fromkeys(contender.store for contender in contenders):
        for problem, conditions in zip(problems, chosen, strict=True):
            try:
                find_store(name).require(conditions, problem.working_set)
            except (MissingDeviceError, DiskError) as error:
                complain(f"store {name!r} cannot be used: {error}")


def refuse_options_of_other_stores(given: set[str], contenders: Sequence[Contender]) -> None:
    """Complain of options that no store in use heeds."""
    stores = [find_store(contender.store) for contender in contenders]
    names = ", ".join(dict.fromkeys(store.name for store in stores))
    for option in ("bandwidth", "latency"):
        if option in given and not any(store.emulated for store in stores):
            complain(f"--{option} is for emulated devices, and {names} is none; leave it out")
    if "directory" in given and not any(store.on_disk for store in stores):
        complain(f"--directory is for a store on disk, and {names} is none; leave it out")


def check_results(comparisons: Sequence[Comparison]) -> None:
    """End the command with an error if a result is wrong."""
    wrong = [c.problem.workload for c in comparisons if not c.results_equal]
    if wrong:
        message = f"results differ between runs, or from the reference: {', '.join(wrong)}"
        raise click.ClickException(message)
