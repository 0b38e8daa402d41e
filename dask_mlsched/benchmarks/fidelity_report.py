"""The fidelity of the simulator as a table: for a terminal, as Markdown, as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from statistics import median
from typing import Any, Final

from rich import box
from rich.table import Table

from dask_mlsched.benchmarks.fidelity import Column, Fidelity, Run
from dask_mlsched.benchmarks.report import megabytes, versions
from dask_mlsched.core.costs import CopyFit

#: What is asked for: median errors, and the rank correlation of makespans.
BYTES_WITHIN: Final = 0.02
MAKESPAN_WITHIN: Final = 0.10
CORRELATION: Final = 0.9

_HEADINGS: Final = (
    *("workload / ratio", "policy", "loaded MB", "error", "evicted MB", "error"),
    *("seconds", "error", "foretold", "replay"),
)


def table(fidelity: Fidelity) -> Table:
    """Lay the runs out for a terminal."""
    result = Table(
        title="Decisions of live runs, simulated: errors against what was measured",
        box=box.SIMPLE_HEAD,
        padding=0,
    )
    for number, heading in enumerate(_HEADINGS):
        justify: Any = "left" if number < 2 else "right"
        result.add_column(heading.replace(" MB", "\nMB"), justify=justify, no_wrap=True)
    for row in _rows(fidelity):
        result.add_row(*row)
    result.add_section()
    for row in _summary(fidelity):
        result.add_row(*row)
    return result


def markdown(fidelity: Fidelity) -> str:
    """Return the runs and what they add up to as Markdown."""
    lines = [
        f"| {' | '.join(_HEADINGS)} |",
        f"|---|---|{'---:|' * (len(_HEADINGS) - 2)}",
        *(f"| {' | '.join(row)} |" for row in (*_rows(fidelity), *_summary(fidelity))),
        "",
        *(f"- {verdict}" for verdict in verdicts(fidelity)),
        "",
    ]
    return "\n".join(lines)


def verdicts(fidelity: Fidelity) -> list[str]:
    """Say of each aim whether it is met, and how much rests on fitted overheads, a line each."""
    makespan = fidelity.column("makespan")
    correlation = makespan.correlation
    correlated = correlation is not None and correlation >= CORRELATION
    foretold = fidelity.column("makespan", foretold=True)
    share = median(run.overhead_share for run in fidelity.runs)
    return [
        *(
            _verdict(f"bytes {name}", fidelity.column(f"bytes_{name}").median, BYTES_WITHIN)
            for name in ("loaded", "evicted")
        ),
        _verdict("makespan", makespan.median, MAKESPAN_WITHIN),
        f"makespan: rank correlation {_number(correlation)}, aim {CORRELATION}: {_met(correlated)}",
        f"exact replay: {fidelity.replayed_exactly} of {len(fidelity.runs)} traces",
        (
            f"foretold: median error {foretold.median:.1%}, rank correlation "
            f"{_number(foretold.correlation)}; event loops took {share:.0%} of the makespan"
        ),
        *_sent(fidelity),
    ]


def _sent(fidelity: Fidelity) -> list[str]:
    """Say how well what went from worker to worker is foretold, if anything did."""
    sent = sum(run.live.bytes_sent for run in fidelity.runs)
    if not sent:
        return []
    again = sum(run.calibration.sent_again for run in fidelity.runs)
    column = fidelity.column("bytes_sent")
    return [
        (
            f"bytes sent between workers: median error {column.median:.1%}; {again / sent:.1%} of "
            "them to workers that had held them before"
        )
    ]


def _verdict(what: str, error: float, aim: float) -> str:
    return f"{what}: median error {error:.1%}, aim {aim:.0%}: {_met(error <= aim)}"


def _met(met: bool) -> str:
    return "met" if met else "missed"


def _rows(fidelity: Fidelity) -> list[tuple[str, ...]]:
    columns = [fidelity.column(name).errors for name in _FIGURES]
    foretold = fidelity.column("makespan", foretold=True).errors
    return [
        (
            f"{run.workload} / {run.memory_ratio:g}",
            run.policy,
            megabytes(run.live.bytes_loaded),
            f"{columns[0][number]:+.1%}",
            megabytes(run.live.bytes_evicted),
            f"{columns[1][number]:+.1%}",
            f"{run.live.makespan:.2f}",
            f"{columns[2][number]:+.1%}",
            f"{foretold[number]:+.1%}",
            "exact" if run.replay_problem is None else "differs",
        )
        for number, run in enumerate(fidelity.runs)
    ]


_FIGURES: Final = ("bytes_loaded", "bytes_evicted", "makespan")


def _summary(fidelity: Fidelity) -> list[tuple[str, ...]]:
    columns = [
        *(fidelity.column(name) for name in _FIGURES),
        fidelity.column("makespan", foretold=True),
    ]
    exact = f"{fidelity.replayed_exactly}/{len(fidelity.runs)}"
    return [
        _line("median error", [f"{column.median:.1%}" for column in columns], exact),
        _line("rank correlation", [_number(column.correlation) for column in columns], ""),
    ]


def _line(name: str, cells: Sequence[str], last: str) -> tuple[str, ...]:
    loaded, evicted, makespan, foretold = cells
    return (name, "", "", loaded, "", evicted, "", makespan, foretold, last)


def _number(correlation: float | None) -> str:
    return "–" if correlation is None else f"{correlation:.3f}"


def as_json(fidelity: Fidelity) -> dict[str, Any]:
    """Return what `dask mlsched fidelity --json` prints; errors are shares of what was live."""
    return {
        "format": "mlsched-fidelity",
        "version": 1,
        "versions": versions(),
        "summary": {
            **{name: _column(fidelity.column(name)) for name in _FIGURES},
            "bytes_sent": _column(fidelity.column("bytes_sent")),
            "makespan_foretold": _column(fidelity.column("makespan", foretold=True)),
            "replayed_exactly": fidelity.replayed_exactly,
            "runs": len(fidelity.runs),
        },
        "runs": [_run(run) for run in fidelity.runs],
    }


def _column(column: Column) -> dict[str, float | None]:
    return {"median_error": column.median, "rank_correlation": column.correlation}


def _run(run: Run) -> dict[str, Any]:
    machine = run.calibration.machine
    return {
        "workload": run.workload,
        "memory_ratio": run.memory_ratio,
        "policy": run.policy,
        "workers": run.workers,
        "tasks": len(run.calibration.taken.dag),
        "device_memory": machine.limit,
        "live": asdict(run.live),
        "simulated": asdict(run.simulated),
        "foretold": asdict(run.foretold),
        "sent_again": run.calibration.sent_again,
        "differences": run.differences,
        "replay_problem": run.replay_problem,
        "overhead_share": run.overhead_share,
        "fitted": {
            "load": _fit(run.calibration.load),
            "evict": _fit(run.calibration.evict),
            "send": _fit(run.calibration.send),
            "message": machine.costs.message,
            "decision": machine.costs.decision,
            "task": machine.costs.task,
        },
    }


def _fit(fit: CopyFit | None) -> dict[str, float] | None:
    if fit is None:
        return None
    return {
        "bandwidth": fit.cost.bandwidth,
        "latency": fit.cost.latency,
        "error": fit.error,
        "samples": fit.samples,
    }
