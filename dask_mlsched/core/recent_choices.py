"""The last choices of a policy and what there was to choose from: to tell what was passed over."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Final

from dask_mlsched.core.policies import Situation

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
    #: What was taken instead; None if the place was held.
    instead: int | None
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

    def passed_over(self, task: int, since: float) -> PassedOver | None:
        """Tell how often a task stood among the candidates and was not taken; None if never.

        Parameters
        ----------
        since
            Looks at no choice before this: a number may have been another task's.
        """
        times = 0
        newest: tuple[Situation, int] | None = None
        for situation, choice in reversed(self._choices):
            if situation.time < since:
                break
            places = [candidate.task for candidate in situation.candidates]
            if task in places and (choice == len(places) or places[choice] != task):
                times += 1
                newest = newest or (situation, choice)
        return None if newest is None else _passed_over(task, times, *newest)


def _passed_over(task: int, times: int, situation: Situation, choice: int) -> PassedOver:
    candidates = situation.candidates
    missing = next(each.missing_bytes for each in candidates if each.task == task)
    if choice < len(candidates):
        chosen = candidates[choice]
        instead, missing_instead, held_for = chosen.task, chosen.missing_bytes, None
    else:
        assert situation.hold is not None
        instead, missing_instead = None, situation.hold.missing_bytes
        held_for = situation.hold.successor
    return PassedOver(
        times, situation.time, situation.worker, instead, missing, missing_instead, held_for
    )
