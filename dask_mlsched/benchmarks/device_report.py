"""The page of the measurements on a GPU, made of the documents of its parts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

from dask_mlsched.benchmarks.device_bench import FORMAT, VERSION
from dask_mlsched.benchmarks.report import megabytes

_HEADINGS = (
    *("case", "ratio", "policy and store", "makespan (s)", "ratio to stock", "loaded (MB)"),
    *("evicted (MB)", "copies (GB/s)", "of pinned", "overlap", "decision (µs)", "right"),
)

#: A document of `device_bench.measure`, and a run of it.
Document = Mapping[str, Any]
Run = Mapping[str, Any]


def check_document(found: Any, source: str) -> Document:
    """Return what was read, if it is a document of `device_bench.measure`.

    Raises
    ------
    ValueError
        If it is none, naming the source.
    """
    form = (found.get("format"), found.get("version")) if isinstance(found, dict) else (None, None)
    if form != (FORMAT, VERSION):
        msg = (
            f"{source} has format {form[0]!r}, version {form[1]!r}; expected {FORMAT!r}, "
            f"{VERSION}, as the benchmark writes it"
        )
        raise ValueError(msg)
    document: Document = found
    return document


def markdown(documents: Sequence[Document], local_cupy: Sequence[Mapping[str, Any]] = ()) -> str:
    """Write the page: a table for each device and set of packages, in the order of the documents.

    Parameters
    ----------
    documents
        Of `device_bench.measure`.
    local_cupy
        Operation, arguments and seconds of dask-cuda's own benchmark, with the plugin and without.
    """
    parts: dict[str, list[Document]] = {}
    for document in documents:
        parts.setdefault(_heading(document), []).append(document)
    lines: list[str] = []
    for heading, group in parts.items():
        lines += [heading, "", *_pinned(group), *_table(group), ""]
    if local_cupy:
        lines += _local_cupy(local_cupy)
    return "\n".join(lines).rstrip() + "\n"


def _heading(document: Document) -> str:
    device = document["device"]
    memory = "" if device["memory"] is None else f", {device['memory'] / 1e9:.0f} GB"
    packages = ", ".join(f"{name} {number}" for name, number in document["packages"].items())
    return f"## {device['name']}{memory}\n\n{packages}."


def _pinned(documents: Sequence[Document]) -> list[str]:
    measured = [document["copies"] for document in documents if document["copies"] is not None]
    if not measured:
        return []
    ways = {way: median(each[way] for each in measured) / 1e9 for way in ("to_device", "to_host")}
    to_device, to_host = (f"{ways[way]:.1f} GB/s" for way in ("to_device", "to_host"))
    line = f"Pinned copies: {to_device} to the device, {to_host} to the host (medians)."
    return [line, ""]


def _table(documents: Sequence[Document]) -> list[str]:
    rows = ["| " + " | ".join(_HEADINGS) + " |", "|---|---:|---|" + "---:|" * 8 + "---|"]
    for document in documents:
        (result,) = document["bench"]["results"]
        for summary in result["summaries"]:
            contender = summary["policy"], summary["store"]
            runs = [r for r in result["runs"] if (r["policy"], r["store"]) == contender]
            rows.append(_row(document, summary, runs))
    return rows


def _row(document: Document, summary: Mapping[str, Any], runs: Sequence[Run]) -> str:
    speed = median(_copy_speed(run) for run in runs)
    pinned = document["copies"]
    fastest = None if pinned is None else (pinned["to_device"] + pinned["to_host"]) / 2
    decisions = [r["decision_seconds_p50"] for r in runs if r["decision_seconds_p50"] is not None]
    cells = (
        document["case"],
        f"{document['ratio']:g}",
        f"{summary['policy']}@{summary['store']}",
        f"{summary['seconds']:.2f}",
        _ratio(summary),
        megabytes(summary["bytes_loaded"]),
        megabytes(summary["bytes_evicted"]),
        f"{speed / 1e9:.2f}",
        "–" if fastest is None else f"{speed / fastest:.0%}",
        f"{median(overlap(run) for run in runs):.0%}",
        f"{median(decisions) * 1e6:.0f}" if decisions else "–",
        "yes" if summary["results_equal"] else "**no**",
    )
    return "| " + " | ".join(cells) + " |"


def _ratio(summary: Mapping[str, Any]) -> str:
    if summary["ratio"] is None:
        return "–"
    low, high = min(summary["ratios"]), max(summary["ratios"])
    spread = f" ({low:.2f} to {high:.2f})" if high > low else ""
    return f"**{summary['ratio']:.2f}**{spread}"


def _copy_speed(run: Run) -> float:
    """Bytes per second of the copies, while they were made; 0 without any."""
    seconds = run["load_seconds"] + run["evict_seconds"]
    return (run["bytes_loaded"] + run["bytes_evicted"]) / seconds if seconds else 0.0


def overlap(run: Run) -> float:
    """Return the share of the copying that ran beside computing on one worker, at the least.

    If nothing did, the makespan would be no less than computing and copying together. What a
    worker does besides, and kernels that go on when their task has ended, make it less than it is.

    Examples
    --------
    >>> overlap({"seconds": 9.0, "compute_seconds": 6.0, "load_seconds": 3.0, "evict_seconds": 1.0})
    0.25
    """
    copying: float = run["load_seconds"] + run["evict_seconds"]
    hidden: float = run["compute_seconds"] + copying - run["seconds"]
    return min(1.0, max(0.0, hidden / copying)) if copying else 0.0


def _local_cupy(runs: Sequence[Mapping[str, Any]]) -> list[str]:
    rows = [
        "## dask-cuda's own benchmark",
        "",
        "`python -m dask_cuda.benchmarks.local_cupy`, the plugin put in by configuration.",
        "",
        "| arguments | without (s) | with (s) | ratio |",
        "|---|---:|---:|---:|",
    ]
    for run in runs:
        without, with_plugin = median(run["without"]), median(run["with"])
        ratio = with_plugin / without
        cells = f"{without:.2f} | {with_plugin:.2f} | **{ratio:.2f}**"
        rows.append(f"| `{run['arguments']}` | {cells} |")
    return rows
