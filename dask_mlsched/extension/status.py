"""What the plugin tells users of its state: plain dictionaries, safe to send."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from dask_mlsched.extension.versions import VERSION

if TYPE_CHECKING:
    from dask_mlsched.extension.scheduler_plugin import MLSchedulerPlugin


def snapshot(plugin: MLSchedulerPlugin) -> dict[str, Any]:
    """Describe the whole plugin."""
    return {
        "version": VERSION,
        "mode": plugin.mode,
        "policy": plugin.policy_name,
        "managing": plugin.manages,
        "workers": {address: _worker(plugin, address) for address in plugin.scheduler.workers},
        "parked": plugin.controller.parked if plugin.controller else 0,
        "unmanaged": dict(plugin.dispatcher.unmanaged),
        "errors": plugin.errors.total(),
        "last_error": plugin.last_error,
        "reports": {
            "received": plugin.reports.received,
            "lost": plugin.reports.lost,
            "repeated": plugin.reports.repeated,
            "stale": plugin.reports.stale,
            "malformed": plugin.reports.malformed,
            "worker_errors": plugin.reports.worker_errors,
            "last_problem": plugin.reports.last_problem,
        },
        "trace": plugin.recording.snapshot(),
        "specialising": None if plugin.specialising is None else plugin.specialising.snapshot(),
        "dashboard": _dashboard(plugin),
        "training": None if plugin.training is None else plugin.training.snapshot(),
        **_decisions(plugin),
    }


def _dashboard(plugin: MLSchedulerPlugin) -> dict[str, Any] | None:
    if plugin.observation is None or plugin.pages is None:
        return None
    return {"why_none": plugin.pages.why_none, **plugin.observation.snapshot()}


def _decisions(plugin: MLSchedulerPlugin) -> dict[str, Any]:
    controller = plugin.controller
    counts = plugin.counted if controller is None else controller.counts()
    recent = np.array(counts.recent_seconds)
    p50, p99 = np.percentile(recent, [50, 99]).tolist() if recent.size else (None, None)
    guard = None if controller is None else controller.chooser.guard
    return {
        "decisions": counts.reasons.total(),
        "reasons": dict(counts.reasons),
        "holds": counts.holds,
        "hold_seconds": counts.hold_seconds,
        "oversized": counts.oversized,
        "decision_seconds": {"p50": p50, "p99": p99, "total": counts.total_seconds},
        "policy_failures": counts.policy_failures,
        "last_policy_failure": counts.last_policy_failure,
        "policy_off": bool(guard and guard.off),
    }


def _worker(plugin: MLSchedulerPlugin, address: str) -> dict[str, Any]:
    reports = plugin.reports
    in_flight = 0
    if plugin.translator is not None and plugin.controller is not None:
        number = plugin.translator.workers.get(address)
        if number is not None:
            in_flight = len(plugin.controller.devices[number].in_flight)
    totals = reports.totals.get(address, {})
    counts = ("loads", "evictions", "bytes_loaded", "bytes_evicted")
    return {
        "kind": reports.kinds.get(address),
        "unserved": reports.absent.get(address),
        "limit": reports.limits.get(address),
        "resident_bytes": reports.resident_bytes.get(address, 0),
        **{name: int(totals.get(name, 0)) for name in counts},
        "load_seconds": float(totals.get("load_seconds", 0.0)),
        "evict_seconds": float(totals.get("evict_seconds", 0.0)),
        "in_flight": in_flight,
    }
