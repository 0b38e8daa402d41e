"""Settings of a run and the machine that was fitted to it, for people."""

from __future__ import annotations

from collections.abc import Iterator

from dask_mlsched.core.calibration import Calibration
from dask_mlsched.core.costs import CopyCost, CopyFit
from dask_mlsched.extension.in_words import bytes_text, seconds_text


def settings(calibration: Calibration) -> Iterator[tuple[str, str]]:
    """Yield names and values."""
    chosen, machine = calibration.settings, calibration.machine
    costs = machine.costs
    limit = machine.limit
    if calibration.unequal is not None:
        yield "workers", f"not equal: {calibration.unequal}"
    least = "" if calibration.unequal is None else "at least "
    yield "fast tier", "without limit" if limit is None else f"{least}{bytes_text(limit)} a worker"
    yield "loads", _copy(costs.load, calibration.load)
    yield "evictions", _copy(costs.evict, calibration.evict)
    yield "between workers", _copy(costs.send, calibration.send)
    yield "messages", f"{seconds_text(costs.message)} each way; fitted to this run"
    yield "event loops", f"{seconds_text(costs.task)} for each task; fitted to this run"
    yield "rule of eviction", chosen.eviction
    yield "clean copies", "leave for free" if chosen.keep_clean else "are copied like others"
    yield "copies", "beside computing" if chosen.overlap else "in the worker's event loop"
    yield "tasks beyond the threads", f"{chosen.lookahead}"
    yield "shortlist", f"{chosen.shortlist} tasks"
    yield "longest hold", seconds_text(chosen.hold_limit)
    yield "longest decision", seconds_text(chosen.time_budget)
    yield "seed", f"{chosen.seed}"


def _copy(cost: CopyCost, fit: CopyFit | None) -> str:
    said = f"{bytes_text(cost.bandwidth)}/s after {seconds_text(cost.latency)}"
    if fit is None:
        return f"{said}; assumed, as none was reported"
    return f"{said}; fitted to {fit.samples:,}, {fit.error:.0%} off at the median"
