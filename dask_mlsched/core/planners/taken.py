"""Takes the decisions of a trace again: each worker gets the same tasks in the same order.

A worker waits for its next task until that is ready, and until what was heard of before it was
sent has been heard of again: so a slot that was held is held. Two things can go otherwise than they
did: tasks that the record does not know, which fill the slots of workers
that wait, and tasks that somebody sent out of turn, which are left out when their turn comes. Both
are counted.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Self

from dask_mlsched.core.planners.planner import BasePlanner
from dask_mlsched.core.taken import Sent


@dataclass(slots=True)
class Differences:
    """How often it went otherwise than it did in the record."""

    #: Tasks that the record does not have.
    unknown: int = 0
    #: Tasks that went to another worker, or before others of the same worker.
    out_of_turn: int = 0


class Taken(BasePlanner):
    """Proposes for each worker the task that it got next.

    Parameters
    ----------
    sent
        The record; its numbers of tasks and workers are the controller's.
    """

    name = "taken"
    even_if_fits = True
    #: The victims of the record go with the tasks; see `simulator.simulate`.
    eviction = "lru"

    #: Shared by the planners of all user priorities.
    differences: Differences

    def __init__(self, sent: Iterable[Sent]) -> None:
        self._record = tuple(sent)
        self.differences = Differences()
        #: worker -> what it gets, in order; all tasks in them, and those that were sent and ended.
        self._turns: dict[int, deque[Sent]] = {}
        for each in self._record:
            self._turns.setdefault(each.worker, deque()).append(each)
        self._known = {each.task for each in self._record}
        self._sent: set[int] = set()
        self._ended: set[int | None] = {None}
        #: Those that are parked, and those of them that have no turn.
        self._parked: dict[int, None] = {}
        self._unknown: dict[int, None] = {}

    def fresh(self) -> Self:
        """Make another planner of the same record."""
        made = type(self)(self._record)
        made.differences = self.differences
        return made

    def propose(self, worker: int, now: float) -> Sequence[int]:
        """Name the worker's next task; while it is not ready, one that has no turn."""
        turns = self._turns.get(worker, deque())
        while turns and turns[0].task in self._sent and turns[0].task not in self._parked:
            turns.popleft()
        if turns and turns[0].task in self._parked and turns[0].after in self._ended:
            return [turns[0].task]
        return [next(iter(self._unknown))] if self._unknown else []

    def task_ready(self, task: int) -> None:
        """Keep the task for its turn."""
        self._parked[task] = None
        if task not in self._known:
            self._unknown[task] = None

    def task_withdrawn(self, task: int) -> None:
        """Forget that the task was ready."""
        self._parked.pop(task, None)
        self._unknown.pop(task, None)

    def task_sent(self, task: int, worker: int) -> None:
        """Go on to the worker's next task."""
        turns = self._turns.get(worker, deque())
        if task not in self._known:
            self.differences.unknown += 1
        elif turns and turns[0].task == task:
            turns.popleft()
        else:
            self.differences.out_of_turn += 1
        self._sent.add(task)
        self.task_withdrawn(task)

    def task_ended(self, task: int, worker: int) -> None:
        """Let those go that waited for it."""
        self._ended.add(task)

    def worker_left(self, worker: int) -> None:
        """Let any worker have what this one would have got."""
        for each in self._turns.pop(worker, ()):
            self._known.discard(each.task)
            if each.task in self._parked:
                self._unknown[each.task] = None
