"""A whole DAG with sizes and times, known beforehand: what a simulation runs.

`TaskGraph` is what the controller has learned of a graph so far; a `Dag` is all there is to know.
"""

from __future__ import annotations

import math
import reprlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from dask_mlsched.core.topology import CircleError, row_starts, topological, transposed

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

    @property
    def given_inputs(self) -> Booleans:
        """Which arrays are there from the beginning, and read: [tasks]."""
        is_given_input: Booleans = self.given & (np.diff(self.reader_starts) > 0)
        return is_given_input

    def tasks(self) -> Iterator[DagTask]:
        """Yield the tasks one by one, as `build` takes them."""
        starts = self.starts.tolist()
        sources = [self.keys[source] for source in self.sources.tolist()]
        for key, start, stop, nbytes, seconds, prefix, wanted, given in zip(
            self.keys,
            starts[:-1],
            starts[1:],
            self.nbytes.tolist(),
            self.seconds.tolist(),
            self.prefix.tolist(),
            self.wanted.tolist(),
            self.given.tolist(),
            strict=True,
        ):
            prefix_name = self.prefixes[prefix]
            deps = tuple(sources[start:stop])
            yield DagTask(key, deps, nbytes, seconds, prefix_name, wanted, given)

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
        rows = list(tasks)
        return cls.from_columns(
            name,
            keys=[task.key for task in rows],
            dependencies=[task.dependencies for task in rows],
            nbytes=[task.nbytes for task in rows],
            seconds=[task.seconds for task in rows],
            prefixes=[task.prefix for task in rows],
            wanted=[task.wanted for task in rows],
            given=[task.given for task in rows],
        )

    @classmethod
    def from_columns(
        cls,
        name: str,
        *,
        keys: Sequence[str],
        dependencies: Sequence[Sequence[str]],
        nbytes: Sequence[int],
        seconds: Sequence[float],
        prefixes: Sequence[str],
        wanted: Sequence[bool | None],
        given: Sequence[bool],
    ) -> Dag:
        """Do what `build` does with the fields of all tasks, each [n]: faster for a million.

        Raises
        ------
        InvalidDagError
            As `build` does.
        """
        n = len(keys)
        counts, sources = _edges(keys, dependencies)
        sizes, times = _nbytes(keys, nbytes), _seconds(keys, seconds)
        is_given = np.array(given, np.bool_)
        _check_given(keys, is_given, counts, times)
        try:
            order = topological(counts, sources)
        except CircleError as error:
            raise InvalidDagError(_circle(keys, error.circle)) from None
        place = np.empty(n, np.int64)
        place[order] = np.arange(n)
        # Both ends of an edge as one number: sorted, and each edge once.
        edges = np.unique(np.repeat(place, counts) * n + place[sources])
        sources = edges % max(n, 1)
        starts = row_starts(edges // max(n, 1), n)
        reader_starts, readers = transposed(starts, sources)
        is_read = np.diff(reader_starts) > 0
        ordered = order.tolist()
        names: dict[str, int] = {}
        prefix = [names.setdefault(prefixes[i], len(names)) for i in ordered]
        keeps = [wanted[i] for i in ordered]
        return cls(
            name=name,
            keys=tuple([keys[i] for i in ordered]),
            prefixes=tuple(names),
            prefix=np.array(prefix, np.int64),
            starts=starts,
            sources=sources,
            reader_starts=reader_starts,
            readers=readers,
            nbytes=sizes[order],
            seconds=times[order],
            wanted=np.array(
                [
                    not read if keep is None else keep
                    for keep, read in zip(keeps, is_read.tolist(), strict=True)
                ],
                np.bool_,
            ),
            given=is_given[order],
        )


def _edges(keys: Sequence[str], dependencies: Sequence[Sequence[str]]) -> tuple[Integers, Integers]:
    """Count each task's dependencies, [n], and number all of them one after the other, [m]."""
    number = dict(zip(keys, range(len(keys)), strict=True))
    if len(number) < len(keys):
        raise InvalidDagError(_repeated(keys))
    counts = np.fromiter(map(len, dependencies), np.int64, len(keys))
    named = chain.from_iterable(dependencies)
    try:
        sources = np.fromiter(map(number.__getitem__, named), np.int64, counts.sum())
    except KeyError:
        raise InvalidDagError(_unknown(keys, dependencies, number)) from None
    return counts, sources


def _repeated(keys: Sequence[str]) -> str:
    again = next(key for key, count in Counter(keys).items() if count > 1)
    return f"task {again!r} is there twice; give every task a key of its own"


def _unknown(
    keys: Sequence[str], dependencies: Sequence[Sequence[str]], number: Mapping[str, int]
) -> str:
    key, dep = next(
        (key, dep)
        for key, deps in zip(keys, dependencies, strict=True)
        for dep in deps
        if dep not in number
    )
    return f"task {key!r} depends on {dep!r}, which is not there; add it as a task"


def _nbytes(keys: Sequence[str], values: Sequence[int]) -> Integers:
    """Check sizes all at once; one by one only where there may be a mistake to name."""
    if set(map(type, values)) <= {int}:
        try:
            array = np.array(values, np.int64)
        except OverflowError:
            pass
        else:
            if np.all(array >= 0):
                return array
    return np.array([_whole(key, value) for key, value in zip(keys, values, strict=True)], np.int64)


def _whole(key: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 0:
        expected = "a whole number, 0 or more"
    elif value >= 2**63:
        expected = "less than 2**63"
    else:
        return int(value)
    msg = f"task {key!r} has nbytes {reprlib.repr(value)}; expected {expected}"
    raise InvalidDagError(msg)


def _seconds(keys: Sequence[str], values: Sequence[float]) -> Floats:
    """Check times all at once; one by one only where there may be a mistake to name."""
    if set(map(type, values)) <= {int, float}:
        try:
            array = np.array(values, np.float64)
        except OverflowError:
            pass
        else:
            if np.all(np.isfinite(array) & (array >= 0)):
                return array
    return np.array(
        [_finite(key, value) for key, value in zip(keys, values, strict=True)], np.float64
    )


def _finite(key: str, value: Any) -> float:
    number = math.nan
    if isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool):
        try:
            number = float(value)
        except OverflowError:
            number = math.inf
    if 0 <= number < math.inf:
        return number
    msg = f"task {key!r} has seconds {reprlib.repr(value)}; expected a finite number, 0 or more"
    raise InvalidDagError(msg)


def _check_given(keys: Sequence[str], given: Booleans, counts: Integers, seconds: Floats) -> None:
    wrong = np.flatnonzero(given & ((counts > 0) | (seconds > 0)))
    if len(wrong):
        task = int(wrong[0])
        msg = (
            f"task {keys[task]!r} is given, but has {counts[task]} dependencies and "
            f"{float(seconds[task])!r} seconds; expected none and 0, or a task that is not given"
        )
        raise InvalidDagError(msg)


def _circle(keys: Sequence[str], circle: Sequence[int]) -> str:
    """Describe tasks of which each waits for the next, and the last for the first."""
    names = [repr(keys[task]) for task in circle]
    shown = names[:_SHOWN] + ["…"] * (len(names) > _SHOWN)
    return (
        f"task {names[0]} waits for itself ({' → '.join([*shown, names[0]])}); "
        "remove one of these dependencies"
    )
