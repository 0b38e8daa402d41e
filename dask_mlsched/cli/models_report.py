"""`dask mlsched models report`: how accurate and how general the models of a library are."""

from __future__ import annotations

from pathlib import Path

import click

from dask_mlsched.benchmarks import generality_picture
from dask_mlsched.benchmarks import generality_report as reports
from dask_mlsched.cli.bar import one_bar
from dask_mlsched.cli.models_folder import JSON_FILE, TRAINING, one_line_errors, shown
from dask_mlsched.cli.options import (
    COUNT,
    Checked,
    Command,
    missing_packages_are_mistakes,
    output_file,
)
from dask_mlsched.cli.output import console
from dask_mlsched.config import Config
from dask_mlsched.core.training_message import LIBRARY
from dask_mlsched.learning.families import Families
from dask_mlsched.learning.library import Library
from dask_mlsched.learning.training_folder import FAMILIES


@click.command(cls=Command)
@TRAINING
@click.option("--all", "every", is_flag=True, help="All versions, not those with aliases alone.")
@click.option("--workloads", is_flag=True, help="Also on the workloads that ship.")
@click.option("--processes", type=COUNT, default=1, show_default=True)
@JSON_FILE
@click.option("--picture", type=Checked("file", output_file), help="Write a PNG here.")
def report(
    directory: Path,
    processes: int,
    json_file: str | None,
    picture: str | None,
    *,
    every: bool,
    workloads: bool,
) -> None:
    """Simulate all models on the runs of all families in DIRECTORY, the folder of a training.

    Tells the closed gap of each, accuracy and generality, and how alike the families are.
    """
    with one_line_errors(), missing_packages_are_mistakes():
        library = Library.reading(directory / LIBRARY)
        with one_bar() as tell:
            found = reports.report(
                library,
                Families(directory / FAMILIES),
                every=every,
                workloads=workloads,
                covered_gap=Config.read().models.covered_gap,
                processes=processes,
                on_step=tell,
            )
            tell("done", 1.0)
        if picture is not None:
            generality_picture.draw(found.table, Path(picture))

    def people() -> None:
        for table in reports.tables(found):
            console().print(table)
        for remark in reports.remarks(found):
            click.echo(remark)

    shown(json_file, reports.as_json(found), people=people)
