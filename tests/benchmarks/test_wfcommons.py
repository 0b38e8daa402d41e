"""Traces of WfCommons, old and new, become DAGs of arrays."""

from __future__ import annotations

import copy
import re
from typing import Any

import pytest

from dask_mlsched.benchmarks.wfcommons import from_json
from dask_mlsched.core.dag import Dag, DagTask, InvalidDagError

#: raw -> split -> left, right -> join; `join` also reads what `split` made.
NEW: dict[str, Any] = {
    "name": "a trace",
    "schemaVersion": "1.5",
    "workflow": {
        "specification": {
            "tasks": [
                {
                    "name": "join_ID0004",
                    "id": "join_ID0004",
                    "parents": ["work_ID0002", "work_ID0003"],
                    "children": [],
                    "inputFiles": ["left", "right", "index"],
                    "outputFiles": ["result"],
                },
                {
                    "name": "split_ID0001",
                    "id": "split_ID0001",
                    "parents": [],
                    "children": ["work_ID0002", "work_ID0003"],
                    "inputFiles": ["raw", "options"],
                    "outputFiles": ["half-1", "half-2", "index"],
                },
                {
                    "name": "work_ID0002",
                    "id": "work_ID0002",
                    "parents": ["split_ID0001"],
                    "children": ["join_ID0004"],
                    "inputFiles": ["half-1", "options"],
                    "outputFiles": ["left"],
                },
                {
                    "name": "work_ID0003",
                    "id": "work_ID0003",
                    "parents": ["split_ID0001"],
                    "children": ["join_ID0004"],
                    "inputFiles": ["half-2", "options"],
                    "outputFiles": ["right"],
                },
            ],
            "files": [
                {"id": "raw", "sizeInBytes": 1000},
                {"id": "options", "sizeInBytes": 5},
                {"id": "half-1", "sizeInBytes": 400},
                {"id": "half-2", "sizeInBytes": 600},
                {"id": "index", "sizeInBytes": 7},
                {"id": "left", "sizeInBytes": 40},
                {"id": "right", "sizeInBytes": 60},
                {"id": "result", "sizeInBytes": 0},
            ],
        },
        "execution": {
            "makespanInSeconds": 9,
            "executedAt": "2026-01-01T00:00:00Z",
            "tasks": [
                {"id": "split_ID0001", "runtimeInSeconds": 1.5, "coreCount": 2},
                {"id": "work_ID0002", "runtimeInSeconds": 2},
                {"id": "work_ID0003", "runtimeInSeconds": 3.25},
                {"id": "join_ID0004", "runtimeInSeconds": 0},
            ],
        },
    },
}
#: The same, as it was recorded before version 1.5: by name, with files at the tasks.
OLD: dict[str, Any] = {
    "name": "a trace",
    "schemaVersion": "1.4",
    "workflow": {
        "makespanInSeconds": 9,
        "tasks": [
            {
                "name": "join_ID0004",
                "id": "ID0004",
                "category": "join",
                "parents": ["work_ID0002", "ID0003"],
                "runtimeInSeconds": 0,
                "files": [
                    {"name": "left", "sizeInBytes": 40, "link": "input"},
                    {"name": "right", "sizeInBytes": 60, "link": "input"},
                    {"name": "index", "sizeInBytes": 7, "link": "input"},
                    {"name": "result", "sizeInBytes": 0, "link": "output"},
                ],
            },
            {
                "name": "split_ID0001",
                "id": "ID0001",
                "children": ["work_ID0002"],
                "runtimeInSeconds": 1.5,
                "files": [
                    {"name": "raw", "sizeInBytes": 1000, "link": "input"},
                    {"name": "options", "sizeInBytes": 5, "link": "input"},
                    {"name": "half-1", "sizeInBytes": 400, "link": "output"},
                    {"name": "half-2", "sizeInBytes": 600, "link": "output"},
                    {"name": "index", "sizeInBytes": 7, "link": "output"},
                ],
            },
            {
                "name": "work_ID0002",
                "runtimeInSeconds": 2,
                "files": [
                    {"name": "half-1", "sizeInBytes": 400, "link": "input"},
                    {"name": "options", "sizeInBytes": 5, "link": "input"},
                    {"name": "left", "sizeInBytes": 40, "link": "output"},
                ],
            },
            {
                "name": "work_ID0003",
                "id": "ID0003",
                "runtimeInSeconds": 3.25,
                "parents": ["split_ID0001"],
                "files": [
                    {"name": "half-2", "sizeInBytes": 600, "link": "input"},
                    {"name": "options", "sizeInBytes": 5, "link": "input"},
                    {"name": "right", "sizeInBytes": 60, "link": "output"},
                ],
            },
        ],
    },
}
EXPECTED = [
    DagTask("input:raw", (), 1000, 0.0, "input", wanted=False, given=True),
    DagTask("input:options", (), 5, 0.0, "input", wanted=False, given=True),
    DagTask("split_ID0001", ("input:raw", "input:options"), 1007, 1.5, "split", wanted=False),
    DagTask("work_ID0002", ("input:options", "split_ID0001"), 40, 2.0, "work", wanted=False),
    DagTask("work_ID0003", ("input:options", "split_ID0001"), 60, 3.25, "work", wanted=False),
    DagTask(
        "join_ID0004", ("split_ID0001", "work_ID0002", "work_ID0003"), 0, 0.0, "join", wanted=True
    ),
]


def first_version() -> dict[str, Any]:
    """Version 1.0: jobs, `runtime`, `size`, and no `id`."""
    document = copy.deepcopy(OLD)
    jobs = document["workflow"]["jobs"] = document["workflow"].pop("tasks")
    for job in jobs:
        job["runtime"] = job.pop("runtimeInSeconds")
        job.pop("category", None)
        job.pop("id", None)
        for file in job["files"]:
            file["size"] = file.pop("sizeInBytes")
    jobs[0]["parents"] = ["work_ID0002", "work_ID0003"]
    return document


def as_set(dag: Dag) -> set[DagTask]:
    """Return the tasks, their order and that of their dependencies left aside."""
    return {
        DagTask(t.key, frozenset(t.dependencies), t.nbytes, t.seconds, t.prefix, t.wanted, t.given)  # type: ignore[arg-type]  # hashed
        for t in dag.tasks()
    }


@pytest.mark.parametrize(
    "document", [NEW, OLD, first_version()], ids=["version 1.5", "version 1.4", "version 1.0"]
)
def test_a_trace_of_any_version_is_the_same_dag(document: dict[str, Any]):
    dag = from_json(document)
    assert dag.name == "a trace"
    assert as_set(dag) == as_set(Dag.build("", EXPECTED))


def a_trace(*tasks: tuple[str, str, str, str]) -> dict[str, Any]:
    """Make a trace of (name, parents, inputs, outputs), each name one letter, each file 1 byte."""
    files = sorted({file for task in tasks for file in task[2] + task[3]})
    specified = [
        {
            "name": name,
            "id": name,
            "parents": list(parents),
            "children": [],
            "inputFiles": list(inputs),
            "outputFiles": list(outputs),
        }
        for name, parents, inputs, outputs in tasks
    ]
    return {
        "workflow": {
            "specification": {
                "tasks": specified,
                "files": [{"id": file, "sizeInBytes": 1} for file in files],
            },
            "execution": {"tasks": [{"id": task[0], "runtimeInSeconds": 1} for task in tasks]},
        }
    }


def dependencies(dag: Dag) -> dict[str, set[str]]:
    return {task.key: set(task.dependencies) for task in dag.tasks()}


def test_a_parent_without_a_common_file_is_read_all_the_same():
    assert dependencies(from_json(a_trace(("a", "", "", ""), ("b", "a", "", "")))) == {
        "a": set(),
        "b": {"a"},
    }


def test_a_file_that_several_make_is_read_from_the_parent_that_does():
    trace = a_trace(("a", "", "", "f"), ("b", "a", "f", "f"), ("c", "b", "f", ""))
    assert dependencies(from_json(trace)) == {"a": set(), "b": {"a"}, "c": {"b"}}


def test_a_file_that_no_parent_makes_is_read_from_the_first_that_does():
    trace = a_trace(("c", "", "f", ""), ("b", "a", "", "f"), ("a", "", "", "f"))
    assert dependencies(from_json(trace))["c"] == {"b"}


def test_a_file_that_a_task_changes_itself_is_no_dependency():
    assert dependencies(from_json(a_trace(("a", "", "f", "f")))) == {"a": set()}


def test_a_file_that_is_named_twice_counts_once():
    assert from_json(a_trace(("a", "", "", "ff"))).nbytes.tolist() == [1]


def test_a_size_that_tasks_disagree_on_is_the_first():
    document = copy.deepcopy(OLD)
    document["workflow"]["tasks"][2]["files"][2]["sizeInBytes"] = 99
    assert as_set(from_json(document)) == as_set(from_json(OLD))


def test_tasks_with_equal_names_are_told_apart_by_their_identity():
    document = {
        "workflow": {
            "tasks": [
                {"name": "work", "id": "one", "runtime": 1},
                {"name": "work", "id": "two", "runtime": 1, "parents": ["one"]},
            ]
        }
    }
    assert dependencies(from_json(document)) == {"work_one": set(), "work_two": {"work_one"}}


def test_the_folder_is_part_of_a_file_s_name():
    files = [{"name": "f", "path": f"/{x}/", "sizeInBytes": 3, "link": "input"} for x in "ab"]
    document = {"workflow": {"tasks": [{"name": "t", "runtime": 1, "files": files}]}}
    assert dependencies(from_json(document))["t"] == {"input:/a/f", "input:/b/f"}


@pytest.mark.parametrize(
    ("name", "prefix"),
    [
        ("blastall_ID000002", "blastall"),
        ("cpuhog_chain_00000001", "cpuhog_chain"),
        ("SORT__sample_7__ID0000016", "SORT"),
        ("bowtie2-build", "bowtie2-build"),
    ],
)
def test_tasks_that_run_the_same_code_share_a_prefix(name: str, prefix: str):
    trace = a_trace(("a", "", "", ""))
    trace["workflow"]["specification"]["tasks"][0]["name"] = name
    assert from_json(trace).prefixes == (prefix,)


def changed(document: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    """Copy a document with another value at a place such as `workflow.tasks.0.name`."""
    document = copy.deepcopy(document)
    holder: Any = document
    *way, last = (int(step) if step.isdigit() else step for step in path.split("."))
    for step in way:
        holder = holder[step]
    holder[last] = value
    return document


SPECIFIED = "workflow.specification.tasks.1"


@pytest.mark.parametrize(
    ("document", "path", "value", "message"),
    [
        (NEW, "workflow", 5, "the trace has workflow 5; expected an object"),
        (NEW, "workflow.specification", [], "the workflow has specification []; expected an obj"),
        (NEW, "workflow.specification.tasks", None, "the specification has tasks None; expected a"),
        (NEW, SPECIFIED, 5, "a task of the specification is 5; expected an object with id"),
        (NEW, f"{SPECIFIED}.id", 5, "a task of the specification has id 5; expected a text"),
        (NEW, f"{SPECIFIED}.name", 5, "task 'split_ID0001' has name 5; expected a text"),
        (NEW, f"{SPECIFIED}.id", "x", "task 'x' has no time; expected its runtimeInSeconds in wo"),
        (NEW, f"{SPECIFIED}.parents", "x", "task 'split_ID0001' has parents 'x'; expected a list"),
        (NEW, f"{SPECIFIED}.parents", [5], "task 'split_ID0001' has 5 in its parents; expected te"),
        (NEW, f"{SPECIFIED}.parents", ["x"], "task 'split_ID0001' depends on 'x', which is not t"),
        (NEW, f"{SPECIFIED}.children", ["x"], "task 'split_ID0001' has a child 'x', which is not"),
        (NEW, f"{SPECIFIED}.parents", ["join_ID0004"], "task '"),
        (NEW, f"{SPECIFIED}.inputFiles", ["x"], "file 'x' of task 'split_ID0001' has no size; exp"),
        (NEW, f"{SPECIFIED}.outputFiles", ["x"], "file 'x' of task 'split_ID0001' has no size; e"),
        (NEW, "workflow.specification.files.0.sizeInBytes", -1, "file 'raw' has sizeInBytes -1;"),
        (NEW, "workflow.specification.files.0.sizeInBytes", True, "file 'raw' has sizeInBytes Tr"),
        (NEW, "workflow.specification.files.0", {"id": "raw"}, "file 'raw' has sizeInBytes None;"),
        (NEW, "workflow.execution.tasks.0.runtimeInSeconds", "1", "task 'split_ID0001' has runti"),
        (NEW, "workflow.execution.tasks.0.runtimeInSeconds", float("nan"), "task 'split_ID0001' "),
        (OLD, "workflow.tasks", {}, "the workflow has tasks {}; expected a list"),
        (OLD, "workflow.tasks.0", 5, "a task is 5; expected an object with name"),
        (OLD, "workflow.tasks.0.id", 5, "task 'join_ID0004' has id 5; expected a text"),
        (OLD, "workflow.tasks.0.runtimeInSeconds", None, "task 'join_ID0004' has runtimeInSeconds"),
        (OLD, "workflow.tasks.0.files.0.link", "both", "file 'left' of task 'join_ID0004' has lin"),
        (OLD, "workflow.tasks.0.files.0.name", None, "a file of task 'join_ID0004' has name None"),
        (OLD, "workflow.tasks.0.files.0", 5, "a file of task 'join_ID0004' is 5; expected an obj"),
        (
            OLD,
            "workflow.tasks.3",
            {"name": "split_ID0001", "runtime": 1},
            "task 'split_ID0001' is there twice; give",
        ),
    ],
)
def test_a_mistake_is_one_line_that_says_where_it_is(
    document: dict[str, Any], path: str, value: Any, message: str
):
    with pytest.raises(InvalidDagError, match=f"^{re.escape(message)}[^\n]*$"):
        from_json(changed(document, path, value))


def test_a_trace_without_times_is_refused():
    document = copy.deepcopy(NEW)
    del document["workflow"]["execution"]
    with pytest.raises(InvalidDagError, match=r"^task 'join_ID0004' has no time; expected its"):
        from_json(document)
