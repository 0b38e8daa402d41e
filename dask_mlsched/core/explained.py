"""A decision about a task, and how it was passed over, as plain dictionaries for people.

The plugin tells of a run at hand with them, `trace_explanation` of a recorded one.
"""

from __future__ import annotations

from typing import Any

from dask_mlsched.core import events as ev
from dask_mlsched.core.recent_choices import PassedOver


def decision_of(run: ev.Run, policy: str, worker: str) -> dict[str, Any]:
    """Describe why a task was sent.

    Parameters
    ----------
    policy
        The name of the one that was in force.
    worker
        The address of the worker that it was sent to.
    """
    return {
        "policy": policy,
        "worker": worker,
        "reason": run.reason,
        "missing_bytes": run.missing_bytes,
        "candidates": run.candidates,
        "place_in_dask_order": run.rank,
        "held_seconds": run.held_seconds,
    }


def passed_of(
    passed: PassedOver, worker: str | None, instead: str | None, held_for: str | None
) -> dict[str, Any]:
    """Describe how a task stood among the candidates and was not taken.

    Parameters
    ----------
    worker
        The address of the worker that it was about; None if that is gone.
    instead, held_for
        Keys of the task that was taken and of the one that the place was held for; None if there is
        none, or it was forgotten.
    """
    return {
        "times": passed.times,
        "worker": worker,
        "instead": instead,
        "missing_bytes": passed.missing_bytes,
        "missing_bytes_instead": passed.missing_bytes_instead,
        "held": passed.instead is None,
        "held_for": held_for,
    }
