from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import dask
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dask_mlsched.benchmarks.clusters import Conditions
from dask_mlsched.benchmarks.comparison import compare
from dask_mlsched.benchmarks.contender import STOCK, Contender
from dask_mlsched.benchmarks.problem import Problem
from dask_mlsched.benchmarks.runner import Arm, RunFailedError, turns
from dask_mlsched.benchmarks.runner import run_arm as run_contender
from dask_mlsched.benchmarks.workloads import find


@pytest.fixture
def problem(tmp_path: Path) -> Problem:
    return find("gemm").build(tmp_path, tiles=4, size=32)


def conditions(problem: Problem, **changes: Any) -> Conditions:
    settings = {"device_memory_limit": problem.device_memory_limit(), "bandwidth": 1e9}
    return Conditions(**{**settings, **changes})


def run_arm(problem: Problem, policy: str, limits: Conditions, **options: Any) -> Arm:
    return run_contender(problem, Contender(policy), limits, **options)


@given(names=st.lists(st.text(), unique=True, max_size=5), repeats=st.integers(0, 6))
def test_policies_take_turns_and_every_other_repeat_goes_backwards(names, repeats):
    found = list(turns(names, repeats))
    assert len(found) == len(names) * repeats
    for repeat, position, name in found:
        assert name == (names if repeat % 2 == 0 else names[::-1])[position]


@pytest.mark.integration
def test_stock_runs_without_our_scheduler_plugin_and_is_counted(problem: Problem):
    arm = run_arm(problem, STOCK, conditions(problem))
    assert arm.status == {}
    assert arm.matches_reference
    assert arm.seconds > arm.compute_seconds > 0
    assert arm.totals["evictions"] > 0
    assert arm.totals["bytes_loaded"] > 0


@pytest.mark.integration
def test_history_and_totals_are_of_the_run_alone(problem: Problem):
    arm = run_arm(problem, STOCK, conditions(problem))
    (samples,) = arm.history.values()
    assert [s.time for s in samples] == sorted(s.time for s in samples)
    assert all(0 < s.time <= arm.seconds + 0.1 for s in samples)
    # Fetching the results moves nothing.
    assert sum(s.loaded for s in samples) == arm.totals["bytes_loaded"]
    assert sum(s.evicted for s in samples) == arm.totals["bytes_evicted"]


@pytest.mark.integration
def test_policies_have_equal_results_and_only_ours_decides(problem: Problem):
    compared = compare(
        problem, conditions(problem), [Contender(STOCK), Contender("greedy-hold")], repeats=1
    )
    _, ours = compared.arms
    assert compared.results_equal
    assert ours.status["managing"]
    assert ours.status["decisions"] >= problem.tasks()
    assert ours.status["errors"] == ours.status["policy_failures"] == 0


@pytest.mark.integration
def test_results_of_several_workers_are_all_fetched(problem: Problem):
    arm = run_arm(problem, "greedy", conditions(problem, workers=2))
    assert arm.matches_reference
    assert len(arm.history) == 2


@pytest.mark.integration
def test_progress_ends_at_one_and_never_goes_back(problem: Problem):
    seen: list[float] = []
    run_arm(problem, STOCK, conditions(problem), on_progress=seen.append)
    assert seen[-1] == 1.0
    assert seen == sorted(seen)


@pytest.mark.integration
def test_a_wrong_result_is_noticed(problem: Problem):
    strict = dataclasses.replace(problem, check=lambda results: False)
    assert not run_arm(strict, STOCK, conditions(problem)).matches_reference


@pytest.mark.integration
def test_a_task_that_fails_ends_the_run_with_one_line(problem: Problem):
    failing = dask.delayed(lambda: 1 / 0, name="divide")()
    broken = dataclasses.replace(problem, collections=(failing,))
    with pytest.raises(RunFailedError, match=r"'gemm' under stock failed: ") as info:
        run_arm(broken, STOCK, conditions(problem))
    assert "\n" not in str(info.value)
    assert isinstance(info.value.__cause__, ZeroDivisionError)


@pytest.mark.integration
def test_a_run_that_takes_too_long_is_given_up(problem: Problem):
    slow = conditions(problem, bandwidth=1e3, timeout=0.5)
    with pytest.raises(RunFailedError, match=r"did not end within 0\.5 s"):
        run_arm(problem, STOCK, slow)
