"""Figures of speed for a terminal, a page, and machines."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from rich import box
from rich.table import Table

from dask_mlsched.benchmarks.fingerprint_speed import FingerprintTimes
from dask_mlsched.benchmarks.fresh_process import FreshRun
from dask_mlsched.benchmarks.rollout_speed import REPEATED_UP_TO, Timed
from dask_mlsched.benchmarks.speed import Decisions

#: What is promised, on one core: task events per second of a compiled run of 100,000 tasks;
#: microseconds per decision, p50 and p99; bytes of a run of a million tasks; milliseconds of the
#: fingerprint of 36,000 tasks, and of more in proportion.
EVENTS_PER_SECOND: Final = 300_000
P50_US: Final = 50
P99_US: Final = 200
PEAK_BYTES: Final = 2_000_000_000
FINGERPRINT_MS: Final = 15
_FINGERPRINT_TASKS: Final = 36_000

#: A row of a sheet as text.
_Row = tuple[str, ...]


@dataclass(frozen=True)
class Report:
    """All that was measured; what was left out is empty."""

    decisions: Sequence[Decisions] = ()
    runs: Sequence[Timed] = ()
    #: With nothing compiled, and with what was kept.
    compiling: Sequence[FreshRun] = ()
    large: Sequence[FreshRun] = ()
    fingerprints: Sequence[FingerprintTimes] = ()


@dataclass(frozen=True)
class _Sheet:
    """A table before it is laid out; the first column is text, others are numbers."""

    title: str
    head: _Row
    rows: Sequence[_Row]


def tables(report: Report) -> list[Table]:
    """Lay out what there is for a terminal."""
    made = []
    for sheet in _sheets(report):
        table = Table(title=sheet.title, box=box.SIMPLE_HEAD, padding=0)
        for number, name in enumerate(sheet.head):
            table.add_column(name, justify="right" if number else "left")
        for row in sheet.rows:
            table.add_row(*row)
        made.append(table)
    return made


def markdown(report: Report) -> str:
    """Return what there is as Markdown tables."""
    lines = []
    for sheet in _sheets(report):
        lines += [f"## {sheet.title}", "", _line(sheet.head)]
        lines.append(_line(["---"] + ["---:"] * (len(sheet.head) - 1)))
        lines += [*map(_line, sheet.rows), ""]
    return "\n".join(lines)


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _sheets(report: Report) -> list[_Sheet]:
    kinds: list[tuple[Sequence[Any], Callable[[Any], _Sheet]]] = [
        (report.runs, _runs),
        (report.compiling, _compiling),
        (report.large, _large),
        (report.fingerprints, _fingerprints),
        (report.decisions, _decisions),
    ]
    return [sheet(rows) for rows, sheet in kinds if rows]


def _runs(runs: Sequence[Timed]) -> _Sheet:
    head = ("DAG", "tasks", "workers", "compiled", "simulator", "times as fast", "pairs")
    rows = [
        (
            run.family,
            f"{run.tasks:,}",
            f"{run.workers:,}",
            f"{run.per_second:,.0f}",
            "–" if run.simulated_per_second is None else f"{run.simulated_per_second:,.0f}",
            _ratio(run.ratios),
            str(len(run.ratios)),
        )
        for run in runs
    ]
    return _Sheet("Task events per second, greedy", head, rows)


def _ratio(ratios: Sequence[float]) -> str:
    if not ratios:
        return "–"
    middle = f"{statistics.median(ratios):.0f}"
    return middle if len(ratios) == 1 else f"{middle} ({min(ratios):.0f} to {max(ratios):.0f})"


def _compiling(runs: Sequence[FreshRun]) -> _Sheet:
    names = ("nothing compiled", "compiled before")
    rows = [
        (name, f"{run.first_seconds:.2f}", f"{run.again_seconds:.4f}", f"{run.compile_seconds:.2f}")
        for name, run in zip(names, runs, strict=True)
    ]
    head = ("fresh process", "first run", "next run", "difference")
    return _Sheet(f"Compiling, seconds, {runs[0].tasks:,} tasks", head, rows)


def _large(runs: Sequence[FreshRun]) -> _Sheet:
    head = ("DAG", "tasks", "build, s", "run, s", "events/s", "MB before", "MB with DAG", "MB peak")
    rows = [
        (
            run.family,
            f"{run.tasks:,}",
            f"{run.build_seconds:.1f}",
            f"{run.again_seconds:.1f}",
            f"{run.timed.per_second:,.0f}",
            *(f"{each / 1e6:,.0f}" for each in (run.empty_peak, run.built_peak, run.peak)),
        )
        for run in runs
    ]
    return _Sheet("A large DAG in a process of its own, one worker", head, rows)


def _fingerprints(timed: Sequence[FingerprintTimes]) -> _Sheet:
    head = ("DAG", "tasks", "edges", "compiled", "bit by bit", "plain Python", "times as fast")
    rows = [
        (
            each.family,
            f"{each.tasks:,}",
            f"{each.edges:,}",
            *(f"{time:,.1f}" for time in each.milliseconds),
            _ratio(each.ratios),
        )
        for each in timed
    ]
    return _Sheet("Fingerprints, milliseconds", head, rows)


def _decisions(decisions: Sequence[Decisions]) -> _Sheet:
    parked = sorted({each.parked for each in decisions})
    cells = {(each.policy, each.parked): each for each in decisions}
    rows = [
        (name, *(f"{cells[name, n].p50:.0f} / {cells[name, n].p99:.0f}" for n in parked))
        for name in dict.fromkeys(each.policy for each in decisions)
    ]
    head = ("policy", *(f"{count:,}" for count in parked))
    return _Sheet("Microseconds per decision, p50 / p99, by parked tasks", head, rows)


def missed(report: Report) -> list[str]:
    """Say in one line each what is promised and was not reached."""
    lines = [
        f"{run.family}, {run.tasks:,} tasks, {run.workers:,} workers: "
        f"{run.per_second:,.0f} events/s"
        for run in report.runs
        if run.tasks > REPEATED_UP_TO and run.per_second < EVENTS_PER_SECOND
    ]
    lines += [
        f"{each.policy}, {each.parked:,} parked: p50 {each.p50:.0f} µs, p99 {each.p99:.0f} µs"
        for each in report.decisions
        if each.parked >= 10_000 and (each.p50 > P50_US or each.p99 > P99_US)
    ]
    lines += [
        f"{run.family}, {run.tasks:,} tasks: {run.peak / 1e6:,.0f} MB"
        for run in report.large
        if run.peak > PEAK_BYTES
    ]
    lines += [
        f"fingerprint of {each.family}, {each.tasks:,} tasks: {each.milliseconds[0]:.1f} ms"
        for each in report.fingerprints
        if each.milliseconds[0] > FINGERPRINT_MS * max(1, each.tasks / _FINGERPRINT_TASKS)
    ]
    return lines


def as_json(report: Report) -> dict[str, Any]:
    """Return all figures for machines: times in microseconds and seconds."""
    return {
        "decisions": [
            {"policy": d.policy, "parked": d.parked, "p50_us": d.p50, "p99_us": d.p99}
            for d in report.decisions
        ],
        "simulations": [
            {
                "family": run.family,
                "tasks": run.tasks,
                "workers": run.workers,
                "compiled_seconds": list(run.compiled),
                "simulator_seconds": list(run.simulated),
                "events_per_second": run.per_second,
                "simulator_events_per_second": run.simulated_per_second,
                "ratios": list(run.ratios),
            }
            for run in report.runs
        ],
        "compiling": [asdict(run) for run in report.compiling],
        "large": [asdict(run) for run in report.large],
        "fingerprints": [
            {
                "family": each.family,
                "tasks": each.tasks,
                "edges": each.edges,
                "compiled_seconds": list(each.compiled),
                "added_seconds": list(each.added),
                "plain_seconds": list(each.plain),
                "ratios": list(each.ratios),
            }
            for each in report.fingerprints
        ],
    }
