"""The graph of a run with the sizes and times that were measured, from its events."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from dask_mlsched.core import events as ev
from dask_mlsched.core.dag import Dag, DagTask


@dataclass(eq=False, slots=True)
class _Task:
    """A task from when it became known until it was forgotten; its number may be used again."""

    key: str
    dependencies: dict[_Task, None]
    priority: ev.Priority
    prefix: int
    #: What was measured last; None before.
    nbytes: int | None = None
    seconds: float | None = None


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
            case ev.ArrayAppeared(task=number, nbytes=nbytes):
                self._known[number].nbytes = nbytes
            case ev.TaskForgotten(task=number):
                del self._known[number]

    def _add(self, spec: ev.TaskSpec) -> None:
        dependencies = dict.fromkeys(self._known[dep] for dep in spec.dependencies)
        key = self._key.get(spec.task, str(spec.task))
        task = _Task(key, dependencies, spec.priority, spec.prefix)
        self._known[spec.task] = task
        self._tasks.append(task)

    def dag(self, name: str, *, estimate: bool) -> Dag:
        """Build the DAG of all tasks that ever were, in Dask's order; see `Trace.dag`."""
        nbytes, seconds = self._means()
        keys = self._unique_keys()
        there = [task for task in self._tasks if estimate or task.nbytes is not None]
        kept = set(there)
        there.sort(key=lambda task: task.priority)
        return Dag.build(
            name,
            [
                DagTask(
                    keys[task],
                    # A dependency without figures came after the task had run.
                    [keys[dep] for dep in task.dependencies if dep in kept],
                    task.nbytes if task.nbytes is not None else round(nbytes.of(task.prefix)),
                    0.0 if given else _seconds(task, seconds),
                    self._prefix.get(task.prefix, str(task.prefix)),
                    given=given,
                )
                for task in there
                for given in [seconds.lacks(task.prefix) and _came_from_nowhere(task)]
            ],
        )

    def _means(self) -> tuple[_Means, _Means]:
        nbytes, seconds = _Means(), _Means()
        for task in self._tasks:
            if task.nbytes is not None and not _came_from_nowhere(task):
                nbytes.add(task.prefix, task.nbytes)
            if task.seconds is not None:
                seconds.add(task.prefix, task.seconds)
        return nbytes, seconds

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


class _Means:
    """The mean of a figure per prefix, and over all tasks."""

    def __init__(self) -> None:
        self._sums: dict[int, tuple[float, int]] = {}

    def add(self, prefix: int, figure: float) -> None:
        total, count = self._sums.get(prefix, (0.0, 0))
        self._sums[prefix] = total + figure, count + 1

    def lacks(self, prefix: int) -> bool:
        return prefix not in self._sums

    def of(self, prefix: int) -> float:
        """Return the prefix's mean; that of all if there is none; 0 if nothing was measured."""
        if prefix in self._sums:
            total, count = self._sums[prefix]
        else:
            sums = self._sums.values()
            total, count = sum(each for each, _ in sums), sum(each for _, each in sums)
        return total / count if count else 0.0


def _came_from_nowhere(task: _Task) -> bool:
    """Tell whether an array appeared that no task of the run made, and that reads nothing."""
    return task.nbytes is not None and task.seconds is None and not task.dependencies


def _seconds(task: _Task, means: _Means) -> float:
    return means.of(task.prefix) if task.seconds is None else task.seconds
