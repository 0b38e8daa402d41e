"""The decisions that a trace took: which task went to which worker, when, and what went out for it.

What a worker does with a task once it has it is not among them; that is for a simulation to find.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dask_mlsched.core import events as ev
from dask_mlsched.core.dag import Dag
from dask_mlsched.core.measured import MeasuredGraph
from dask_mlsched.core.trace import Names, Step, Trace


@dataclass(frozen=True, slots=True)
class Sent:
    """A task that was sent to a worker."""

    #: Of the trace's DAG.
    task: int
    #: Counted from 0, in the order in which workers joined.
    worker: int
    #: The task whose end was heard of last before; None if no task had ended.
    after: int | None = None
    #: Arrays that the worker was told to evict for it, in this order.
    victims: tuple[int, ...] = ()


@dataclass(frozen=True)
class Taken:
    """All decisions of a run, in the order in which they were taken, and what they were about."""

    dag: Dag
    sent: Sequence[Sent]


def taken(trace: Trace, name: str = "trace") -> Taken:
    """Read the decisions out of a trace, with the DAG that they were about.

    Tasks that Dask sent off by itself count as well. Of a task that was sent several times, the
    last time counts. One that never made its array is not in the DAG, nor are decisions about it.
    """
    graph = MeasuredGraph()
    workers: dict[int, int] = {}
    joined = 0
    rows: dict[int, tuple[int, int | None, tuple[int, ...]]] = {}
    heard: int | None = None
    hints: dict[int, tuple[int, ...]] = {}
    for entry in trace.entries:
        if isinstance(entry, Names):
            graph.named(entry.tasks, entry.prefixes)
        if not isinstance(entry, Step):
            continue
        graph.handle(entry.event)
        match entry.event:
            case ev.WorkerJoined(worker=worker):
                workers[worker] = joined  # the number may have been another worker's before
                joined += 1
            case ev.TaskStarted(task=task, worker=worker):
                victims = tuple(graph.turn(array) for array in hints.pop(task, ()))
                turn = graph.turn(task)
                rows.pop(turn, None)
                rows[turn] = (workers[worker], heard, victims)
            case ev.TaskFinished(task=task):
                heard = graph.turn(task)
        for said in entry.instructions:
            if isinstance(said, ev.Run):
                hints[said.task] = said.evict
    dag = graph.dag(name, estimate=False)
    place = {key: at for at, key in enumerate(dag.keys)}
    number = {turn: place[key] for turn, key in enumerate(graph.keys()) if key in place}
    return Taken(
        dag,
        [
            Sent(
                number[turn],
                worker,
                None if after is None else number[after],
                tuple(number[each] for each in victims if each in number),
            )
            for turn, (worker, after, victims) in rows.items()
            if turn in number
        ],
    )
