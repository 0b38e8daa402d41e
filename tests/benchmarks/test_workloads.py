from __future__ import annotations

import tempfile
from pathlib import Path

import pytest

from dask_mlsched.benchmarks.collections_dag import dag_of
from dask_mlsched.benchmarks.workloads import DEMO, WORKLOADS, find, noop
from local_run import compute

#: Those whose full instances are built without running anything.
FAMILIES = {
    *("2d", "2d-shuffled", "2d-sparse", "block-sparse-tree", "gemm-tree", "cholesky", "lu", "qr"),
    *("gallery", "gallery-matvec", "matvec", "tensordot", "stencil", "reduction"),
}
NEEDS_PYAMG = {"helmholtz", "galerkin", "gallery", "gallery-matvec"}


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
        assert not set(workload.simulated) & set(workload.full)


def test_the_dag_is_the_program_that_runs_task_by_task(tmp_path: Path, name):
    dag = find(name).dag(tmp_path, seed=2, scale="quick")
    live = dag_of(find(name).build(tmp_path, seed=2, scale="quick").collections, rate=1.0)
    assert dag.name == name
    simulated, ran = ({task.key: task for task in each.tasks()} for each in (dag, live))
    assert set(simulated) == set(ran)
    for key, task in simulated.items():
        assert set(task.dependencies) == set(ran[key].dependencies)
        assert (task.prefix, task.wanted) == (ran[key].prefix, ran[key].wanted)
        # None, which is all that noop's tasks return, counts as 16 bytes.
        assert task.nbytes == ran[key].nbytes or name == "noop"


def test_a_seed_gives_the_same_dag_each_time(tmp_path: Path, name):
    first, again = (find(name).dag(tmp_path, seed=3, scale="quick") for _ in range(2))
    assert first.keys == again.keys
    for column in ("starts", "sources", "nbytes", "seconds", "wanted", "given"):
        assert (getattr(first, column) == getattr(again, column)).all(), column


def test_the_working_set_is_the_same_live_and_simulated(tmp_path: Path, name):
    problem = find(name).build(tmp_path, seed=4, scale="quick")
    found = find(name).working_set(tmp_path, seed=4, scale="quick")
    assert found == problem.working_set
    dag = find(name).dag(tmp_path, seed=4, scale="quick")
    assert found <= dag.nbytes.sum() * 1.02  # some row pointers are wider in files


@pytest.mark.parametrize("name", sorted(FAMILIES))
def test_full_instances_have_room_for_every_task_at_memory_ratio_4(name):
    if name in NEEDS_PYAMG:
        pytest.importorskip("pyamg")
    dag = find(name).dag()
    limit = find(name).working_set() / 4
    for task in range(len(dag)):
        needed = dag.nbytes[task] + dag.nbytes[dag.dependencies(task)].sum()
        assert needed <= limit, dag.keys[task]


def test_without_a_directory_files_are_gone_when_the_dag_is_there(tmp_path: Path, monkeypatch):
    pytest.importorskip("pyamg")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    dag = find("helmholtz").dag(scale="quick")
    assert dag.nbytes.sum() > 0
    assert list(tmp_path.iterdir()) == []
    assert find("helmholtz").working_set(scale="quick") > 0


def test_the_dag_has_parameters_that_the_program_has_not(tmp_path: Path):
    gemm = find("gemm")
    slow, fast = (gemm.dag(scale="quick", flop_rate=rate) for rate in (1e9, 1e10))
    assert slow.seconds.sum() == pytest.approx(10 * fast.seconds.sum())
    assert gemm.dag(scale="quick", given=True).given.any()
    assert gemm.working_set(scale="quick", given=True) == gemm.working_set(scale="quick")
    with pytest.raises(ValueError, match=r"unknown parameter 'flop_rate' of workload 'gemm'"):
        gemm.build(tmp_path, scale="quick", flop_rate=1e9)


def test_a_programs_check_sees_a_wrong_entry(tmp_path: Path):
    problem = find("array-cholesky").build(tmp_path, scale="quick")
    results = compute(problem)
    key = problem.keys()[0]
    wrong = results[key].copy()
    wrong[0, 0] += 1e-3
    assert problem.check(results)
    assert not problem.check({**results, key: wrong})


def test_the_demo_runs_workloads_that_exist():
    assert set(DEMO) <= set(WORKLOADS)


def test_parameters_take_the_place_of_the_scale(tmp_path: Path):
    problem = find("noop").build(tmp_path, scale="quick", tasks=7)
    assert problem.tasks() == 7
    assert len(find("noop").dag(tmp_path, scale="quick", tasks=7)) == 7


def test_an_unknown_parameter_is_named_with_those_that_exist(tmp_path: Path):
    with pytest.raises(ValueError, match=r"unknown parameter 'size' of workload 'noop'.*tasks"):
        find("noop").build(tmp_path, size=3)
    with pytest.raises(ValueError, match=r"unknown parameter 'rate' of workload 'gemm'.*flop_rate"):
        find("gemm").dag(tmp_path, rate=3)


def test_an_unknown_workload_is_named_with_those_that_exist():
    with pytest.raises(ValueError, match=r"unknown workload 'gem'; expected one of .*gemm"):
        find("gem")


def test_no_op_tasks_are_independent_and_make_nothing(tmp_path: Path):
    problem = noop(tmp_path, 0, tasks=20)
    results = compute(problem)
    assert problem.tasks() == len(results) == 20
    assert problem.check(results)
    assert not problem.check(dict(list(results.items())[1:]))
