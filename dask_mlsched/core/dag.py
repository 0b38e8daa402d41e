"""A whole DAG with sizes and times, known beforehand: what a simulation runs.

`TaskGraph` is what the controller has learned of a graph so far; a `Dag` is all there is to know.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

Integers: TypeAlias = npt.NDArray[np.int64]
Floats: TypeAlias = npt.NDArray[np.float64]
Booleans: TypeAlias = npt.NDArray[np.bool_]

#: So many tasks of a cycle are named.
_SHOWN = 5


class InvalidDagError(ValueError):
    """A DAG that cannot be: one line that names the task, what is wrong, and the cure."""


@dataclass(frozen=True, slots=True)
class DagTask:
    """One task on its way into a `Dag`."""

    key: str
    #: Keys of the tasks whose arrays it reads.
    dependencies: Sequence[str]
    #: Bytes of its array.
    nbytes: int
    #: Seconds that it computes, without transfers.
    seconds: float
    #: Tasks of one prefix run the same code.
    prefix: str
    #: Whether a client keeps the array; None: if no task reads it.
    wanted: bool | None = None
    #: Whether no task makes the array: it is there from the beginning, in a worker's slow tier,
    #: and its first reader has to load it. Without dependencies, and 0 seconds.
    given: bool = False


@dataclass(frozen=True, eq=False)
class Dag:
    """A DAG as arrays, in an order in which dependencies stand before their dependents.

    Of `n` tasks and `m` edges. Made by `Dag.build`.
    """

    name: str
    #: [n]
    keys: tuple[str, ...]
    #: Names of the prefixes, and [n] which one each task has.
    prefixes: tuple[str, ...]
    prefix: Integers
    #: [n + 1] and [m]: task i reads `sources[starts[i]:starts[i + 1]]`, each once.
    starts: Integers
    sources: Integers
    #: [n + 1] and [m]: the array of task i is read by `readers[reader_starts[i]:…]`.
    reader_starts: Integers
    readers: Integers
    #: [n] bytes of each task's array.
    nbytes: Integers
    #: [n] seconds that each task computes, without transfers.
    seconds: Floats
    #: [n] whether a client keeps the array.
    wanted: Booleans
    #: [n] whether the array is in the slow tier from the beginning, made by no task.
    given: Booleans

    def __len__(self) -> int:
        """Count the tasks, given arrays included."""
        return len(self.keys)

    def dependencies(self, task: int) -> Integers:
        """Return the tasks whose arrays a task reads."""
        return self.sources[self.starts[task] : self.starts[task + 1]]

    def dependents(self, task: int) -> Integers:
        """Return the tasks that read a task's array."""
        return self.readers[self.reader_starts[task] : self.reader_starts[task + 1]]

    def tasks(self) -> Iterable[DagTask]:
        """Yield the tasks one by one, as `build` takes them."""
        for task, key in enumerate(self.keys):
            yield DagTask(
                key,
                tuple(self.keys[dep] for dep in self.dependencies(task)),
                int(self.nbytes[task]),
                float(self.seconds[task]),
                self.prefixes[self.prefix[task]],
                bool(self.wanted[task]),
                bool(self.given[task]),
            )

    @classmethod
    def build(cls, name: str, tasks: Iterable[DagTask]) -> Dag:
        """Check the tasks and put them into an order that can be run.

        Tasks keep the order in which they are given, as far as dependencies allow.

        Raises
        ------
        InvalidDagError
            If keys repeat, a dependency is unknown, a number is negative or missing, a given
            array is computed all the same, or tasks wait for each other in a circle.
        """
        given = list(tasks)
        number = _numbers(given)
        dependencies = [_dependencies(task, number) for task in given]
        for task in given:
            _check_numbers(task)
            _check_given(task)
        order = _topological(given, dependencies)
        place = np.empty(len(given), np.int64)
        place[order] = np.arange(len(given))
        ordered = [given[i] for i in order]
        edges = [np.sort(place[dependencies[i]]) for i in order]
        starts = np.zeros(len(given) + 1, np.int64)
        np.cumsum([len(each) for each in edges], out=starts[1:])
        sources = np.concatenate(edges) if edges else np.empty(0, np.int64)
        reader_starts, readers = _transposed(starts, sources, len(given))
        prefixes: dict[str, int] = {}
        prefix = [prefixes.setdefault(task.prefix, len(prefixes)) for task in ordered]
        is_read = np.diff(reader_starts) > 0
        return cls(
            name=name,
            keys=tuple(task.key for task in ordered),
            prefixes=tuple(prefixes),
            prefix=np.array(prefix, np.int64),
            starts=starts,
            sources=sources,
            reader_starts=reader_starts,
            readers=readers,
            nbytes=np.array([task.nbytes for task in ordered], np.int64),
            seconds=np.array([task.seconds for task in ordered], np.float64),
            wanted=np.array(
                [not is_read[i] if t.wanted is None else t.wanted for i, t in enumerate(ordered)],
                np.bool_,
            ),
            given=np.array([task.given for task in ordered], np.bool_),
        )


def _numbers(given: Sequence[DagTask]) -> dict[str, int]:
    number: dict[str, int] = {}
    for i, task in enumerate(given):
        if task.key in number:
            msg = f"task {task.key!r} is there twice; give every task a key of its own"
            raise InvalidDagError(msg)
        number[task.key] = i
    return number


def _dependencies(task: DagTask, number: dict[str, int]) -> list[int]:
    found: dict[int, None] = {}
    for dep in task.dependencies:
        if dep not in number:
            msg = f"task {task.key!r} depends on {dep!r}, which is not there; add it as a task"
            raise InvalidDagError(msg)
        found[number[dep]] = None
    return list(found)


def _check_numbers(task: DagTask) -> None:
    nbytes: Any = task.nbytes
    if isinstance(nbytes, bool) or not isinstance(nbytes, int | np.integer) or nbytes < 0:
        msg = f"task {task.key!r} has nbytes {nbytes!r}; expected a whole number, 0 or more"
        raise InvalidDagError(msg)
    seconds: Any = task.seconds
    number = isinstance(seconds, int | float | np.number) and not isinstance(seconds, bool)
    if not number or not 0 <= seconds < np.inf:
        msg = f"task {task.key!r} has seconds {seconds!r}; expected a finite number, 0 or more"
        raise InvalidDagError(msg)


def _check_given(task: DagTask) -> None:
    if task.given and (task.dependencies or task.seconds):
        msg = (
            f"task {task.key!r} is given, but has {len(task.dependencies)} dependencies and "
            f"{task.seconds!r} seconds; expected none and 0, or a task that is not given"
        )
        raise InvalidDagError(msg)


def _topological(given: Sequence[DagTask], dependencies: Sequence[Sequence[int]]) -> list[int]:
    """Sort so that dependencies come first; of what may stand anywhere, what was given first."""
    order: list[int] = []
    done = bytearray(len(given))  # 0: not seen, 1: being visited, 2: in the order
    for first in range(len(given)):
        stack = [first]
        while stack:
            task = stack[-1]
            if done[task] == 2:
                stack.pop()
                continue
            waiting = [dep for dep in dependencies[task] if done[dep] != 2]
            if not waiting:
                done[task] = 2
                order.append(task)
                stack.pop()
                continue
            done[task] = 1
            if any(done[dep] == 1 for dep in waiting):
                raise InvalidDagError(_circle(given, dependencies, done))
            stack += reversed(waiting)
    return order


def _circle(
    given: Sequence[DagTask], dependencies: Sequence[Sequence[int]], done: bytearray
) -> str:
    """Describe a circle among the tasks that are being visited."""
    # Each of them waits for another one that is: following those ends in a circle.
    waits: dict[int, int] = {}
    for task, state in enumerate(done):
        if state == 1:
            waits.update((task, dep) for dep in dependencies[task] if done[dep] == 1)
    task = next(iter(waits))
    path: dict[int, None] = {}
    while task not in path:
        path[task] = None
        task = waits[task]
    circle = list(path)[list(path).index(task) :]
    names = [repr(given[i].key) for i in circle]
    shown = names[:_SHOWN] + ["…"] * (len(names) > _SHOWN)
    return (
        f"task {names[0]} waits for itself ({' → '.join([*shown, names[0]])}); "
        "remove one of these dependencies"
    )


def _transposed(starts: Integers, sources: Integers, n: int) -> tuple[Integers, Integers]:
    """Turn edges around: [n + 1] starts, and the readers of each task in ascending order."""
    reader_starts = np.zeros(n + 1, np.int64)
    np.cumsum(np.bincount(sources, minlength=n), out=reader_starts[1:])
    readers = np.repeat(np.arange(n), np.diff(starts))[np.argsort(sources, kind="stable")]
    return reader_starts, readers
