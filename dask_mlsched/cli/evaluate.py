"""`dask mlsched evaluate`: how good a model is, on DAGs that training did not see."""

from __future__ import annotations

from pathlib import Path

import click

from dask_mlsched.benchmarks import evaluation
from dask_mlsched.benchmarks.training_set import Split
from dask_mlsched.cli.bar import one_bar
from dask_mlsched.cli.judged import ONLY, SPLITS_OPTION, judged
from dask_mlsched.cli.options import COUNT, JSON, Checked, Command, complain, output_file
from dask_mlsched.cli.output import console, write_json, write_text
from dask_mlsched.core import features
from dask_mlsched.learning.default_model import default_model
from dask_mlsched.learning.model_file import Model, ModelFileError, load
from dask_mlsched.learning.processes import Processes


@click.command(cls=Command)
@click.option("--model", "file", type=click.Path(path_type=Path), help="Default: the one shipped.")
@SPLITS_OPTION
@ONLY
@click.option("--processes", type=COUNT, default=1, show_default=True)
@click.option(
    "--markdown", type=Checked("file", output_file), help="Write the figures here as Markdown."
)
@click.option("--summary", is_flag=True, help="Only means in what --markdown writes.")
@click.option("--json", "json_file", type=JSON, help="Write the figures here; - is stdout.")
def evaluate(
    file: Path | None,
    splits: tuple[Split, ...],
    only: str | None,
    processes: int,
    markdown: str | None,
    json_file: str | None,
    *,
    summary: bool,
) -> None:
    """Run a model on simulated instances, and compare with Dask alone and with its own parts."""
    model = _model(file)
    with one_bar() as tell:
        instances, ranges = judged(splits, only, tell)
        with Processes(instances, processes) as started:
            found = evaluation.evaluate(model.network, started, ranges, tell)
    if markdown is not None:
        write_text(markdown, evaluation.markdown(found, summary=summary))
    if json_file is not None:
        write_json(json_file, evaluation.as_json(found))
    if "-" not in (json_file, markdown):
        for table in evaluation.tables(found):
            console().print(table)


def _model(file: Path | None) -> Model:
    try:
        return default_model() if file is None else load(file, features.NAMES)
    except ModelFileError as error:
        complain(str(error))
