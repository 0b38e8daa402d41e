"""The decisions that a trace took: which task went to which worker, when, and what went out for it.

What a worker does with a task once it has it is not among them; that is for a simulation to find.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from dask_mlsched.core import events as ev
from dask_mlsched.core.dag import Dag
from dask_mlsched.core.measured import MeasuredGraph
from dask_mlsched.core.trace import Names, Step, Trace


@dataclass(frozen=True, slots=True)
class Sent:
    """A task that was sent to a worker."""

    #: Of the trace's DAG.
    task: int
    #: Counted from 0, in the order in which workers joined; those that left before the first task
    #: began do not count.
    worker: int
    #: The task whose end was heard of last before; None if no task had ended.
    after: int | None = None
    #: Arrays that the worker was told to evict for it, in this order.
    victims: tuple[int, ...] = ()
    #: Seconds that the slot had been held before.
    held: float = 0.0
    #: The probability with which the policy chose it; 1 where nobody said.
    propensity: float = 1.0


@dataclass(frozen=True)
class Taken:
    """All decisions of a run, in the order in which they were taken, and what they were about."""

    dag: Dag
    sent: Sequence[Sent]
    #: Tasks in the order in which their ends were heard of.
    ended: Sequence[int] = ()
    #: Results, read by no task, that were released before the last task ended. In the DAG they are
    #: wanted like others, so that a simulation keeps them.
    released: Sequence[int] = ()


class _Workers:
    """Counts workers in the order in which they join."""

    def __init__(self) -> None:
        self._place: dict[int, int] = {}
        self._joined = 0

    def place(self, number: int) -> int:
        """Return the place of the worker that has a number now."""
        return self._place[number]

    def handle(self, event: ev.WorkerJoined | ev.WorkerLeft, *, begun: bool) -> None:
        """Take in one event; who leaves before the run has begun does not count."""
        if isinstance(event, ev.WorkerJoined):
            self._place[event.worker] = self._joined  # it may have been another one's number
            self._joined += 1
        elif not begun:
            del self._place[event.worker]
            self._place = {number: place for place, number in enumerate(self._place)}
            self._joined = len(self._place)


class _Ends:
    """Which tasks have ended, by turn, and which of their arrays were released when."""

    def __init__(self) -> None:
        self.heard: int | None = None
        #: In the order in which they were heard of, of each the last time.
        self.ended: dict[int, None] = {}
        self._count = 0
        self._released: dict[int, int] = {}

    def finished(self, turn: int) -> None:
        self.heard = turn
        self.ended.pop(turn, None)
        self.ended[turn] = None
        self._released.pop(turn, None)
        self._count += 1

    def array_released(self, turn: int) -> None:
        self._released[turn] = self._count

    def released(self) -> list[int]:
        """List those whose arrays were released before the last task ended."""
        return [turn for turn, after in self._released.items() if after < self._count]


def taken(trace: Trace, name: str = "trace") -> Taken:
    """Read the decisions out of a trace, with the DAG that they were about.

    Tasks that Dask sent off by itself count as well. Of a task that was sent several times, the
    last time counts. One that never made its array is not in the DAG, nor are decisions about it.
    What an earlier run left behind, as persisted arrays are, is `given`.
    """
    graph = MeasuredGraph()
    workers = _Workers()
    rows: dict[int, Sent] = {}
    ends = _Ends()
    said: dict[int, ev.Run] = {}
    chances: dict[int, float] = {}
    for entry in trace.entries:
        if isinstance(entry, Names):
            graph.named(entry.tasks, entry.prefixes)
        if not isinstance(entry, Step):
            continue
        graph.handle(entry.event)
        match entry.event:
            case ev.WorkerJoined() | ev.WorkerLeft():
                workers.handle(entry.event, begun=bool(rows))
            case ev.TaskStarted(task=task, worker=worker):
                run, turn = said.pop(task, None), graph.turn(task)
                rows.pop(turn, None)
                rows[turn] = Sent(
                    turn,
                    workers.place(worker),
                    ends.heard,
                    tuple(graph.turn(array) for array in run.evict) if run else (),
                    run.held_seconds if run else 0.0,
                    chances.pop(task, 1.0),
                )
            case ev.TaskFinished(task=task):
                ends.finished(graph.turn(task))
            case ev.ArrayReleased(task=task):
                ends.array_released(graph.turn(task))
        for each in entry.instructions:
            if isinstance(each, ev.Run):
                said[each.task] = each
        for choice in entry.decisions:
            candidates = choice.situation.candidates
            if choice.chosen is not None and choice.chosen < len(candidates):
                chances[candidates[choice.chosen].task] = choice.propensity or 1.0
    dag = graph.dag(name, estimate=False, as_run=True)
    place = {key: at for at, key in enumerate(dag.keys)}
    number = {turn: place[key] for turn, key in enumerate(graph.keys()) if key in place}
    return Taken(
        dag,
        [
            replace(
                each,
                task=number[turn],
                after=None if each.after is None else number[each.after],
                victims=tuple(number[array] for array in each.victims if array in number),
            )
            for turn, each in rows.items()
            if turn in number
        ],
        [number[turn] for turn in ends.ended if turn in number],
        _results(dag, (number[turn] for turn in ends.released() if turn in number)),
    )


def _results(dag: Dag, tasks: Iterable[int]) -> list[int]:
    return [task for task in tasks if not len(dag.dependents(task))]
