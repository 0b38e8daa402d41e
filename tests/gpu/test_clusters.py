"""Whole runs on a GPU: dask-cuda's cluster with its own store and with ours, under the plugin."""

from __future__ import annotations

from pathlib import Path

import pytest

from dask_mlsched.benchmarks.clusters import Conditions
from dask_mlsched.benchmarks.comparison import compare
from dask_mlsched.benchmarks.contender import Contender
from dask_mlsched.benchmarks.copy_speed import measure_copies
from dask_mlsched.benchmarks.device_bench import QUICK_CASES

KINDS = {"dask-cuda": "device-host-file", "cuda": "device-store"}


@pytest.mark.timeout(600)
@pytest.mark.parametrize("store", KINDS)
@pytest.mark.parametrize("name", QUICK_CASES)
def test_results_are_right_and_the_device_spills(name: str, store: str, tmp_path: Path) -> None:
    problem = QUICK_CASES[name].build(tmp_path, 0)
    conditions = Conditions(problem.device_memory_limit(3.0), bandwidth=1e9)
    contenders = [Contender(policy, store) for policy in ("stock", "greedy")]
    compared = compare(problem, conditions, contenders, repeats=1)
    assert compared.results_equal
    stock, ours = compared.arms
    for arm in compared.arms:
        assert arm.totals["bytes_evicted"] > 0
        assert arm.totals["callback_errors"] == 0
    assert stock.status == {}
    assert ours.status["decisions"] >= problem.tasks()
    assert ours.status["errors"] == ours.status["policy_failures"] == 0
    (worker,) = ours.status["workers"].values()
    assert worker["kind"] == KINDS[store]


def test_pinned_copies_have_a_speed() -> None:
    found = measure_copies(16_000_000, repeats=3)
    assert set(found) == {"to_device", "to_host"}
    assert min(found.values()) > 1e8
