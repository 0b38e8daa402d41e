"""The graph of a run with the sizes and times that were measured, from its events."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import chain
from typing import Final

from dask_mlsched.core import events as ev
from dask_mlsched.core.costs import ComputeFit, fit_compute
from dask_mlsched.core.dag import Dag, DagTask

#: Stands for all prefixes together.
_ALL: Final = -1


@dataclass(eq=False, slots=True)
class _Task:
    """A task from when it became known until it was forgotten; its number may be used again."""

    key: str
    #: How many tasks were known before it.
    turn: int
    dependencies: dict[_Task, None]
    priority: ev.Priority
    prefix: int
    #: What was measured last; None before.
    nbytes: int | None = None
    seconds: float | None = None
    #: Whether a worker holds its array.
    held: bool = False


class MeasuredGraph:
    """Puts a graph together while its events come by."""

    def __init__(self) -> None:
        self._key: dict[int, str] = {}
        self._prefix: dict[int, str] = {}
        #: By number, those that are known now; and all that ever were.
        self._known: dict[int, _Task] = {}
        self._tasks: list[_Task] = []

    def named(self, tasks: Iterable[tuple[int, str]], prefixes: Iterable[tuple[int, str]]) -> None:
        """Take in what the numbers of tasks and prefixes to come stand for."""
        self._key.update(tasks)
        self._prefix.update(prefixes)

    def handle(self, event: ev.Event) -> None:
        """Take in one event; those that say nothing of the graph are passed over."""
        match event:
            case ev.GraphArrived(tasks=specs):
                for spec in specs:
                    self._add(spec)
            case ev.DependenciesAdded(task=number, dependencies=dependencies, priority=priority):
                task = self._known[number]
                task.dependencies.update((self._known[dep], None) for dep in dependencies)
                task.priority = priority
            case ev.TaskFinished(task=number, nbytes=nbytes, seconds=seconds):
                # A worker whose clock is set back may report less than nothing.
                task = self._known[number]
                task.nbytes, task.seconds = nbytes, max(0.0, seconds)
                task.held = True
            case ev.ArrayAppeared(task=number, nbytes=nbytes):
                task = self._known[number]
                task.nbytes, task.held = nbytes, True
            case ev.ArrayReleased(task=number):
                self._known[number].held = False
            case ev.TaskForgotten(task=number):
                del self._known[number]

    def turn(self, number: int) -> int:
        """Return the place, among all tasks that ever were, of the one that has a number now."""
        return self._known[number].turn

    def keys(self) -> list[str]:
        """List the keys of all tasks that ever were, as `dag` has them."""
        keys = self._unique_keys()
        return [keys[task] for task in self._tasks]

    def _add(self, spec: ev.TaskSpec) -> None:
        dependencies = dict.fromkeys(self._known[dep] for dep in spec.dependencies)
        key = self._key.get(spec.task, str(spec.task))
        task = _Task(key, len(self._tasks), dependencies, spec.priority, spec.prefix)
        self._known[spec.task] = task
        self._tasks.append(task)

    def dag(self, name: str, *, estimate: bool, as_run: bool = False) -> Dag:
        """Build the DAG of all tasks that ever were, in Dask's order; see `Trace.dag`.

        Parameters
        ----------
        as_run
            Whether what was there without being computed in this run is `given`, whatever it was
            made of: otherwise only what is not known to be made of anything.
        """
        nbytes, seconds = self._estimates()
        keys = self._unique_keys()
        kept_by_client = self._kept_by_client()
        there = [task for task in self._tasks if estimate or task.nbytes is not None]
        kept = set(there)
        there.sort(key=lambda task: task.priority)
        return Dag.build(
            name,
            [
                DagTask(
                    keys[task],
                    # A dependency without figures came after the task had run.
                    [] if given else [keys[dep] for dep in task.dependencies if dep in kept],
                    nbytes(task),
                    0.0 if given else seconds(task),
                    self._prefix.get(task.prefix, str(task.prefix)),
                    wanted=True if task in kept_by_client else None,
                    given=given,
                )
                for task in there
                for given in [
                    _was_there(task)
                    if as_run
                    else seconds.lacks(task.prefix) and _came_from_nowhere(task)
                ]
            ],
        )

    def _estimates(self) -> tuple[_Nbytes, _Seconds]:
        nbytes = _Nbytes()
        for task in self._tasks:
            if task.nbytes is not None and not _came_from_nowhere(task):
                nbytes.add(task.prefix, task.nbytes)
        return nbytes, _Seconds(self._tasks, nbytes)

    def _kept_by_client(self) -> set[_Task]:
        """Find the arrays that are still there although all that read them have run."""
        kept = {task for task in self._tasks if task.held}
        for task in self._tasks:
            if task.nbytes is None:
                kept.difference_update(task.dependencies)
        return kept

    def _unique_keys(self) -> dict[_Task, str]:
        taken: dict[str, int] = {}
        keys = {}
        for task in self._tasks:
            key = task.key
            while key in taken:
                taken[task.key] += 1
                key = f"{task.key} ({taken[task.key]})"
            taken[key] = 1
            keys[task] = key
        return keys


class _Nbytes:
    """Sizes: as measured, or else the mean of the prefix."""

    def __init__(self) -> None:
        self._sums: dict[int, tuple[float, int]] = {}

    def add(self, prefix: int, figure: float) -> None:
        total, count = self._sums.get(prefix, (0.0, 0))
        self._sums[prefix] = total + figure, count + 1

    def __call__(self, task: _Task) -> int:
        """Return the mean of all if the prefix has none; 0 if nothing was measured."""
        if task.nbytes is not None:
            return task.nbytes
        if task.prefix in self._sums:
            total, count = self._sums[task.prefix]
        else:
            sums = self._sums.values()
            total, count = sum(each for each, _ in sums), sum(each for _, each in sums)
        return round(total / count) if count else 0

    def needed(self, task: _Task) -> int:
        """Sum what a task reads and makes."""
        return self(task) + sum(map(self, task.dependencies))


class _Seconds:
    """Times: as measured, or else fitted to the bytes that tasks of the prefix read and make."""

    def __init__(self, tasks: Iterable[_Task], nbytes: _Nbytes) -> None:
        self._nbytes = nbytes
        samples: dict[int, list[tuple[int, float]]] = {}
        for task in tasks:
            if task.seconds is not None:
                figures = (nbytes.needed(task), task.seconds)
                samples.setdefault(task.prefix, []).append(figures)
        self._samples = samples
        self._fits: dict[int, ComputeFit] = {}

    def lacks(self, prefix: int) -> bool:
        return prefix not in self._samples

    def __call__(self, task: _Task) -> float:
        """Return the fit to all tasks if there is none of the prefix; 0 without any."""
        if task.seconds is not None:
            return task.seconds
        if not self._samples:
            return 0.0
        return self._fit(task.prefix).seconds(self._nbytes.needed(task))

    def _fit(self, prefix: int) -> ComputeFit:
        if prefix not in self._samples:
            prefix = _ALL
            self._samples.setdefault(_ALL, [*chain.from_iterable(self._samples.values())])
        if prefix not in self._fits:
            nbytes, seconds = zip(*self._samples[prefix], strict=True)
            self._fits[prefix] = fit_compute(nbytes, seconds)
        return self._fits[prefix]


def _was_there(task: _Task) -> bool:
    """Tell whether an array appeared that no task of the run made."""
    return task.nbytes is not None and task.seconds is None


def _came_from_nowhere(task: _Task) -> bool:
    """Tell whether such an array reads nothing, either."""
    return _was_there(task) and not task.dependencies
