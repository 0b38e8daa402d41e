"""The order that Dask gives a DAG is what Dask gives its own tasks, and always the same."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import pytest
from dask._task_spec import DataNode, Task, TaskRef
from dask.order import order
from hypothesis import given, settings

from core.dags import a_task, acyclic, build
from core.graphs import Drawn, draw, gemm, tree, wavefront
from dask_mlsched.benchmarks.dask_order import dask_order
from dask_mlsched.core.dag import Dag, DagTask


def dag_of(drawn: Drawn, given: Collection[str] = ()) -> Dag:
    return build(
        *(
            a_task(key, *deps, seconds=0.0, given=key in given)
            for key, deps in drawn.dependencies.items()
        )
    )


def by_key(dag: Dag) -> dict[str, int]:
    return dict(zip(dag.keys, dask_order(dag).tolist(), strict=True))


def in_order(dag: Dag) -> list[str]:
    return [dag.keys[task] for task in np.argsort(dask_order(dag))]


def of_dask(drawn: Drawn, given: Collection[str] = ()) -> dict[str, int]:
    """Ask Dask for the order of real tasks with these keys."""
    return order(
        {
            key: DataNode(key, 0) if key in given else Task(key, print, *map(TaskRef, deps))
            for key, deps in drawn.dependencies.items()
        }
    )


# Graphs in which Dask's order does not change with the hashes of texts.
@pytest.mark.parametrize(
    "drawn",
    [tree(32), wavefront(5), draw("a -> b -> c\n d -> e -> f"), draw("a -> b c d -> e")],
    ids=["tree", "wavefront", "two chains", "diamond"],
)
def test_it_is_dasks_order_of_real_tasks(drawn: Drawn):
    assert by_key(dag_of(drawn)) == of_dask(drawn)


def test_given_arrays_are_data_to_dask():
    drawn = draw("x a -> b \n x c -> d \n x e -> f")
    assert of_dask(drawn) != of_dask(drawn, given="x"), "no example: it makes no difference"
    assert by_key(dag_of(drawn, given="x")) == of_dask(drawn, given="x")


@given(acyclic())
@settings(max_examples=50)
def test_every_task_has_a_place_after_its_dependencies(tasks: list[DagTask]):
    dag = build(*tasks)
    places = dask_order(dag)
    assert places.dtype == np.int64
    assert sorted(places) == list(range(len(dag)))
    for task in range(len(dag)):
        assert np.all(places[dag.dependencies(task)] < places[task])


def test_a_chain_ends_before_the_next_begins():
    one, *others = in_order(dag_of(draw("a1 -> a2 -> a3 \n b1 -> b2 -> b3")))
    assert others[:2] == [f"{one[0]}2", f"{one[0]}3"]


def test_keys_break_ties_not_the_order_of_the_tasks():
    assert in_order(dag_of(draw("z1 -> a1 \n z2 -> a2"))) == ["z2", "a2", "z1", "a1"]
    assert in_order(dag_of(draw("z2 -> a2 \n z1 -> a1"))) == ["z2", "a2", "z1", "a1"]


def test_it_does_not_change_with_the_hashes_of_keys():
    # Other names in the same order have other hashes; Dask's order of texts changes with them.
    drawn = gemm(4)
    places = dask_order(dag_of(drawn))
    for renamed in range(5):
        other = Drawn(
            {
                f"{renamed} {key}": [f"{renamed} {dep}" for dep in deps]
                for key, deps in drawn.dependencies.items()
            }
        )
        np.testing.assert_array_equal(dask_order(dag_of(other)), places)


def test_no_tasks_have_no_order():
    assert dask_order(build()).tolist() == []
