"""The figures of the report for programs: times are seconds, sizes bytes."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from dask_mlsched.benchmarks.run_report.findings import Findings


def as_json(found: Findings, top: int) -> dict[str, Any]:
    """Return what was found, ready for JSON."""
    calibration, gate = found.calibration, found.survey.gate if found.survey else None
    return {
        "trace": found.name,
        "complete": found.trace.complete,
        "tasks": sum(not given for given in calibration.taken.dag.given),
        "stock": calibration.stock,
        "left_over": {"arrays": calibration.left_over, "bytes": calibration.left_over_bytes},
        "released_bytes": calibration.released_bytes,
        "unequal": calibration.unequal,
        "live": asdict(calibration.live),
        "simulated": None if found.repeated is None else asdict(found.repeated),
        "dask_alone": None if found.alone is None else asdict(found.alone.figures),
        "bounds": _bounds(found),
        "gate": None if gate is None else {"passed": gate.passed, "error": gate.error},
        "refused": found.refused,
        "workers": [
            {
                "address": worker.address,
                "threads": len(worker.threads),
                "start": worker.start,
                "end": worker.end,
                "seconds": worker.seconds(),
                "copy_seconds": worker.copy_seconds(),
                "cut_seconds": worker.cut_seconds,
                "stopped": worker.stopped,
            }
            for worker in found.timeline.workers
        ],
        "decisions": asdict(found.decided),
        "judged": len(found.judgements),
        "costliest": [
            {
                "time": each.decision.time,
                "worker": each.decision.worker,
                "chosen": found.action_name(each, each.taken),
                "right": found.action_name(each, each.best),
                "regret": each.regret,
            }
            for each in found.costliest(top)
        ],
        "policies": [{"time": time, "policy": policy} for time, policy in found.model.policies],
        "networks": [asdict(each) for each in found.model.served],
    }


def _bounds(found: Findings) -> dict[str, Any] | None:
    """Return what nobody can beat; None where that is not known."""
    if found.bounds is None:
        return None
    loaded, evicted = found.least_loaded, found.least_evicted
    return {
        "bytes_loaded": loaded,
        "bytes_evicted": evicted,
        "bytes_moved": None if loaded is None or evicted is None else loaded + evicted,
        "makespan": found.bounds.makespan,
    }
