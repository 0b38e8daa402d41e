"""A DAG is checked, brought into an order that can be run, and given back as it was."""

from __future__ import annotations

import random
import re
from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.dags import a_task, acyclic, assert_same, build
from dask_mlsched.core.dag import Dag, DagTask, InvalidDagError


@given(acyclic())
def test_dependencies_stand_before_their_dependents(tasks: list[DagTask]):
    dag = build(*tasks)
    for task in range(len(dag)):
        assert all(source < task for source in dag.dependencies(task))


@given(acyclic())
def test_every_task_is_there_once_with_all_that_was_said_of_it(tasks: list[DagTask]):
    dag = build(*tasks)
    assert len(dag) == len(tasks)
    read = {source for task in tasks for source in task.dependencies}
    built = {task.key: task for task in dag.tasks()}
    for task in tasks:
        expected = task.key not in read if task.wanted is None else task.wanted
        of_dag = built[task.key]
        assert sorted(of_dag.dependencies) == sorted(set(task.dependencies))
        assert replace(of_dag, dependencies=task.dependencies) == replace(task, wanted=expected)


@given(acyclic())
def test_the_edges_agree_both_ways(tasks: list[DagTask]):
    dag = build(*tasks)
    forward = {(task, int(dep)) for task in range(len(dag)) for dep in dag.dependencies(task)}
    backward = {(int(reader), task) for task in range(len(dag)) for reader in dag.dependents(task)}
    assert forward == backward
    assert len(dag.sources) == len(dag.readers) == len(forward)


@given(acyclic())
def test_edges_are_sorted_at_either_end(tasks: list[DagTask]):
    dag = build(*tasks)
    for task in range(len(dag)):
        assert np.all(np.diff(dag.dependencies(task)) > 0)
        assert np.all(np.diff(dag.dependents(task)) > 0)


@given(acyclic())
def test_a_dag_is_built_again_from_its_tasks(tasks: list[DagTask]):
    dag = build(*tasks)
    assert_same(Dag.build(dag.name, dag.tasks()), dag)


@pytest.mark.parametrize(
    ("tasks", "order"),
    [
        ([a_task("b"), a_task("a"), a_task("c", "a", "b")], "bac"),
        ([a_task("c", "a", "b"), a_task("b"), a_task("a")], "abc"),
        ([a_task("x"), a_task("c", "b"), a_task("b", "a"), a_task("a"), a_task("y")], "xabcy"),
        ([a_task("d", "b", "c"), a_task("c", "a"), a_task("b", "a"), a_task("a")], "abcd"),
    ],
    ids=["as given", "to just before its reader", "others stay", "in the order it reads"],
)
def test_tasks_keep_their_order_as_far_as_dependencies_allow(tasks: list[DagTask], order: str):
    assert build(*tasks).keys == tuple(order)


def test_a_dependency_that_is_named_twice_counts_once():
    dag = build(a_task("a"), a_task("b", "a", "a"))
    assert dag.dependencies(1).tolist() == [0]
    assert dag.dependents(0).tolist() == [1]


def test_an_array_that_no_task_reads_is_wanted_unless_it_is_said():
    dag = build(
        a_task("read"), a_task("end", "read"), a_task("kept", wanted=True), a_task("no", "kept")
    )
    assert dict(zip(dag.keys, dag.wanted.tolist(), strict=True)) == {
        "read": False,
        "end": True,
        "kept": True,
        "no": True,
    }
    assert build(a_task("end", wanted=False)).wanted.tolist() == [False]


def test_prefixes_are_named_once_in_the_order_of_the_tasks():
    dag = build(a_task("c", "a", prefix="q"), a_task("a", prefix="p"), a_task("b", prefix="q"))
    assert dag.prefixes == ("p", "q")
    assert dag.prefix.tolist() == [0, 1, 1]


def test_nothing_is_a_dag_too():
    dag = build()
    assert len(dag) == 0
    assert list(dag.tasks()) == []
    assert dag.starts.tolist() == dag.reader_starts.tolist() == [0]


def test_numbers_may_be_numpys():
    dag = build(a_task("a", nbytes=np.int32(3), seconds=np.float32(0.5)), a_task("b", seconds=2))
    assert dag.nbytes.tolist() == [3, 8]
    assert dag.seconds.tolist() == [0.5, 2.0]


@pytest.mark.parametrize(
    ("nbytes", "message"),
    [
        (-1, "has nbytes -1; expected a whole number, 0 or more"),
        (1.0, "has nbytes 1.0; expected a whole number, 0 or more"),
        (True, "has nbytes True; expected a whole number, 0 or more"),
        (None, "has nbytes None; expected a whole number, 0 or more"),
        ("8", "has nbytes '8'; expected a whole number, 0 or more"),
        (2**63, "has nbytes 9223372036854775808; expected less than 2**63"),
    ],
    ids=repr,
)
def test_nbytes_that_cannot_be_are_refused(nbytes: object, message: str):
    with pytest.raises(InvalidDagError, match=f"^task 'bad' {re.escape(message)}$"):
        build(a_task("good"), a_task("bad", nbytes=nbytes))


@pytest.mark.parametrize(
    "seconds",
    [-0.1, -1, float("nan"), float("inf"), True, None, "1", 1j, np.complex64(1), 10**400],
    ids=repr,
)
def test_seconds_that_cannot_be_are_refused(seconds: object):
    expected = r"^task 'bad' has seconds .*; expected a finite number, 0 or more$"
    with pytest.raises(InvalidDagError, match=expected):
        build(a_task("good"), a_task("bad", seconds=seconds))


@pytest.mark.parametrize(
    ("tasks", "message"),
    [
        (
            [a_task("a"), a_task("b"), a_task("a")],
            "task 'a' is there twice; give every task a key of its own",
        ),
        (
            [a_task("a", "b"), a_task("b", "a", "z")],
            "task 'b' depends on 'z', which is not there; add it as a task",
        ),
        (
            [a_task("a", "a")],
            "task 'a' waits for itself ('a' → 'a'); remove one of these dependencies",
        ),
        (
            [a_task("d", "b"), a_task("b", "c"), a_task("c", "a"), a_task("a", "b")],
            "task 'b' waits for itself ('b' → 'c' → 'a' → 'b'); remove one of these dependencies",
        ),
        (
            [a_task("a"), a_task("b", "a", seconds=0.0, given=True)],
            (
                "task 'b' is given, but has 1 dependencies and 0.0 seconds; "
                "expected none and 0, or a task that is not given"
            ),
        ),
        (
            [a_task("a", given=True)],
            (
                "task 'a' is given, but has 0 dependencies and 0.5 seconds; "
                "expected none and 0, or a task that is not given"
            ),
        ),
    ],
    ids=["twice", "unknown", "itself", "circle", "given that reads", "given that computes"],
)
def test_what_is_no_dag_is_refused_with_the_task_and_the_cure(
    tasks: Sequence[DagTask], message: str
):
    with pytest.raises(InvalidDagError, match=f"^{re.escape(message)}$"):
        build(*tasks)


def test_only_the_beginning_of_a_long_circle_is_named():
    ring = [a_task(str(i), str((i + 1) % 100)) for i in range(100)]
    with pytest.raises(InvalidDagError, match=re.escape("('0' → '1' → '2' → '3' → '4' → … → '0')")):
        build(*ring)


@given(acyclic(), st.randoms(use_true_random=False))
def test_a_circle_is_found_wherever_it_is(tasks: list[DagTask], rng: random.Random):
    tasks = [replace(task, seconds=0.5, given=False) for task in tasks]
    ring = [a_task(f"ring of {i}", f"ring of {(i + 1) % 3}") for i in range(3)]
    mixed = [*tasks, *ring]
    rng.shuffle(mixed)
    with pytest.raises(InvalidDagError, match=r"task 'ring of \d' waits for itself"):
        build(*mixed)


def test_columns_are_tasks_on_their_side():
    tasks: Iterable[DagTask] = [a_task("b", "a", wanted=False), a_task("a", prefix="q")]
    columns = Dag.from_columns(
        "a graph",
        keys=["b", "a"],
        dependencies=[["a"], []],
        nbytes=[8, 8],
        seconds=[0.5, 0.5],
        prefixes=["p", "q"],
        wanted=[False, None],
        given=[False, False],
    )
    assert_same(columns, build(*tasks))


def test_a_long_chain_the_wrong_way_around_needs_no_recursion():
    n = 20_000
    dag = build(*(a_task(str(i), *([str(i + 1)] if i < n - 1 else [])) for i in range(n)))
    assert dag.keys[0] == str(n - 1)
    assert dag.dependencies(n - 1).tolist() == [n - 2]
