"""A compiled run that takes the decisions of a recorded one again, and stops at each.

Whenever the compiled run asks about a slot, the record says what its worker got next. If the slot
was held for that, and what was heard of before it was sent has not been heard of yet, HOLD is
taken. If it is ready, it is taken, though the shortlist may not have it: such a decision is
*beside* the candidates. If it is not ready, the run has gone *astray*: it asks what was never
asked. Then HOLD waits for it where it may, or else the candidate that comes first in the record
goes. Both are counted, and nothing is to be learnt from them.

Where Dask decided alone, tasks queue on their workers, and what counts is the order in which they
ended.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final, Literal, TypeAlias

import numpy as np

from dask_mlsched.core.calibration import Calibration
from dask_mlsched.core.compiled.rollout import EVICTIONS, Decision, Figures, Rollout
from dask_mlsched.core.graph import TaskState
from dask_mlsched.core.network import Network
from dask_mlsched.core.taken import Sent

#: How a decision was taken: as recorded, beside its candidates, or after the run went astray.
Course: TypeAlias = Literal["recorded", "beside", "astray"]

_PARKED: Final = int(TaskState.PARKED)
_RUNNING: Final = int(TaskState.RUNNING)
_COMPUTED: Final = int(TaskState.COMPUTED)


@dataclass(frozen=True, slots=True)
class Choice:
    """A decision that was taken again."""

    decision: Decision
    #: The action, as in `Decision`; None if it is none of those.
    taken: int | None
    course: Course
    #: With which the recorded policy took it; 1 where nobody said.
    propensity: float = 1.0


class Walk:
    """Goes through a recorded run once.

    Parameters
    ----------
    calibration
        The recorded run.
    network
        Would decide, if it were asked; it does in the copies that somebody makes of `rollout`.
    """

    #: Stands at the decision that was handed out last.
    rollout: Rollout
    #: Decisions so far, by how they were taken.
    courses: Counter[Course]

    def __init__(self, calibration: Calibration, network: Network) -> None:
        dag, settings = calibration.taken.dag, calibration.settings
        if settings.eviction not in EVICTIONS:
            # What knows the order beforehand comes next to knowing who is used next.
            settings = replace(settings, eviction="next-use")
        # The DAG of a trace stands in Dask's order.
        order = np.arange(len(dag))
        self.rollout = Rollout(dag, calibration.machine, settings, order, network)
        self.courses = Counter()
        self._tasks = self.rollout.arrays["tasks"]
        self._record = _in_order(calibration)
        #: task -> its place in the record.
        self._turn = {each.task: turn for turn, each in enumerate(self._record)}
        #: worker -> what it gets, in order.
        self._turns = {worker: deque[Sent]() for worker in range(calibration.machine.workers)}
        for each in self._record:
            self._turns[each.worker].append(each)

    def __iter__(self) -> Iterator[Choice]:
        """Yield each decision while the run stands there, and take it."""
        number = 0
        while (decision := self.rollout.until(number)) is not None:
            following = self._following(decision.worker)
            choice = self._choose(decision, following)
            yield choice
            number += 1
            self.courses[choice.course] += 1
            if choice.taken is not None:
                self.rollout.take(choice.taken)
            else:
                assert following is not None  # it is beside the candidates
                self.rollout.arrays["candidates"][0] = following.task
                self.rollout.take(0)

    def figures(self) -> Figures:
        """Return what the run has come to so far."""
        return self.rollout.figures()

    def _following(self, worker: int) -> Sent | None:
        """Return what a worker got next that it has not got yet."""
        turns = self._turns[worker]
        while turns and (
            self._tasks["state"][turns[0].task] == _RUNNING or self._heard(turns[0].task)
        ):
            turns.popleft()
        return turns[0] if turns else None

    def _choose(self, decision: Decision, following: Sent | None) -> Choice:
        hold = len(decision.candidates)
        if following is not None:
            if decision.may_hold and following.held and not self._heard(following.after):
                return Choice(decision, hold, "recorded")
            if following.task in decision.candidates:
                place = decision.candidates.index(following.task)
                return Choice(decision, place, "recorded", following.propensity)
            if self._tasks["state"][following.task] == _PARKED:
                return Choice(decision, None, "beside", following.propensity)
            if decision.may_hold:
                return Choice(decision, hold, "astray")
        last = len(self._record)
        places = [self._turn.get(task, last) for task in decision.candidates]
        return Choice(decision, places.index(min(places)), "astray")

    def _heard(self, task: int | None) -> bool:
        # An array that is dead already was made as well.
        return (
            task is None
            or bool(self._tasks["state"][task] == _COMPUTED)
            or bool(self._tasks["released"][task])
        )


def _in_order(calibration: Calibration) -> list[Sent]:
    taken = calibration.taken
    if not calibration.stock:
        return list(taken.sent)
    ended = {task: place for place, task in enumerate(taken.ended)}
    return sorted(taken.sent, key=lambda each: ended.get(each.task, len(ended)))
