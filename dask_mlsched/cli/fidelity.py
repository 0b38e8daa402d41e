"""`dask mlsched fidelity`: how well the simulator foretells live runs."""

from __future__ import annotations

from pathlib import Path

import click

from dask_mlsched.benchmarks import fidelity_report
from dask_mlsched.benchmarks.contender import check_policy
from dask_mlsched.benchmarks.fidelity import CASES, POLICIES, QUICK_CASES, RATIOS, measure
from dask_mlsched.benchmarks.runner import RunFailedError
from dask_mlsched.cli.options import (
    COUNT,
    JSON,
    Checked,
    Command,
    make_folder,
    missing_packages_are_mistakes,
    names,
)
from dask_mlsched.cli.output import console, progress_bars, write_json


@click.command(cls=Command)
@click.option(
    "--policies",
    type=Checked("names", names(check_policy)),
    default=",".join(POLICIES),
    show_default=True,
    help="One or more, separated by commas; stock is Dask alone, observed.",
)
@click.option("--workers", type=COUNT, default=1, show_default=True)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True)
@click.option("--quick", is_flag=True, help="A small instance: does it work, in a minute.")
@click.option("--json", "json_file", type=JSON, help="Write the figures here; - is stdout.")
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder for the table as a page of Markdown; made if need be.",
)
def fidelity(
    policies: tuple[str, ...],
    workers: int,
    seed: int,
    json_file: str | None,
    out: Path | None,
    *,
    quick: bool,
) -> None:
    """Record live runs on emulated devices, and simulate the decisions that they took.

    Shows how far bytes and makespans are from what was measured, and whether replaying each trace
    gives the same instructions. "foretold" is the error of the makespan with what messages and
    event loops took in the other runs of the workload.
    """
    if out is not None:
        make_folder(out)
    with missing_packages_are_mistakes(), progress_bars() as progress:
        bar = progress.add_task("", total=1)
        try:
            found = measure(
                QUICK_CASES if quick else CASES,
                RATIOS,
                policies,
                workers=workers,
                seed=seed,
                on_run=lambda name, done, total: progress.update(
                    bar, completed=done, total=total, description=name
                ),
            )
        except RunFailedError as error:
            raise click.ClickException(str(error)) from error
    if out is not None:
        (out / "fidelity.md").write_text(fidelity_report.markdown(found))
    if json_file is not None:
        write_json(json_file, fidelity_report.as_json(found))
    if json_file != "-":
        terminal = console()
        terminal.print(fidelity_report.table(found))
        for verdict in fidelity_report.verdicts(found):
            terminal.print(verdict)
