"""`dask mlsched ablations`: what holding, victims and the model are worth, each taken away."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import click

from dask_mlsched.benchmarks.ablations import ablate, as_json
from dask_mlsched.benchmarks.ablations_report import markdown, tables
from dask_mlsched.benchmarks.training_set import instance_of
from dask_mlsched.benchmarks.workloads import find
from dask_mlsched.cli.networks import MODEL, network_in
from dask_mlsched.cli.options import (
    COUNT,
    JSON,
    Checked,
    Command,
    complain,
    missing_packages_are_mistakes,
    names,
)
from dask_mlsched.cli.output import console, progress_bars, write_json, write_text
from dask_mlsched.learning.instance import Instance, InstanceError

_WORKLOADS = Checked("names", names(find))


@click.command(cls=Command)
@click.option(
    "--workload",
    "workloads",
    type=_WORKLOADS,
    default="gemm,block-sparse,2d-sparse,cholesky,stencil,reduction,matvec",
    show_default=True,
    help="One or more, separated by commas.",
)
@MODEL
@click.option(
    "--memory-ratio",
    type=click.FloatRange(min=0, min_open=True),
    default=2.0,
    show_default=True,
    help="What the DAG keeps alive at most over the device memory of all workers.",
)
@click.option("--workers", type=COUNT, default=1, show_default=True)
@click.option("--quick", is_flag=True, help="Small instances.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True)
@click.option("--json", "json_file", type=JSON, help="Write the figures here; - is stdout.")
@click.option("--markdown", "page", type=JSON, help="Write the tables here as Markdown.")
def ablations(
    workloads: tuple[str, ...],
    model: Path | None,
    memory_ratio: float,
    workers: int,
    seed: int,
    json_file: str | None,
    page: str | None,
    *,
    quick: bool,
) -> None:
    """Simulate workloads under a model, and with its parts taken away.

    Tells how often slots are held, what that saves and costs, and how far every other part is
    needed: choosing what goes out, the network itself. All are ratios to Dask alone.
    """
    network = network_in(model)

    def instances() -> Iterator[Instance]:
        for name in workloads:
            with tempfile.TemporaryDirectory(prefix="mlsched-") as folder:
                dag = find(name).dag(Path(folder), seed, "quick" if quick else "full")
            yield instance_of(
                dag, name=name, family=name, memory_ratio=memory_ratio, workers=workers
            )

    with missing_packages_are_mistakes(), progress_bars() as progress:
        bar = progress.add_task("", total=float(len(workloads)))

        def on_arm(name: str, share: float) -> None:
            done = workloads.index(name.split(":", maxsplit=1)[0])
            progress.update(bar, completed=done + share, description=name)

        try:
            found = ablate(instances(), network, seed=seed, on_arm=on_arm)
        except InstanceError as error:
            complain(str(error))
        progress.update(bar, completed=len(workloads), description="done")
    if json_file is not None:
        write_json(json_file, as_json(found))
    if page is not None:
        write_text(page, markdown(found))
    if "-" not in (json_file, page):
        for table in tables(found):
            console().print(table)
