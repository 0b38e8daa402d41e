"""`dask mlsched published`: counts of loads that others have published, beside ours."""

from __future__ import annotations

from functools import partial

import click

from dask_mlsched.benchmarks import published as counts
from dask_mlsched.cli.options import JSON, Command
from dask_mlsched.cli.output import advance, console, progress_bars, write_json, write_text

#: n, density, shuffled
_INSTANCES = ((75, 1.0, False), (75, 1.0, True), (400, 0.02, False))


@click.command(cls=Command)
@click.option("--json", "json_file", type=JSON, help="Write the figures here; - is stdout.")
@click.option("--markdown", "page", type=JSON, help="Write the table here as Markdown.")
def published(json_file: str | None, page: str | None) -> None:
    """Simulate the 2D instances of StarPU's studies and compare the tiles that are loaded."""
    found: list[counts.Count] = []
    with progress_bars() as progress:
        for n, density, shuffled in _INSTANCES:
            bar = progress.add_task(f"N = {n}", total=1.0)
            found += counts.count_tiles(
                n,
                density,
                shuffled=shuffled,
                on_done=partial(advance, progress, bar),
            )
    if page is not None:
        write_text(page, counts.markdown(found))
    if json_file is not None:
        write_json(json_file, counts.as_json(found))
    if json_file != "-" and page != "-":
        console().print(counts.table(found))
