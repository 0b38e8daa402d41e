"""`similarities`, a command: how alike the fingerprints of our workloads are."""

from __future__ import annotations

import click

from dask_mlsched.benchmarks import similarities as measured
from dask_mlsched.benchmarks.workloads import find
from dask_mlsched.cli.options import JSON, Checked, Command, names
from dask_mlsched.cli.output import console, progress_bars, write_json

_FAMILIES = Checked("names", names(find))


@click.command(cls=Command)
@click.option("--families", type=_FAMILIES, help="Of these workloads only; all otherwise.")
@click.option("--json", "json_file", type=JSON, help="Write the figures here; - is stdout.")
def similarities(families: tuple[str, ...] | None, json_file: str | None) -> None:
    """Show how alike the fingerprints of programs are: at two sizes each, and of different ones.

    A model that was trained on one program is tried on those whose fingerprints are near.
    """
    chosen = families or tuple(measured.SIZES)
    with progress_bars() as progress:
        bar = progress.add_task("", total=len(chosen))
        begun = 0

        def on_step(family: str) -> None:
            nonlocal begun
            progress.update(bar, completed=begun, description=family)
            begun += 1

        found = measured.measure(chosen, on_step)
        progress.update(bar, completed=len(chosen))
    if json_file is not None:
        write_json(json_file, measured.as_json(found))
    if json_file != "-":
        for table in measured.tables(found):
            console().print(table)
        for family in found.left_out:
            click.echo(f"{family} is left out: its matrices need a package that is not installed")
