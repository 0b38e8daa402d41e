"""`dask mlsched report`: a recorded run on one page."""

from __future__ import annotations

from pathlib import Path

import click

from dask_mlsched.benchmarks.run_report.figures import as_json
from dask_mlsched.benchmarks.run_report.findings import find
from dask_mlsched.benchmarks.run_report.page import page
from dask_mlsched.cli import traces
from dask_mlsched.cli.networks import MODEL, network_in
from dask_mlsched.cli.options import COUNT, JSON, Checked, Command, complain, output_file
from dask_mlsched.cli.output import advance, progress_bars, write_json
from dask_mlsched.core.machine import SimulationError
from dask_mlsched.extension.trace_files import write_at_once


def _page_file(text: str) -> Path:
    if text == "-":
        msg = "'-' is no file; name the HTML file that is to be written, such as report.html"
        raise ValueError(msg)
    return Path(output_file(text))


@click.command(cls=Command)
@traces.TRACE
@click.option(
    "--out",
    type=Checked("file", _page_file),
    default="report.html",
    show_default=True,
    help="The HTML file; one that is there is replaced.",
)
@click.option(
    "--decisions",
    type=click.IntRange(min=0),
    default=100,
    show_default=True,
    help="Judge so many, evenly spread over the run; that is what takes the time.",
)
@click.option("--top", type=COUNT, default=10, show_default=True, help="List so many of them.")
@MODEL
@click.option("--title", help="Of the page. Default: the name of the trace.")
@click.option("--json", "json_file", type=JSON, help="Write the figures here; - is stdout.")
def report(
    trace_file: Path,
    out: Path,
    decisions: int,
    top: int,
    model: Path | None,
    title: str | None,
    json_file: str | None,
) -> None:
    """Put a recorded run on one HTML page, which needs nothing else and no network.

    It tells what every thread did, which bytes moved against Dask alone and against what nobody
    can do without, which decisions cost most, and what decided. Dask alone is simulated: the page
    says how far that simulation is off the run itself.
    """
    network = network_in(model)
    trace = traces.read(trace_file)
    try:
        with progress_bars() as progress:
            bar = progress.add_task(trace_file.name, total=1.0)
            found = find(
                trace,
                trace_file.name,
                network,
                decisions=decisions,
                on_progress=lambda done: advance(progress, bar, done),
            )
            advance(progress, bar, 1.0)
    except SimulationError as error:
        complain(f"--trace={str(trace_file)!r}: {error}")
    text = page(found, title=title or f"Run {trace_file.name}", top=top)
    try:
        write_at_once(out, text.encode())
    except OSError as error:
        complain(f"--out={str(out)!r} cannot be written ({error.strerror}); name another file")
    if json_file is not None:
        write_json(json_file, as_json(found, top))
    if json_file != "-":
        click.echo(f"{out}, {len(text) / 1e6:.1f} MB: open it in a browser")
