"""`dask mlsched contest`: a model and its specialists against every hand-written policy."""

from __future__ import annotations

from pathlib import Path

import click

from dask_mlsched.benchmarks import contest as contests
from dask_mlsched.benchmarks.training_set import Split
from dask_mlsched.cli.bar import one_bar
from dask_mlsched.cli.judged import ONLY, SPLITS_OPTION, judged
from dask_mlsched.cli.networks import MODEL, network_in
from dask_mlsched.cli.options import COUNT, JSON, Command
from dask_mlsched.cli.output import console, write_json
from dask_mlsched.learning.processes import Processes
from dask_mlsched.learning.specialise import RUNS


@click.command(cls=Command)
@MODEL
@SPLITS_OPTION
@ONLY
@click.option(
    "--runs",
    type=COUNT,
    default=RUNS,
    show_default=True,
    help="Of a search; the default is what there is time for while a graph runs.",
)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True)
@click.option("--processes", type=COUNT, default=1, show_default=True)
@click.option("--json", "json_file", type=JSON, help="Write the figures here; - is stdout.")
def contest(
    model: Path | None,
    splits: tuple[Split, ...],
    only: str | None,
    runs: int,
    seed: int,
    processes: int,
    json_file: str | None,
) -> None:
    """Simulate every hand-written policy, a model, and specialists that begin at it.

    Each on the same DAGs, with the same evictions, against Dask alone and against the best of
    all the others on that DAG.
    """
    network = network_in(model)
    with one_bar() as tell:
        instances, ranges = judged(splits, only, tell)
        with Processes(instances, processes) as started:
            rounds = contests.run_contest(
                network,
                started,
                runs=runs,
                seed=seed,
                on_share=lambda share: tell("contest", share),
            )
    by_split = {split: [rounds[at] for at in places] for split, places in ranges.items()}
    if json_file is not None:
        write_json(json_file, contests.as_json(by_split, runs))
    if json_file != "-":
        for table in contests.tables(by_split):
            console().print(table)
