"""What a controller was told and what it said, as it was: nothing is copied, encoded or named.

A recording (`recorder`) costs a tenth of a millisecond a task, too much to be on where nobody asked
for it. This costs a microsecond, and is enough to simulate the run again once it is over. It is
bounded: of a run that is longer, only that much is told.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from dask_mlsched.core import events as ev
from dask_mlsched.core.graph import TaskGraph, TaskState

if TYPE_CHECKING:
    from dask_mlsched.core.books import Books

#: Events of one run that are kept: of some 40,000 tasks, in some 50 MB.
MOST_EVENTS: Final = 300_000

#: Events that say nothing of what ran where; there are many of them.
_NOT_KEPT: Final = (ev.TaskReady, ev.TaskWithdrawn, ev.ResidencySeen)

#: An event, and what came of it.
Entry = tuple[ev.Event, Sequence[ev.Instruction]]


@dataclass(frozen=True, slots=True)
class LoggedRun:
    """One run that is over."""

    entries: Sequence[Entry]
    #: Tasks that began.
    begun: int
    #: Whether there was more than could be kept.
    cut: bool
    #: Seconds that a decision took, at the median; 0 if nobody measured that.
    decision_seconds: float = 0.0


class RunLog:
    """Takes one run after the other down."""

    def __init__(self, limit: int = MOST_EVENTS) -> None:
        self._limit = limit
        self._entries: list[Entry] = []
        self._cut = False
        #: Tasks that have begun in this run.
        self.begun = 0

    def __len__(self) -> int:
        """Count what is kept."""
        return len(self._entries)

    def add(self, event: ev.Event, instructions: Sequence[ev.Instruction]) -> None:
        """Take an event down, with what came of it."""
        kind = type(event)
        if kind in _NOT_KEPT or (kind is ev.Decide and not instructions):
            return
        self.begun += kind is ev.TaskStarted
        if len(self._entries) < self._limit:
            # What comes back for most events is an empty list of their own.
            self._entries.append((event, instructions or ()))
        else:
            self._cut = True

    def run(self) -> LoggedRun:
        """Return the run so far."""
        return LoggedRun(self._entries, self.begun, self._cut)

    def begin_run(self, books: Books, now: float) -> None:
        """Begin the next run, with all that is there now; nothing may be under way."""
        self._entries = [(event, ()) for event in restated(books, now)]
        self._cut = False
        self.begun = 0


def restated(books: Books, now: float) -> list[ev.Event]:
    """Tell again what there is: workers, tasks, arrays. Nothing may be under way."""
    events: list[ev.Event] = []
    for worker, device in books.devices.items():
        limit = device.residency.limit
        events.append(ev.WorkerJoined(now, worker, device.threads, limit))
        if device.paused:
            events.append(ev.WorkerPaused(now, worker))
    graph = books.graph
    known = _dependencies_first(graph)
    specs = tuple(
        ev.TaskSpec(task, graph.dependencies[task], graph.priority[task], graph.prefix[task])
        for task in known
    )
    if specs:
        events.append(ev.GraphArrived(now, specs))
    events += [
        ev.ArrayAppeared(now, task, graph.nbytes[task], tuple(graph.holders[task]))
        for task in known
        if graph.state[task] == TaskState.COMPUTED
    ]
    return events


def _dependencies_first(graph: TaskGraph) -> list[int]:
    """List the known tasks, each after those that it reads: the order of numbers tells nothing."""
    listed: dict[int, None] = {}
    for root in range(len(graph)):
        stack = [root] if graph.known(root) else []
        while stack:
            task = stack[-1]
            missing = [dep for dep in graph.dependencies[task] if dep not in listed]
            if missing and task not in listed:
                stack += missing
            else:
                stack.pop()
                listed[task] = None
    return list(listed)
