"""Task graphs of estee become DAGs of arrays."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from dask_mlsched.benchmarks.estee import from_data_set, from_json, is_data_set
from dask_mlsched.core.dag import DagTask, InvalidDagError

MIB = 2**20


def a_task(*inputs: list[int], d: float = 1.5, sizes: tuple[float, ...] = ()) -> dict[str, Any]:
    outputs = [{"s": size, "e_s": None} for size in sizes]
    return {"d": d, "e_d": 2, "cpus": 4, "outputs": outputs, "inputs": list(inputs)}


def test_outputs_are_added_up_and_inputs_are_tasks():
    graph = [a_task([1, 0], [1, 1], d=0), a_task(sizes=(2, 0.5)), a_task(sizes=(0.0000001,))]
    dag = from_json(graph, "a graph")
    assert dag.name == "a graph"
    assert list(dag.tasks()) == [
        DagTask("task-1", (), round(2.5 * MIB), 1.5, "task", wanted=False),
        DagTask("task-0", ("task-1",), 0, 0.0, "task", wanted=True),
        DagTask("task-2", (), 0, 1.5, "task", wanted=True),
    ]


@pytest.mark.parametrize(
    ("graph", "message"),
    [
        ([], "the graph is []; expected a list of at least one task"),
        ({}, "the graph is {}; expected a list of at least one task"),
        ([5], "task number 0 is 5; expected an object with d, outputs and inputs"),
        ([a_task(), {}], "task number 1 has outputs None; expected a list"),
        ([a_task() | {"inputs": 5}], "task number 0 has inputs 5; expected a list"),
        ([a_task(d=-1)], "task number 0 has d -1; expected a number, 0 or more"),
        ([a_task(d=float("nan"))], "task number 0 has d nan; expected a number, 0 or more"),
        ([a_task(d=True)], "task number 0 has d True; expected a number, 0 or more"),
        ([a_task(sizes=(1, -2))], "output 1 of task number 0 has s -2; expected a number, 0 or"),
        ([a_task() | {"outputs": [3]}], "output 0 of task number 0 has s None; expected a number"),
        ([a_task([0])], "task number 0 has the input [0]; expected the numbers of a task, 0 to 0"),
        ([a_task([1, 0])], "task number 0 has the input [1, 0]; expected the numbers of a task"),
        ([a_task([-1, 0])], "task number 0 has the input [-1, 0]; expected the numbers of a task"),
        ([a_task(), a_task([True, 0])], "task number 1 has the input [True, 0]; expected the num"),
        ([a_task([0, 0])], "task 'task-0' waits for itself ('task-0' → 'task-0'); remove one"),
        ([a_task(sizes=(2.0**62,))], "task 'task-0' has nbytes 4835703278458516698824704; expect"),
    ],
    ids=lambda value: value[:40] if isinstance(value, str) else "",
)
def test_a_mistake_is_one_line_with_the_task_s_number(graph: Any, message: str):
    with pytest.raises(InvalidDagError, match=f"^{re.escape(message)}"):
        from_json(graph)


def a_data_set(*names: str) -> dict[str, Any]:
    """Make a table as pandas writes it: graph number n has n + 1 tasks."""
    rows = [str(row) for row in range(len(names))]
    return {
        "graph_name": dict(zip(rows, names, strict=True)),
        "graph_id": {row: f"id-{row}" for row in rows},
        "graph": {row: json.dumps([a_task()] * (int(row) + 1)) for row in rows},
    }


@pytest.mark.parametrize(("graph", "tasks"), [("fork", 1), ("merge", 2), ("id-1", 2)])
def test_a_graph_of_a_data_set_is_chosen_by_name_or_identity(graph: str, tasks: int):
    dag = from_data_set(a_data_set("fork", "merge"), graph)
    assert dag.name == {1: "fork", 2: "merge"}[tasks]
    assert len(dag) == tasks


def test_the_only_graph_of_a_data_set_needs_no_name():
    assert from_data_set(a_data_set("fork")).name == "fork"


@pytest.mark.parametrize(
    ("graph", "message"),
    [
        (None, "there are 3 graphs; choose one by its name or identity: a (id-0), a (id-1), b ("),
        ("a", "there are 2 graphs 'a'; choose one by its name or identity: a (id-0), a (id-1)"),
        ("z", "there are 0 graphs 'z'; choose one by its name or identity: a (id-0), a (id-1), b"),
    ],
)
def test_which_graph_is_meant_has_to_be_clear(graph: str | None, message: str):
    with pytest.raises(InvalidDagError, match=f"^{re.escape(message)}"):
        from_data_set(a_data_set("a", "a", "b"), graph)


def test_the_choice_is_not_named_without_end():
    with pytest.raises(InvalidDagError, match=r"t19 \(id-19\), …$"):
        from_data_set(a_data_set(*(f"t{i}" for i in range(21))))


def test_a_graph_of_a_data_set_has_to_be_a_text():
    document = a_data_set("a") | {"graph": {"0": [a_task()]}}
    with pytest.raises(InvalidDagError, match=r"^graph 0 is \[.*\]; expected a text$"):
        from_data_set(document)


@pytest.mark.parametrize("document", [[], {}, {"graph": []}, {"tasks": []}, None])
def test_other_documents_are_no_data_sets(document: Any):
    assert not is_data_set(document)
    assert is_data_set(a_data_set("a"))
