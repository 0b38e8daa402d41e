"""`dask mlsched speed`: how long decisions take, and how fast simulations run."""

from __future__ import annotations

import click

from dask_mlsched.benchmarks import speed as timings
from dask_mlsched.cli.options import JSON, Command
from dask_mlsched.cli.output import console, progress_bars, write_json
from dask_mlsched.cli.suites import default_policies

_PARKED = (1_000, 10_000, 100_000)
_TASKS = (10_000, 100_000)
_WORKERS = (1, 8, 1_000)


@click.command(cls=Command)
@click.option("--quick", is_flag=True, help="Small numbers: does it work, in seconds.")
@click.option("--million", is_flag=True, help="A million parked tasks as well.")
@click.option("--json", "json_file", type=JSON, help="Write the figures here; - is stdout.")
def speed(json_file: str | None, *, quick: bool, million: bool) -> None:
    """Time decisions against parked tasks, and simulations against tasks and workers."""
    parked = (_PARKED[0],) if quick else _PARKED + (1_000_000,) * million
    tasks, workers = ((400,), (1, 8)) if quick else (_TASKS, _WORKERS)
    names = [name for name in default_policies() if name != "stock"]
    steps = len(names) * len(parked) + len(tasks) * len(workers)
    with progress_bars() as progress:
        bar = progress.add_task("", total=steps)

        def on_step(text: str) -> None:
            progress.update(bar, advance=1, description=text)

        decisions, events = timings.measure(names, parked, tasks, workers, on_step)
    if json_file is not None:
        write_json(json_file, timings.as_json(decisions, events))
    if json_file != "-":
        for table in timings.tables(decisions, events):
            console().print(table)
