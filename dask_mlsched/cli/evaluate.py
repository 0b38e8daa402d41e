"""`dask mlsched evaluate`: how good a model is, on DAGs that training did not see."""

from __future__ import annotations

from pathlib import Path

import click

from dask_mlsched.benchmarks import evaluation, training_set
from dask_mlsched.benchmarks.training_set import SPLITS, Split
from dask_mlsched.cli.bar import one_bar
from dask_mlsched.cli.options import (
    COUNT,
    JSON,
    Checked,
    Command,
    complain,
    missing_packages_are_mistakes,
    output_file,
)
from dask_mlsched.cli.output import console, write_json, write_text
from dask_mlsched.core import features
from dask_mlsched.learning.default_model import default_model
from dask_mlsched.learning.instance import Instance
from dask_mlsched.learning.model_file import Model, ModelFileError, load
from dask_mlsched.learning.processes import Processes


def _splits(text: str) -> tuple[Split, ...]:
    named = {part.strip() for part in text.split(",")}
    if not named <= set(SPLITS):
        msg = f"--splits={text!r}; expected one or more of {', '.join(SPLITS)}"
        raise ValueError(msg)
    return tuple(split for split in SPLITS if split in named)


@click.command(cls=Command)
@click.option("--model", "file", type=click.Path(path_type=Path), help="Default: the one shipped.")
@click.option(
    "--splits",
    type=Checked("names", _splits),
    default="test,unseen",
    show_default=True,
    help="Of the training set: other sizes and seeds, and families that training never saw.",
)
@click.option("--only", help="Only workloads whose name begins so.")
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
    ranges: dict[str, range] = {}
    instances: list[Instance] = []
    with one_bar() as tell:
        with missing_packages_are_mistakes():
            for split in splits:
                cases = [c for c in training_set.cases(split) if c.workload.startswith(only or "")]
                made = training_set.make(cases, tell)
                if made:
                    ranges[split] = range(len(instances), len(instances) + len(made))
                instances += made
        if not instances:
            complain(f"--only={only!r} leaves nothing; give the beginning of a workload's name")
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
