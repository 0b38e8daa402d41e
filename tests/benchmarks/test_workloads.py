from __future__ import annotations

from pathlib import Path

import pytest

from dask_mlsched.benchmarks.workloads import DEMO, WORKLOADS, find, noop
from local_run import compute

NEEDS_PYAMG = {"helmholtz", "galerkin"}


@pytest.fixture(params=sorted(WORKLOADS))
def name(request) -> str:
    if request.param in NEEDS_PYAMG:
        pytest.importorskip("pyamg")
    return request.param


def test_quick_instances_have_the_reference_result(tmp_path: Path, name):
    problem = find(name).build(tmp_path, scale="quick")
    assert problem.check(compute(problem))


def test_a_problem_names_its_workload_its_seed_and_what_it_was_built_from(tmp_path: Path, name):
    problem = find(name).build(tmp_path, seed=5, scale="quick")
    expected = {**find(name).full, **find(name).quick}
    assert problem.workload == name
    assert problem.seed == 5
    assert expected.items() <= dict(problem.parameters).items()


def test_quick_sizes_are_parameters_of_the_full_ones():
    for workload in WORKLOADS.values():
        assert set(workload.quick) <= set(workload.full)


def test_the_demo_runs_workloads_that_exist():
    assert set(DEMO) <= set(WORKLOADS)


def test_parameters_take_the_place_of_the_scale(tmp_path: Path):
    problem = find("noop").build(tmp_path, scale="quick", tasks=7)
    assert problem.tasks() == 7


def test_an_unknown_parameter_is_named_with_those_that_exist(tmp_path: Path):
    with pytest.raises(ValueError, match=r"unknown parameter 'size' of workload 'noop'.*tasks"):
        find("noop").build(tmp_path, size=3)


def test_an_unknown_workload_is_named_with_those_that_exist():
    with pytest.raises(ValueError, match=r"unknown workload 'gem'; expected one of .*gemm"):
        find("gem")


def test_no_op_tasks_are_independent_and_make_nothing(tmp_path: Path):
    problem = noop(tmp_path, 0, tasks=20)
    results = compute(problem)
    assert problem.tasks() == len(results) == 20
    assert problem.check(results)
    assert not problem.check(dict(list(results.items())[1:]))
