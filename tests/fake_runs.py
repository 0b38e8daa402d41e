"""Runs that nobody ran, for what is made of runs."""

from __future__ import annotations

from typing import Any

import dask

from dask_mlsched.benchmarks.clusters import HOST_FILE, Conditions
from dask_mlsched.benchmarks.comparison import Comparison
from dask_mlsched.benchmarks.contender import Contender
from dask_mlsched.benchmarks.problem import Problem
from dask_mlsched.benchmarks.runner import Arm, Sample

TOTALS = {
    "loads": 3,
    "evictions": 4,
    "bytes_loaded": 3_000_000,
    "bytes_evicted": 4_000_000,
    "load_seconds": 0.3,
    "evict_seconds": 0.4,
    "callback_errors": 0,
    "loads_ahead": 0,
}


def a_problem(workload: str = "test") -> Problem:
    """Make a problem of one task."""
    return Problem(
        workload=workload,
        parameters={"tiles": 3, "density": 0.5},
        seed=0,
        collections=(dask.delayed(1, name="one"),),
        working_set=30_000_000,
        memory_ratio=3.0,
        bandwidth=1e7,
        check=lambda results: True,
    )


def an_arm(text: str, seconds: float = 1.0, **changes: Any) -> Arm:
    """Make a run of ``policy`` or ``policy@store``, known or not.

    `changes` are fields of `Arm`, or totals by their names.
    """
    policy, _, store = text.partition("@")
    totals = {**TOTALS, **{k: changes.pop(k) for k in list(changes) if k in TOTALS}}
    settings = {
        "repeat": 0,
        "position": 0,
        "compute_seconds": 0.5,
        "status": {} if policy == "stock" else {"holds": 5, "decisions": 9},
        "digest": "same",
        "matches_reference": True,
        "history": {},
        **changes,
    }
    return Arm(
        contender=Contender(policy, store or HOST_FILE), seconds=seconds, totals=totals, **settings
    )


def a_comparison(*arms: Arm, workload: str = "test", workers: int = 1) -> Comparison:
    """Compare runs on a device of 10 MB."""
    conditions = Conditions(device_memory_limit=10_000_000, bandwidth=1e7, workers=workers)
    return Comparison(a_problem(workload), conditions, arms)


def moves(*steps: tuple[float, int, int, int]) -> list[Sample]:
    """Make the moves of one worker from time, loaded, evicted and resident bytes."""
    return [Sample(*step) for step in steps]
