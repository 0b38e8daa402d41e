"""The last choices of a policy and what there was to choose from: to tell what was passed over."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from dask_mlsched.core.events import Priority
from dask_mlsched.core.policies import Candidate, Situation

#: Choices that are kept, each of some ten to forty candidates.
LENGTH: Final = 1_000


@dataclass(frozen=True, slots=True)
class PassedOver:
    """What became of a task that could have been chosen, and was not."""

    #: How often that was so, and when it was the last time, in the events' seconds.
    times: int
    last: float
    #: For which worker that was.
    worker: int
    #: What was taken instead, with its priority as it was; None if the place was held.
    instead: Candidate | None
    #: Bytes that the task missed there, and those that the other missed, or the task waited for.
    missing_bytes: int
    missing_bytes_instead: int
    #: The task that a hold waited for; None if there was none.
    held_for: int | None


class RecentChoices:
    """Keeps situations as they were, and what the policy chose in each."""

    def __init__(self, length: int = LENGTH) -> None:
        self._choices: deque[tuple[Situation, int]] = deque(maxlen=length)

    def __len__(self) -> int:
        """Count what is kept."""
        return len(self._choices)

    def add(self, situation: Situation, choice: int) -> None:
        """Keep a choice: an index into the candidates; their number stands for HOLD."""
        self._choices.append((situation, choice))

    def passed_over(self, task: int, priority: Priority) -> PassedOver | None:
        """Tell how often a task stood among the candidates and was not taken; None if never.

        Parameters
        ----------
        priority
            Dask's, of the task: its number may have been another one's before.
        """
        return passed_over(self._choices, task, priority)


def passed_over(
    choices: Sequence[tuple[Situation, int]], task: int, priority: Priority
) -> PassedOver | None:
    """Look through choices, the newest last; see `RecentChoices.passed_over`."""
    times = 0
    newest: tuple[Situation, int, Candidate] | None = None
    for situation, choice in reversed(choices):
        for place, candidate in enumerate(situation.candidates):
            if candidate.task == task and candidate.priority[: len(priority)] == priority:
                if place != choice:
                    times += 1
                    newest = newest or (situation, choice, candidate)
                break
    return None if newest is None else _passed_over(times, *newest)


def _passed_over(times: int, situation: Situation, choice: int, candidate: Candidate) -> PassedOver:
    instead: Candidate | None = None
    held_for: int | None = None
    if choice < len(situation.candidates):
        instead = situation.candidates[choice]
        missing_instead = instead.missing_bytes
    else:
        assert situation.hold is not None
        missing_instead, held_for = situation.hold.missing_bytes, situation.hold.successor
    return PassedOver(
        times,
        situation.time,
        situation.worker,
        instead,
        candidate.missing_bytes,
        missing_instead,
        held_for,
    )
