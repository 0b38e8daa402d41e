from __future__ import annotations

import time
from dataclasses import replace

import dask
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dask_mlsched.benchmarks.clusters import Conditions
from dask_mlsched.benchmarks.collections_dag import dag_of
from dask_mlsched.benchmarks.contender import STOCK, Contender
from dask_mlsched.benchmarks.families.contractions import tensordot_chain
from dask_mlsched.benchmarks.families.factorizations import cholesky, lu, qr
from dask_mlsched.benchmarks.families.matvec import matvec
from dask_mlsched.benchmarks.families.pairs import pairs
from dask_mlsched.benchmarks.families.products import block_sparse, gemm
from dask_mlsched.benchmarks.families.reductions import tree_reduction
from dask_mlsched.benchmarks.families.stencils import stencil
from dask_mlsched.benchmarks.live_dag import (
    dag_collection,
    dag_problem,
    expected_numbers,
    expected_reading,
    filled,
    own_number,
    reading,
    work,
)
from dask_mlsched.benchmarks.problem import Problem
from dask_mlsched.benchmarks.runner import run_arm
from dask_mlsched.benchmarks.working_set import working_set
from dask_mlsched.core.dag import Dag, DagTask
from local_run import compute

SPARSE = {"tiles": 4, "smallest": 3, "largest": 9, "density": 0.5}
DAGS = {
    "2d": pairs(1, n=5, density=0.5, seconds=0.0, tile_nbytes=5000, result_nbytes=3),
    "chain": block_sparse(1, **SPARSE),
    "tree": block_sparse(1, **SPARSE, accumulation="tree", width=2),
    "gemm": gemm(tiles=3, size=4, given=False),
    "cholesky": cholesky(tiles=4, size=5),
    "lu": lu(tiles=3, size=5),
    "qr": qr(rows=4, columns=3, size=5, inner=2),
    "tensordot": tensordot_chain(length=2, tiles=2, size=3),
    "stencil": stencil(rows=3, columns=3, steps=3, size=4),
    "reduction": tree_reduction(leaves=7, width=3, tile_nbytes=9001, partial_nbytes=8),
    "matvec": matvec(1, tiles=3, size=10, density=0.5, fill=0.3, iterations=2),
}


def problem_of(dag: Dag) -> Problem:
    return dag_problem(dag, workload="test", parameters={"size": 1}, seed=3)


def inputs_of(dag: Dag) -> dict[str, set[str]]:
    return {task.key: set(task.dependencies) for task in dag.tasks()}


def prefixes_of(dag: Dag) -> dict[str, str]:
    return {task.key: task.prefix for task in dag.tasks()}


@pytest.mark.parametrize("name", DAGS)
def test_every_task_makes_its_bytes_from_the_number_that_the_dag_foretells(name):
    dag = DAGS[name]
    arrays = compute(problem_of(dag), everything=True)
    reachable = set(arrays)
    assert reachable == set(dag.keys)
    numbers = expected_numbers(dag)
    for task, key in enumerate(dag.keys):
        assert arrays[key].nbytes == dag.nbytes[task]
        np.testing.assert_array_equal(arrays[key], filled(numbers[task], arrays[key].nbytes))


@pytest.mark.parametrize("name", DAGS)
def test_the_results_pass_the_check(name):
    problem = problem_of(DAGS[name])
    results = dask.compute(*problem.collections, scheduler="threads")
    assert problem.check(dict(zip(problem.keys(), results, strict=True)))


@pytest.mark.parametrize("name", DAGS)
def test_the_graph_is_the_dag_with_its_keys_prefixes_and_dependencies(name):
    dag = DAGS[name]
    collections = dag_collection(dag)
    found = dag_of(collections, rate=1.0)
    assert inputs_of(found) == inputs_of(dag)
    assert prefixes_of(found) == prefixes_of(dag)
    wanted = [key for key, keep in zip(dag.keys, dag.wanted, strict=True) if keep]
    assert [collection.key for collection in collections] == wanted


@st.composite
def dags(draw: st.DrawFn) -> Dag:
    """Draw a DAG of up to twelve tasks of any sizes; some operands given, some results kept."""
    tasks: list[DagTask] = []
    for i in range(draw(st.integers(1, 12))):
        keys = [task.key for task in tasks]
        sources = draw(st.lists(st.sampled_from(keys), unique=True)) if keys else []
        nbytes = draw(st.integers(0, 10_000))
        wanted = draw(st.sampled_from([None, True]))
        is_given = not sources and draw(st.booleans())
        tasks.append(DagTask(f"t-{i}", sources, nbytes, 0.0, "t", wanted, is_given))
    return Dag.build("drawn", tasks)


@settings(deadline=None)  # the first example imports what Dask runs with
@given(dag=dags())
def test_any_dag_runs_and_gives_the_results_it_foretells(dag):
    problem = problem_of(dag)
    results = dask.compute(*problem.collections, scheduler="sync")
    assert problem.check(dict(zip(problem.keys(), results, strict=True)))


@given(number=st.integers(0, 2**64 - 1), nbytes=st.integers(0, 20_000))
def test_the_reading_of_an_array_is_known_without_making_it(number, nbytes):
    array = filled(number, nbytes)
    assert (array.dtype, array.shape) == (np.uint8, (nbytes,))
    assert reading(array) == expected_reading(number, nbytes)


def test_a_large_array_is_read_in_every_page():
    for page in range(5):
        array = filled(7, 5 * 4096 + 3)
        array[page * 4096] += 1
        assert reading(array) != expected_reading(7, 5 * 4096 + 3)


def test_arrays_of_other_lengths_read_differently():
    assert len({reading(filled(0, nbytes)) for nbytes in range(100)}) == 100


def test_the_order_of_the_inputs_counts():
    a, b = filled(1, 100), filled(2, 100)
    assert (work(5, 16, 0.0, [a, b]) != work(5, 16, 0.0, [b, a])).any()


def test_numbers_follow_from_the_key_alone():
    assert own_number("C-0-1") == own_number("C-0-1") != own_number("C-1-0")
    assert 0 <= own_number("") < 2**64


def test_a_task_leaves_its_inputs_as_they_are():
    array = filled(1, 100)
    array.flags.writeable = False
    work(5, 16, 0.0, [array])
    assert reading(array) == expected_reading(1, 100)


def test_a_task_computes_for_its_seconds_on_a_core():
    wall, cpu = time.perf_counter(), time.thread_time()
    work(0, 8, 0.05, [])
    assert 0.05 <= time.perf_counter() - wall < 2
    # It does not sleep: other processes may take the core for a while, not for most of it.
    assert time.thread_time() - cpu > 0.01


def test_a_wrong_result_a_missing_one_and_one_too_many_fail_the_check():
    problem = problem_of(DAGS["cholesky"])
    right = compute(problem)
    key = problem.keys()[3]
    damaged = right[key].copy()
    damaged[-1] += 1
    assert problem.check(right)
    assert not problem.check({**right, key: damaged})
    assert not problem.check({**right, key: right[key][:-1]})
    assert not problem.check({other: right[other] for other in right if other != key})
    assert not problem.check({**right, "other": damaged})


def test_an_input_that_is_not_the_right_one_changes_every_result_after_it():
    dag = DAGS["stencil"]
    numbers = dict(zip(dag.keys, expected_numbers(dag), strict=True))
    tasks = list(dag.tasks())
    position = dag.keys.index("sweep-1-0-0")
    tasks[position] = replace(tasks[position], dependencies=("U-2-2",))
    other = Dag.build("stencil", tasks)
    changed = dict(zip(other.keys, expected_numbers(other), strict=True))
    after = {"sweep-2-0-0", "sweep-2-0-1", "sweep-2-1-0"}
    assert all(numbers[key] != changed[key] for key in after | {"sweep-1-0-0"})
    assert numbers["sweep-2-2-2"] == changed["sweep-2-2-2"]


def test_a_problem_says_what_it_was_made_from_and_how_much_memory_it_needs():
    dag = DAGS["lu"]
    problem = dag_problem(
        dag, workload="lu", parameters={"tiles": 3}, seed=4, memory_ratio=2.0, bandwidth=5e6
    )
    assert (problem.workload, problem.parameters, problem.seed) == ("lu", {"tiles": 3}, 4)
    assert problem.working_set == working_set(dag)
    assert problem.device_memory_limit() == round(problem.working_set / 2)
    assert problem.bandwidth == 5e6
    assert problem.tasks() == len(dag)


@pytest.mark.integration
def test_results_are_equal_with_the_plugin_on_and_off():
    problem = problem_of(cholesky(tiles=5, size=40, flop_rate=1e9))
    limits = Conditions(device_memory_limit=problem.device_memory_limit(), bandwidth=1e9)
    stock, greedy = (run_arm(problem, Contender(name), limits) for name in (STOCK, "greedy"))
    assert stock.matches_reference
    assert greedy.matches_reference
    assert stock.digest == greedy.digest
    assert stock.totals["evictions"] > 0
