"""What runs add up to: medians, ratios to stock, a table for people and JSON for machines."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from rich import box
from rich.table import Table

from dask_mlsched.benchmarks.clusters import find_store
from dask_mlsched.benchmarks.comparison import Comparison, Summary
from dask_mlsched.benchmarks.contender import STOCK
from dask_mlsched.benchmarks.report_schema import FORMAT, VERSION
from dask_mlsched.benchmarks.runner import Arm

_HEADINGS = (
    "seconds",
    "loaded\nMB",
    "evicted\nMB",
    "holds",
    "ratio to\nstock",
    "results\nequal",
)


def table(comparisons: Sequence[Comparison]) -> Table:
    """Lay the summaries out for a terminal."""
    result = Table(
        title="Each policy against Dask alone (medians; a ratio below 1 is faster)",
        box=box.SIMPLE_HEAD,
        # 80 columns are enough for all of it.
        padding=0,
    )
    result.add_column("workload", no_wrap=True)
    result.add_column("policy", no_wrap=True)
    for heading in _HEADINGS:
        result.add_column(heading, justify="right", no_wrap=True)
    for comparison in comparisons:
        for number, summary in enumerate(comparison.summaries()):
            result.add_row(
                comparison.problem.workload if number == 0 else "",
                str(summary.contender),
                f"{summary.seconds:.1f}",
                megabytes(summary.bytes_loaded),
                megabytes(summary.bytes_evicted),
                str(summary.holds) if summary.contender.policy != STOCK else "–",
                _ratio_text(summary),
                "yes" if summary.results_equal else "[bold red]no[/]",
            )
        result.add_section()
    return result


def megabytes(nbytes: float) -> str:
    """Write bytes as whole megabytes, or with a digit more where they are few.

    Examples
    --------
    >>> megabytes(123_456_789), megabytes(1_234_567)
    ('123', '1.2')
    """
    return f"{nbytes / 1e6:.0f}" if nbytes >= 10e6 else f"{nbytes / 1e6:.1f}"


def _ratio_text(summary: Summary) -> str:
    if summary.ratio is None:
        return "–"
    if len(set(summary.ratios)) == 1:
        return f"{summary.ratio:.2f}"
    return f"{summary.ratio:.2f} ({min(summary.ratios):.2f}–{max(summary.ratios):.2f})"


def as_json(comparisons: Sequence[Comparison]) -> dict[str, Any]:
    """Return everything that was measured, as `SCHEMA` describes it."""
    return {
        "format": FORMAT,
        "version": VERSION,
        "versions": versions(),
        "results": [_result(comparison) for comparison in comparisons],
    }


def versions() -> dict[str, str]:
    """Say what ran."""
    found = {"python": platform.python_version()}
    for name in ("dask", "distributed", "dask-mlsched"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:  # run from a checkout that is not installed
            found[name] = "unknown"
    return found


def _result(comparison: Comparison) -> dict[str, Any]:
    problem = comparison.problem
    limit = comparison.conditions.device_memory_limit
    return {
        "workload": problem.workload,
        "parameters": dict(problem.parameters),
        "seed": problem.seed,
        "tasks": problem.tasks(),
        "working_set": problem.working_set,
        "memory_ratio": problem.working_set / limit,
        "conditions": _conditions(comparison),
        "results_equal": comparison.results_equal,
        "summaries": [
            _flat(summary) | {"ratios": list(summary.ratios), "ratio": summary.ratio}
            for summary in comparison.summaries()
        ],
        "runs": [_run(arm) for arm in comparison.arms],
    }


def _conditions(comparison: Comparison) -> dict[str, Any]:
    found = asdict(comparison.conditions)
    # Where files lay is nobody's business who reads the figures.
    del found["directory"]
    if not any(find_store(arm.contender.store).emulated for arm in comparison.arms):
        found |= {"bandwidth": None, "latency": None}
    return found


def _flat(summary: Summary) -> dict[str, Any]:
    found = asdict(summary)
    contender: dict[str, Any] = found.pop("contender")
    return contender | found


def _run(arm: Arm) -> dict[str, Any]:
    status = arm.status
    decision_seconds = status.get("decision_seconds", {})
    return {
        **asdict(arm.contender),
        "repeat": arm.repeat,
        "position": arm.position,
        "seconds": arm.seconds,
        **dict(arm.totals),
        "compute_seconds": arm.compute_seconds,
        "decisions": status.get("decisions", 0),
        "holds": status.get("holds", 0),
        "hold_seconds": status.get("hold_seconds", 0.0),
        "decision_seconds_p50": decision_seconds.get("p50"),
        "decision_seconds_p99": decision_seconds.get("p99"),
        "policy_failures": status.get("policy_failures", 0),
        "errors": status.get("errors", 0),
        "digest": arm.digest,
        "matches_reference": arm.matches_reference,
    }
