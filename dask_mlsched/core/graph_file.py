"""The graph file: a DAG as JSON text, one task a line, and back.

::

    {"format": "mlsched-graph", "version": 1, "name": "…", "tasks": [
    {"key": "C-0-0-1", "prefix": "gemm", "deps": ["A-0-1", "B-1-0", "C-0-0-0"],
     "nbytes": 1048576, "seconds": 0.0012, "wanted": false}]}

Every task has `key`, `deps`, `nbytes` and `seconds`: a forgotten `deps` would make another graph.
`prefix` is otherwise what Dask would take for the key, `wanted` whether no task reads the array,
`given` (the array is there from the beginning) false, and the graph's `name` empty. Other fields
are passed over, so that a file may say more.
"""

from __future__ import annotations

import json
import reprlib
from collections.abc import Iterator, Sequence
from itertools import chain
from string import hexdigits
from typing import Any

from dask_mlsched.core.dag import Dag, DagTask, InvalidDagError

#: What the file calls itself, and the version that is read and written here.
FORMAT = "mlsched-graph"
VERSION = 1

#: What is expected of every task; the numbers are looked at when the DAG is built.
_REQUIRED = {
    "key": "a text",
    "deps": "a list of keys, [] for a task that reads nothing",
    "nbytes": "a whole number, 0 or more",
    "seconds": "a finite number, 0 or more",
}
_FIELDS = ", ".join(_REQUIRED)


def parse(text: str | bytes) -> Dag:
    """Read a graph file.

    Raises
    ------
    InvalidDagError
        If it is none: one line that names the task and the field, and what was expected.
    """
    return from_json(parse_json(text))


def parse_json(text: str | bytes) -> Any:
    """Read JSON of any kind.

    Raises
    ------
    InvalidDagError
        If it is none.
    """
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        msg = f"this is not JSON: {error}"
        raise InvalidDagError(msg) from None


def from_json(document: Any) -> Dag:
    """Make the DAG of a graph file whose JSON has been read.

    Raises
    ------
    InvalidDagError
        As `parse` does.
    """
    tasks = _tasks(document)
    if not _well_formed(tasks):
        for number, task in enumerate(tasks):
            _check_task(number, task)
    return Dag.from_columns(
        document.get("name") or "",
        keys=[task["key"] for task in tasks],
        dependencies=[task["deps"] for task in tasks],
        nbytes=[task["nbytes"] for task in tasks],
        seconds=[task["seconds"] for task in tasks],
        prefixes=[
            prefix_of(task["key"]) if (prefix := task.get("prefix")) is None else prefix
            for task in tasks
        ],
        wanted=[task.get("wanted") for task in tasks],
        given=[bool(task.get("given")) for task in tasks],
    )


def to_text(dag: Dag) -> str:
    """Write a graph file: what `parse` makes the same DAG of."""
    return "".join(lines(dag))


def lines(dag: Dag) -> Iterator[str]:
    """Yield a graph file line by line, for DAGs that are large."""
    head = json.dumps({"format": FORMAT, "version": VERSION, "name": dag.name})
    yield head.removesuffix("}") + ', "tasks": ['
    separator = "\n"
    for task in dag.tasks():
        yield separator + json.dumps(_fields(task))
        separator = ",\n"
    yield "\n]}\n"


def _fields(task: DagTask) -> dict[str, Any]:
    fields = {
        "key": task.key,
        "prefix": task.prefix,
        "deps": task.dependencies,
        "nbytes": task.nbytes,
        "seconds": task.seconds,
        "wanted": task.wanted,
    }
    return fields | {"given": True} if task.given else fields


def prefix_of(key: str) -> str:
    """Take a key's prefix as Dask does (`dask.utils.key_split`): its words before the first number.

    Examples
    --------
    >>> prefix_of("C-0-0-1"), prefix_of("('getitem-sum-ae05086432ca935f', 0)")
    ('C', 'getitem-sum')
    """
    first, *others = key.split("-")
    if not first:
        return "Other"
    if not first[0].isalpha():
        first = first.split(",")[0].strip("_'()\"")
    prefix = first
    for word in others:
        # Eight letters from such a one on are the beginning of a hash to Dask.
        if not word.isalpha() or (len(word) == 8 and word[0] in "abcdef"):
            break
        prefix += "-" + word
    if len(prefix) == 32 and set(prefix) <= set(hexdigits.lower()):
        return "data"
    return prefix or "Other"


def _tasks(document: Any) -> Sequence[Any]:
    """Check everything around the tasks."""
    if not isinstance(document, dict):
        msg = f"this is {reprlib.repr(document)}; expected an object with format, version and tasks"
        raise InvalidDagError(msg)
    if document.get("format") != FORMAT:
        msg = f"format is {reprlib.repr(document.get('format'))}; expected {FORMAT!r}"
        raise InvalidDagError(msg)
    version = document.get("version")
    if type(version) is not int or version != VERSION:
        msg = (
            f"version is {reprlib.repr(version)}; expected {VERSION}, or a newer dask_mlsched "
            "that reads the other"
        )
        raise InvalidDagError(msg)
    name = document.get("name")
    if not isinstance(name, str | None):
        msg = f"name is {reprlib.repr(name)}; expected a text"
        raise InvalidDagError(msg)
    tasks = document.get("tasks")
    if not isinstance(tasks, list) or not tasks:
        msg = f"tasks is {reprlib.repr(tasks)}; expected a list of at least one task"
        raise InvalidDagError(msg)
    return tasks


def _well_formed(tasks: Sequence[Any]) -> bool:
    """Tell whether all fields are there and of their types; in columns, for a million tasks."""
    try:
        return (
            _only({str}, (task["key"] for task in tasks))
            and _only({list}, (task["deps"] for task in tasks))
            and _only({str}, chain.from_iterable(task["deps"] for task in tasks))
            and all("nbytes" in task and "seconds" in task for task in tasks)
            and _only({str, type(None)}, (task.get("prefix") for task in tasks))
            and _only({bool, type(None)}, (task.get("wanted") for task in tasks))
            and _only({bool, type(None)}, (task.get("given") for task in tasks))
        )
    except (KeyError, TypeError, AttributeError):
        return False


def _only(types: set[type], values: Iterator[Any]) -> bool:
    return set(map(type, values)) <= types


def _check_task(number: int, task: Any) -> None:
    """Raise if the fields of a task are not there or not of their types."""
    if not isinstance(task, dict):
        msg = f"task number {number} is {reprlib.repr(task)}; expected an object with {_FIELDS}"
        raise InvalidDagError(msg)
    key = task.get("key")
    named = f"task {key!r}" if isinstance(key, str) else f"task number {number}"
    for field, expected in _REQUIRED.items():
        if field not in task:
            msg = f"{named} has no {field}; expected {expected}"
            raise InvalidDagError(msg)
    for field, kind, expected in (
        ("key", str, _REQUIRED["key"]),
        ("deps", list, _REQUIRED["deps"]),
        ("prefix", str | None, "a text"),
        ("wanted", bool | None, "true or false"),
        ("given", bool | None, "true or false"),
    ):
        if not isinstance(task.get(field), kind):
            msg = f"{named} has {field} {reprlib.repr(task[field])}; expected {expected}"
            raise InvalidDagError(msg)
    for dep in task["deps"]:
        if not isinstance(dep, str):
            msg = f"{named} depends on {reprlib.repr(dep)}; expected a key, which is a text"
            raise InvalidDagError(msg)
