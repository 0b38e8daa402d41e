"""Decisions for tests."""

from __future__ import annotations

from typing import Any

import numpy as np

from dask_mlsched.learning.decision_record import DecisionRecord

NAMES = ("missing", "age", "rank")


def decision(number: int = 0, actions: int = 2, **fields: Any) -> DecisionRecord:
    """Make a decision whose every figure tells its number."""
    features = np.full((actions, len(NAMES)), number, np.float32)
    features += np.arange(actions, dtype=np.float32)[:, None] / 64
    given: dict[str, Any] = {
        "features": features,
        "has_hold": actions > 2,
        "taken": actions - 1,
        "log_propensity": -float(number),
        "worker": number,
        "time": float(number),
        "run": 2**63 + number,
        "family": number % 3,
        "median_task_seconds": number / 8,
        "source": ("live", "simulated")[number % 2],
    }
    return DecisionRecord(**given | fields)


def is_whole(record: np.void) -> bool:
    """Tell whether a record is one that `decision` made, with all of its parts."""
    expected = decision(int(record["worker"]), int(record["actions"]))
    n = expected.actions
    return bool(
        np.array_equal(record["features"][:n], expected.features)
        and not record["features"][n:].any()
        and record["time"] == expected.time
        and record["run"] == expected.run
        and record["taken"] == expected.taken
    )
