from __future__ import annotations

import os
import subprocess
import sys
import time

import dask
import dask.array as da
import numpy as np
import pytest
import scipy.sparse
from dask.sizeof import sizeof
from distributed import Client, LocalCluster, futures_of, wait

from dask_mlsched.benchmarks import array_programs as programs
from dask_mlsched.benchmarks.collections_dag import dag_of

PROGRAMS = {
    "matmul": lambda: programs.matmul(0, tiles=3, size=4),
    "tensordot": lambda: programs.tensordot(0, tiles=2, size=3),
    "cholesky": lambda: programs.cholesky(0, tiles=3, size=4),
    "qr_tall": lambda: programs.qr_tall(0, tiles=3, size=6, columns=2),
    "qr_short": lambda: programs.qr_short(0, tiles=3, size=6, rows=2),
    "svd": lambda: programs.svd(0, tiles=3, size=6, columns=2),
    "overlap": lambda: programs.overlap(0, tiles=2, size=4, steps=2),
    "reduction": lambda: programs.reduction(0, tiles=4, size=4, width=2),
}


def edges(dag) -> set[tuple[str, str]]:
    """Each dependency as (source, reader)."""
    return {
        (dag.keys[source], key)
        for task, key in enumerate(dag.keys)
        for source in dag.dependencies(task).tolist()
    }


@dask.delayed
def zeros(n: int) -> np.ndarray:
    return np.zeros(n)


@dask.delayed
def joined(*arrays: np.ndarray) -> np.ndarray:
    return np.concatenate(arrays)


@pytest.mark.integration
def test_keys_dependencies_and_prefixes_are_those_of_a_cluster():
    with (
        LocalCluster(
            n_workers=1,
            processes=False,
            dashboard_address=None,
            scheduler_kwargs={"dashboard_address": ":0"},
        ) as cluster,
        Client(cluster) as client,
    ):
        for build in PROGRAMS.values():
            collections = build()
            dag = dag_of(collections)
            persisted = client.persist(collections)
            wait(persisted)
            # Most tasks are forgotten by now: the log of transitions has all that ran.
            log = cluster.scheduler.transition_log
            tasks = {str(key): key for key, _, finish, *_ in log if finish == "memory"}
            assert set(tasks) == set(dag.keys)
            wanted = {key for key, w in zip(dag.keys, dag.wanted, strict=True) if w}
            assert wanted == {str(future.key) for future in futures_of(persisted)}
            prefixes = {
                key: dag.prefixes[number]
                for key, number in zip(dag.keys, dag.prefix.tolist(), strict=True)
            }
            known = cluster.scheduler.task_prefixes
            assert set(prefixes.values()) <= set(known)
            for key in wanted:
                task = cluster.scheduler.tasks[tasks[key]]
                assert task.prefix.name == prefixes[key]
                assert task.nbytes == dag.nbytes[dag.keys.index(key)]
            cluster.scheduler.transition_log.clear()
            del persisted, task


@pytest.mark.parametrize("name", PROGRAMS)
def test_the_wanted_arrays_are_the_collections_own_chunks(name):
    collections = PROGRAMS[name]()
    dag = dag_of(collections)
    wanted = {key for key, w in zip(dag.keys, dag.wanted, strict=True) if w}
    sizes = dict(zip(dag.keys, dag.nbytes.tolist(), strict=True))
    expected = {}
    for array in collections:
        for place in np.ndindex(array.numblocks):
            entries = np.prod([array.chunks[d][i] for d, i in enumerate(place)], dtype=int)
            expected[str((array.name, *place))] = entries * array.dtype.itemsize
    assert {key: sizes[key] for key in wanted} == expected


def test_a_graph_has_the_dependencies_of_the_program():
    a, b = zeros(3, dask_key_name="a-1"), zeros(5, dask_key_name="b-1")
    c = joined(a, b, a, dask_key_name="c-1")
    d = joined(c, a, dask_key_name="d-1")
    dag = dag_of([d], name="four")
    assert edges(dag) == {("a-1", "c-1"), ("b-1", "c-1"), ("c-1", "d-1"), ("a-1", "d-1")}
    sizes = dict(zip(dag.keys, dag.nbytes.tolist(), strict=True))
    assert sizes == {"a-1": 24, "b-1": 40, "c-1": 88, "d-1": 112}
    assert dag.name == "four"
    assert dag.wanted.tolist() == [key == "d-1" for key in dag.keys]


def test_a_key_of_a_collection_is_wanted_though_others_read_it():
    a = zeros(3, dask_key_name="a-1")
    dag = dag_of([a, joined(a, dask_key_name="b-1")])
    assert dag.wanted.all()


def test_results_that_are_no_arrays_are_measured_with_dasks_sizeof():
    matrix = scipy.sparse.eye(7, format="csr")
    pair = dask.delayed(lambda: (np.zeros(4), matrix))(dask_key_name="pair-1")
    dag = dag_of([pair])
    assert dag.nbytes.tolist() == [sizeof((np.zeros(4), matrix))]


def test_values_in_the_graph_are_tasks_without_time():
    data = dask.delayed(np.ones(9), name="data-1")
    dag = dag_of([joined(data, dask_key_name="sum-1")])
    assert edges(dag) == {("data-1", "sum-1")}
    task = dag.keys.index("data-1")
    assert (dag.nbytes[task], dag.seconds[task]) == (72, 0.0)


def test_seconds_are_measured():
    slow = dask.delayed(time.sleep)(0.02, dask_key_name="slow-1")
    (seconds,) = dag_of([slow]).seconds.tolist()
    assert 0.02 <= seconds < 2


def test_at_a_rate_seconds_are_those_of_the_bytes_read_and_written():
    a = zeros(10, dask_key_name="a-1")
    dag = dag_of([joined(a, a, dask_key_name="b-1")], rate=100.0)
    assert dict(zip(dag.keys, dag.seconds.tolist(), strict=True)) == {"a-1": 0.8, "b-1": 2.4}


@pytest.mark.parametrize("name", PROGRAMS)
def test_at_a_rate_a_program_has_the_same_dag_each_time(name):
    first, again = (dag_of(PROGRAMS[name](), rate=1e9) for _ in range(2))
    assert first.keys == again.keys
    assert edges(first) == edges(again)
    assert (first.nbytes == again.nbytes).all()
    assert (first.seconds == again.seconds).all()


_SHOW = """
from dask_mlsched.benchmarks import array_programs
from dask_mlsched.benchmarks.collections_dag import dag_of
dag = dag_of(array_programs.overlap(0, tiles=2, size=4, steps=1), rate=1e9)
print([(task.key, task.dependencies, task.nbytes) for task in dag.tasks()])
"""


def test_the_dag_is_the_same_in_every_process():
    # Sets of keys have another order in each, and Dask walks over them.
    found = {
        subprocess.run(
            [sys.executable, "-c", _SHOW],
            env={**os.environ, "PYTHONHASHSEED": seed},
            stdout=subprocess.PIPE,
            check=True,
        ).stdout
        for seed in "12"
    }
    assert len(found) == 1


def test_tasks_stand_in_dasks_order():
    arms = [joined(zeros(9, dask_key_name=f"a-{i}"), dask_key_name=f"b-{i}") for i in (1, 2, 10)]
    found = dag_of([joined(*arms, dask_key_name="c-1")]).keys
    # One arm after the other, not all the first tasks and then all the second.
    assert [key.replace("a", "b") for key in found[:6:2]] == list(found[1:6:2])


def test_tasks_that_dask_optimizes_away_are_not_there():
    x = da.ones((4,), chunks=2) + 1
    y = x + 1
    assert len(dag_of([y])) == 2
    assert len(y.__dask_graph__()) > 2


def test_nothing_to_do_and_impossible_rates_are_refused():
    with pytest.raises(ValueError, match="no collections were given"):
        dag_of([])
    with pytest.raises(ValueError, match=r"rate is 0\.0; expected bytes per second"):
        dag_of([zeros(1)], rate=0.0)


def test_errors_of_the_program_are_its_own():
    with pytest.raises(ZeroDivisionError):
        dag_of([dask.delayed(lambda: 1 / 0)()])
