"""Read traces of scientific workflows in the format of WfCommons (WfFormat 1.0 to 1.6).

From version 1.5 on, `workflow.specification` has tasks, files and sizes, and `workflow.execution`
the times; before, `workflow.tasks` (at first `workflow.jobs`) has everything. Sizes are bytes in
all versions: the schemas before 1.4 say kilobytes, but the published traces have bytes, and the
project's own migration takes them so.

What does not fit a DAG of arrays is made to fit:

- The output files of a task become one array, with the sum of their bytes. Who reads one of the
  files reads the array.
- A child reads the arrays of its parents and of the tasks that made its input files.
- A file that no task makes becomes a given array, `input:NAME`: it is there from the beginning,
  but has to be loaded before it is read.
- How many cores a task had, and on which machine, is passed over.
"""

from __future__ import annotations

import re
import reprlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from dask_mlsched.core.dag import Dag, DagTask, InvalidDagError

#: File -> bytes.
Sizes: TypeAlias = dict[str, int]

#: What makes the name of a task unique: its number, or the sample that it is for.
_UNIQUE = re.compile(r"(__.*|_(ID)?\d+)$")


@dataclass(slots=True)
class _Step:
    """A task of the workflow."""

    key: str
    prefix: str
    seconds: float
    inputs: Sequence[str]
    outputs: Sequence[str]
    children: Sequence[str]
    #: Keys of the tasks that must be done before; in the order in which they are found.
    before: dict[str, None] = field(default_factory=dict)


def from_json(document: Any) -> Dag:
    """Make the DAG of a trace whose JSON has been read.

    Raises
    ------
    InvalidDagError
        If it is no such trace, or has no size or time for something: one line that names it.
    """
    workflow = _get(document, "workflow", dict, "the trace")
    sizes: Sizes = {}
    if "specification" in workflow:
        steps = list(_specified(workflow, sizes))
    else:
        steps = list(_recorded(workflow, sizes))
    _turn_children_around(steps)
    name = document.get("name")
    return Dag.build(name if isinstance(name, str) else "", _tasks(steps, sizes))


def _specified(workflow: Mapping[str, Any], sizes: Sizes) -> Iterator[_Step]:
    """Read tasks of version 1.5 or later, which refer to each other by `id`."""
    specification = _get(workflow, "specification", dict, "the workflow")
    for file in _get(specification, "files", list, "the specification", []):
        name = _get(file, "id", str, "a file")
        sizes.setdefault(name, _size(file, name))
    seconds = {}
    execution = _get(workflow, "execution", dict, "the workflow", {})
    for task in _get(execution, "tasks", list, "the execution", []):
        key = _get(task, "id", str, "a task of the execution")
        seconds[key] = _number(task, f"task {key!r}", "runtimeInSeconds")
    for task in _get(specification, "tasks", list, "the specification"):
        key = _get(task, "id", str, "a task of the specification")
        named = f"task {key!r}"
        if key not in seconds:
            msg = f"{named} has no time; expected its runtimeInSeconds in workflow.execution.tasks"
            raise InvalidDagError(msg)
        yield _Step(
            key,
            _UNIQUE.sub("", _get(task, "name", str, named, key)),
            seconds[key],
            _texts(task, "inputFiles", named),
            _texts(task, "outputFiles", named),
            _texts(task, "children", named),
            dict.fromkeys(_texts(task, "parents", named)),
        )


def _recorded(workflow: Mapping[str, Any], sizes: Sizes) -> Iterator[_Step]:
    """Read tasks of versions before 1.5, which refer to each other by `name` or by `id`."""
    tasks = _get(workflow, "tasks" if "tasks" in workflow else "jobs", list, "the workflow")
    keys = [_recorded_key(task) for task in tasks]
    known: dict[str, str] = {}
    for task, key in zip(tasks, keys, strict=True):
        for reference in (task["name"], task.get("id", key), key):
            known.setdefault(reference, key)
    for task, key in zip(tasks, keys, strict=True):
        named = f"task {key!r}"
        files: dict[str, list[str]] = {"input": [], "output": []}
        for file in _get(task, "files", list, named, []):
            of_task = f"a file of {named}"
            name = _get(file, "path", str, of_task, "") + _get(file, "name", str, of_task)
            sizes.setdefault(name, _size(file, name))
            link = file.get("link")
            if link not in files:
                msg = f"file {name!r} of {named} has link {link!r}; expected 'input' or 'output'"
                raise InvalidDagError(msg)
            files[link].append(name)
        parents = _texts(task, "parents", named)
        yield _Step(
            key,
            _get(task, "category", str, named, _UNIQUE.sub("", task["name"])),
            _number(task, named, "runtimeInSeconds", "runtime"),
            files["input"],
            files["output"],
            [known.get(child, child) for child in _texts(task, "children", named)],
            dict.fromkeys(known.get(parent, parent) for parent in parents),
        )


def _recorded_key(task: Any) -> str:
    """Name a task; its own name need not be unique, but mostly is and has the `id` in it."""
    name: str = _get(task, "name", str, "a task")
    identity: str = _get(task, "id", str, f"task {name!r}", "")
    return name if identity in name else f"{name}_{identity}"


def _turn_children_around(steps: Sequence[_Step]) -> None:
    step_of = {step.key: step for step in steps}
    for step in steps:
        for child in step.children:
            if child not in step_of:
                msg = f"task {step.key!r} has a child {child!r}, which is not there; add it"
                raise InvalidDagError(msg)
            step_of[child].before[step.key] = None


def _tasks(steps: Iterable[_Step], sizes: Sizes) -> Iterator[DagTask]:
    makers: dict[str, list[str]] = {}
    for step in steps:
        for file in step.outputs:
            makers.setdefault(file, []).append(step.key)
    given: set[str] = set()
    for step in steps:
        for file in step.inputs:
            made_by = makers.get(file, [])
            if step.key in made_by or not step.before.keys().isdisjoint(made_by):
                # It changes the file itself, or reads what a parent made of it.
                continue
            source = made_by[0] if made_by else f"input:{file}"
            step.before[source] = None
            if not made_by and source not in given:
                given.add(source)
                nbytes = _size_of(file, step, sizes)
                yield DagTask(source, (), nbytes, 0.0, "input", wanted=False, given=True)
        nbytes = sum(_size_of(file, step, sizes) for file in dict.fromkeys(step.outputs))
        yield DagTask(step.key, tuple(step.before), nbytes, step.seconds, step.prefix)


def _size_of(file: str, step: _Step, sizes: Sizes) -> int:
    if file not in sizes:
        msg = f"file {file!r} of task {step.key!r} has no size; expected it among the files"
        raise InvalidDagError(msg)
    return sizes[file]


def _size(file: Mapping[str, Any], name: str) -> int:
    return int(_number(file, f"file {name!r}", "sizeInBytes", "size"))


def _number(holder: Mapping[str, Any], named: str, *names: str) -> float:
    """Return the first of the fields that is there."""
    found = [name for name in names if name in holder]
    value = holder[found[0]] if found else None
    if (
        isinstance(value, bool)
        or not isinstance(value, int | float)
        or not 0 <= value < float("inf")
    ):
        name = found[0] if found else names[0]
        msg = f"{named} has {name} {reprlib.repr(value)}; expected a number, 0 or more"
        raise InvalidDagError(msg)
    return value


def _texts(holder: Mapping[str, Any], name: str, named: str) -> list[str]:
    values: list[Any] = _get(holder, name, list, named, [])
    for value in values:
        if not isinstance(value, str):
            msg = f"{named} has {reprlib.repr(value)} in its {name}; expected texts"
            raise InvalidDagError(msg)
    return values


_EXPECTED: dict[type, str] = {dict: "an object", list: "a list", str: "a text"}


def _get(holder: Any, name: str, kind: type, named: str, default: Any = None) -> Any:
    """Return a field that has to be of one type, or be left out if there is a default."""
    if not isinstance(holder, dict):
        msg = f"{named} is {reprlib.repr(holder)}; expected an object with {name}"
        raise InvalidDagError(msg)
    value = holder.get(name, default)
    if not isinstance(value, kind):
        msg = f"{named} has {name} {reprlib.repr(value)}; expected {_EXPECTED[kind]}"
        raise InvalidDagError(msg)
    return value
