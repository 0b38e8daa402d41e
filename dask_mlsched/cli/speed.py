"""`dask mlsched speed`: how long decisions and fingerprints take, and how fast runs of DAGs are."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import click
from rich.progress import Progress, TaskID

from dask_mlsched.benchmarks import fingerprint_speed, fresh_process, rollout_speed, speed_report
from dask_mlsched.benchmarks import speed as timings
from dask_mlsched.benchmarks.fresh_process import FreshRun
from dask_mlsched.benchmarks.rollout_speed import FAMILIES, REPEATED_UP_TO
from dask_mlsched.benchmarks.speed_report import Report
from dask_mlsched.cli.options import COUNT, JSON, Checked, Command, names
from dask_mlsched.cli.output import console, progress_bars, write_json, write_text
from dask_mlsched.cli.suites import default_policies

_MILLION = 1_000_000
#: Tasks of the DAGs whose fingerprint is taken.
_FINGERPRINTS = (1_000, 36_000)


def _counts(option: str) -> Checked:
    """Make an option of counts, separated by commas."""

    def convert(text: str) -> tuple[int, ...]:
        counts = []
        for each in text.split(","):
            if not each.strip().isdigit() or int(each) < 1:
                msg = f"{option}={text!r} has {each!r}; expected counts above 0, such as 1000,10000"
                raise ValueError(msg)
            counts.append(int(each))
        return tuple(dict.fromkeys(counts))

    return Checked("counts", convert)


def _check_policy(name: str) -> None:
    if name not in _timed_policies():
        msg = f"unknown policy {name!r}; expected one of {', '.join(_timed_policies())}"
        raise ValueError(msg)


def _timed_policies() -> tuple[str, ...]:
    return tuple(name for name in default_policies() if name != "stock")


_POLICIES = Checked("names", names(_check_policy))
_PARKED, _TASKS, _WORKERS = _counts("--parked"), _counts("--tasks"), _counts("--workers")


@click.command(cls=Command)
@click.option("--policies", type=_POLICIES, help="Whose decisions; all but hfp.")
@click.option("--parked", type=_PARKED, default="1000,10000", show_default=True, help="Tasks.")
@click.option(
    "--tasks", type=_TASKS, default="1000,10000,100000", show_default=True, help="In a DAG."
)
@click.option("--workers", type=_WORKERS, default="1,8", show_default=True, help="That run it.")
@click.option("--repeats", type=COUNT, default=3, show_default=True, help="Of each DAG's run.")
@click.option(
    "--both-up-to",
    type=COUNT,
    default=REPEATED_UP_TO,
    show_default=True,
    help="Leave the simulator out for more tasks: it takes half a millisecond for each.",
)
@click.option("--million", is_flag=True, help="Two DAGs of a million tasks, and their memory.")
@click.option("--quick", is_flag=True, help="Small numbers, without compiling: does it work.")
@click.option("--json", "json_file", type=JSON, help="Write the figures here; - is stdout.")
@click.option("--markdown", "page", type=JSON, help="Write the tables here as Markdown.")
def speed(
    policies: tuple[str, ...] | None,
    parked: tuple[int, ...],
    tasks: tuple[int, ...],
    workers: tuple[int, ...],
    repeats: int,
    both_up_to: int,
    json_file: str | None,
    page: str | None,
    *,
    million: bool,
    quick: bool,
) -> None:
    """Time decisions against parked tasks, and runs of DAGs against tasks and workers.

    Runs are compiled ones beside the simulator's, fingerprints beside plain Python's, by turns.
    """
    if quick:
        parked, tasks, repeats = (1_000,), (400,), 1
    fingerprints = _FINGERPRINTS[:1] if quick else _FINGERPRINTS
    policies = policies or _timed_policies()
    steps = len(policies) * len(parked) + len(FAMILIES) * len(tasks) * len(workers)
    with progress_bars() as progress:
        steps += (not quick) + len(FAMILIES) * million + len(fingerprints)
        bar = progress.add_task("", total=steps)
        on_step = _on_step(progress, bar)
        compiling: Sequence[FreshRun] = ()
        large: list[FreshRun] = []
        if not quick:
            on_step("compiling")
            compiling = fresh_process.time_compiling()
        runs = rollout_speed.time_runs(
            FAMILIES, tasks, workers, repeats=repeats, both_up_to=both_up_to, on_step=on_step
        )
        for family in FAMILIES if million else ():
            on_step(f"{family}, {_MILLION:,} tasks")
            large.append(fresh_process.run(family, _MILLION))
        taken = fingerprint_speed.time_fingerprints(fingerprints, repeats=repeats, on_step=on_step)
        decisions = timings.measure(policies, parked, on_step)
        progress.update(bar, completed=steps)
    report = Report(decisions, runs, compiling, large, taken)
    if json_file is not None:
        write_json(json_file, speed_report.as_json(report))
    if page is not None:
        write_text(page, speed_report.markdown(report))
    if "-" not in (json_file, page):
        for table in speed_report.tables(report):
            console().print(table)
        for line in speed_report.missed(report):
            console().print(f"Missed: {line}")


def _on_step(progress: Progress, bar: TaskID) -> Callable[[str], None]:
    begun = False

    def on_step(text: str) -> None:
        nonlocal begun
        progress.update(bar, advance=float(begun), description=text)
        begun = True

    return on_step
