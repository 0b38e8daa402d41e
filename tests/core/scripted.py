"""A policy that does what a test says, and remembers what it was asked."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from dask_mlsched.core.policies import Situation, View


def first(situation: Situation) -> list[float]:
    """Run the first in Dask's order."""
    return [0.0] * len(situation.candidates) + [-1.0] * (situation.hold is not None)


def hold(situation: Situation) -> list[float]:
    """Hold whenever that may be."""
    return [0.0] * len(situation.candidates) + [1.0] * (situation.hold is not None)


class Scripted:
    """Scores by a function.

    Parameters
    ----------
    score
        What to answer; `first` if not given.
    view, shortlist
        What to choose from.
    """

    name = "scripted"

    def __init__(
        self,
        score: Callable[[Situation], Any] = first,
        view: View = "nearest",
        shortlist: int = 32,
    ) -> None:
        self._score = score
        self.view = view
        self.shortlist = shortlist
        #: What it was asked, in order.
        self.situations: list[Situation] = []

    def score(self, situation: Situation) -> Sequence[float]:
        self.situations.append(situation)
        answer: Sequence[float] = self._score(situation)
        return answer
