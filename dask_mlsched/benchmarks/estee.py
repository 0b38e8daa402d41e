"""Read the task graphs of estee, a simulator for scheduling (Beránek, Böhm and Cima, 2022).

A graph is a list of tasks: `d` is how long one computes, in seconds, `outputs` has the size `s` of
each of its outputs, in MiB, and `inputs` what it reads, as pairs of a task's and an output's
number. A data set is a table of such graphs, written by pandas: each column is an object, and
`graph` has the graphs as texts.

All outputs of a task become one array, so who reads one of them reads all. What the task was
expected to take (`e_d`, `e_s`), and how many cores it needs (`cpus`), is passed over.
"""

from __future__ import annotations

import reprlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeGuard

from dask_mlsched.core.dag import Dag, DagTask, InvalidDagError
from dask_mlsched.core.graph_file import parse_json

_MIB = 2**20

#: So many graphs are named to choose from.
_SHOWN = 20


def from_json(tasks: Any, name: str = "") -> Dag:
    """Make the DAG of a graph whose JSON has been read: its tasks are `task-0`, `task-1` and on.

    Raises
    ------
    InvalidDagError
        If it is no such graph: one line that names the task, and what was expected.
    """
    if not isinstance(tasks, list) or not tasks:
        msg = f"the graph is {reprlib.repr(tasks)}; expected a list of at least one task"
        raise InvalidDagError(msg)
    return Dag.build(name, (_task(number, task, len(tasks)) for number, task in enumerate(tasks)))


def is_data_set(document: Any) -> TypeGuard[Mapping[str, Any]]:
    """Tell whether parsed JSON is a table of graphs."""
    return isinstance(document, dict) and isinstance(document.get("graph"), dict)


def from_data_set(document: Mapping[str, Any], graph: str | None = None) -> Dag:
    """Make the DAG of one graph of a data set.

    Parameters
    ----------
    document
        The data set, after its JSON has been read.
    graph
        The name or the identity of the graph; None where there is but one.

    Raises
    ------
    InvalidDagError
        If there is not exactly one such graph, or it is none.
    """
    names = document.get("graph_name", {})
    identities = document.get("graph_id", {})
    rows = [
        row
        for row in document["graph"]
        if graph is None or graph in {names.get(row), identities.get(row)}
    ]
    if len(rows) != 1:
        named = "" if graph is None else f" {graph!r}"
        choice = [f"{names.get(row)} ({identities.get(row)})" for row in rows or document["graph"]]
        known = ", ".join(choice[:_SHOWN] + ["…"] * (len(choice) > _SHOWN))
        msg = f"there are {len(rows)} graphs{named}; choose one by its name or identity: {known}"
        raise InvalidDagError(msg)
    text = document["graph"][rows[0]]
    if not isinstance(text, str):
        msg = f"graph {rows[0]} is {reprlib.repr(text)}; expected a text"
        raise InvalidDagError(msg)
    return from_json(parse_json(text), str(names.get(rows[0], "")))


def _task(number: int, task: Any, count: int) -> DagTask:
    named = f"task number {number}"
    if not isinstance(task, dict):
        msg = f"{named} is {reprlib.repr(task)}; expected an object with d, outputs and inputs"
        raise InvalidDagError(msg)
    size = sum(
        _number(output, "s", f"output {index} of {named}")
        for index, output in enumerate(_list(task, "outputs", named))
    )
    return DagTask(
        _key(number),
        tuple(map(_key, _parents(task, named, count))),
        round(size * _MIB),
        _number(task, "d", named),
        "task",
    )


def _key(number: int) -> str:
    return f"task-{number}"


def _parents(task: Mapping[str, Any], named: str, count: int) -> Iterator[int]:
    for pair in _list(task, "inputs", named):
        match pair:
            case [int(parent), int()] if not isinstance(parent, bool) and 0 <= parent < count:
                yield parent
            case _:
                msg = (
                    f"{named} has the input {reprlib.repr(pair)}; "
                    f"expected the numbers of a task, 0 to {count - 1}, and of its output"
                )
                raise InvalidDagError(msg)


def _list(task: Mapping[str, Any], name: str, named: str) -> Sequence[Any]:
    value = task.get(name)
    if not isinstance(value, list):
        msg = f"{named} has {name} {reprlib.repr(value)}; expected a list"
        raise InvalidDagError(msg)
    return value


def _number(holder: Any, name: str, named: str) -> float:
    value = holder.get(name) if isinstance(holder, dict) else None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 2**63:
        msg = f"{named} has {name} {reprlib.repr(value)}; expected a number, 0 or more"
        raise InvalidDagError(msg)
    return value
