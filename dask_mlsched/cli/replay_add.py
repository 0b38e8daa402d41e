"""`dask mlsched replay add`: recorded runs become something to learn from."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import click

from dask_mlsched.cli import traces
from dask_mlsched.cli.networks import MODEL, network_in
from dask_mlsched.cli.options import COUNT, JSON, Command, complain
from dask_mlsched.cli.output import advance, progress_bars, write_json
from dask_mlsched.core import features
from dask_mlsched.core.calibration import calibrate
from dask_mlsched.core.machine import SimulationError
from dask_mlsched.learning.live_labels import Judging, LiveLabels, OnDecision, add_run
from dask_mlsched.learning.replay import ReplayBuffer
from dask_mlsched.learning.replay_file import ReplayError


@click.command(cls=Command)
@click.argument("buffer_file", metavar="BUFFER", type=click.Path(dir_okay=False, path_type=Path))
@click.option(
    "--trace",
    "trace_files",
    multiple=True,
    required=True,
    type=click.Path(path_type=Path),
    help="A recorded run, as handle.save_trace writes it; may be given several times.",
)
@click.option(
    "--decisions",
    type=COUNT,
    default=200,
    show_default=True,
    help="Judge so many of each run, drawn at random.",
)
@MODEL
@click.option(
    "--capacity",
    type=COUNT,
    default=20_000,
    show_default=True,
    help="Of the buffer, if there is none yet: decisions, about 4.4 kB each.",
)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True)
@click.option("--json", "json_file", type=JSON, help="Write the figures here; - is stdout.")
def add(
    buffer_file: Path,
    trace_files: tuple[Path, ...],
    decisions: int,
    model: Path | None,
    capacity: int,
    seed: int,
    json_file: str | None,
) -> None:
    """Add the decisions of recorded runs to a buffer, with what each action would have cost.

    A run of which the simulation does not take as long as was measured is thrown away, and so is
    one that is in the buffer already. The buffer is made if there is none.
    """
    judging = Judging(network_in(model), decisions, seed=seed)
    found: list[LiveLabels] = []
    # Twice the same file is the same run.
    files = tuple(dict.fromkeys(trace_files))
    for file in files:
        if not file.is_file():
            # Now: not after minutes, and not with a buffer made for nothing.
            complain(f"--trace={str(file)!r} is no file; name a trace")
    with _opened(buffer_file, capacity) as buffer, progress_bars() as progress:
        for file in files:
            bar = progress.add_task(file.name, total=1.0)
            found.append(_added(buffer, file, judging, partial(advance, progress, bar)))
            advance(progress, bar, 1.0)
        figures = as_json(buffer, files, found)
    if json_file is not None:
        write_json(json_file, figures)
    if json_file != "-":
        for line in lines(figures):
            click.echo(line)


def _added(
    buffer: ReplayBuffer, file: Path, judging: Judging, on_decision: OnDecision
) -> LiveLabels:
    trace = traces.read(file)
    try:
        calibration = calibrate(trace, file.name)
    except SimulationError as error:
        return LiveLabels(None, 0, str(error))
    return add_run(buffer, trace, calibration, judging, on_decision=on_decision)


def _opened(file: Path, capacity: int) -> ReplayBuffer:
    try:
        if file.exists():
            return ReplayBuffer.open(file, features.NAMES, "write")
        return ReplayBuffer.create(file, features.NAMES, capacity)
    except ReplayError as error:
        complain(str(error))


def as_json(
    buffer: ReplayBuffer, files: Sequence[Path], found: Sequence[LiveLabels]
) -> dict[str, Any]:
    """Return what was added for machines."""
    return {
        "added": sum(each.added for each in found),
        "records": len(buffer),
        "rejected": sum(each.rejected is not None for each in found),
        "runs": [
            {
                "trace": str(file),
                "added": each.added,
                "rejected": each.rejected,
                "error": None if each.survey is None else each.survey.gate.error,
                "decisions": {} if each.survey is None else dict(each.survey.courses),
            }
            for file, each in zip(files, found, strict=True)
        ],
    }


def lines(figures: dict[str, Any]) -> list[str]:
    """Tell people what was added, and which runs were thrown away."""
    rejected = [each for each in figures["runs"] if each["rejected"] is not None]
    told = [f"{each['trace']} is left out: {each['rejected']}" for each in rejected]
    told.append(
        f"{figures['added']} decisions of {len(figures['runs']) - len(rejected)} runs added, "
        f"{len(rejected)} runs left out; {figures['records']} decisions are there"
    )
    return told
