"""Policies that do what a policy must not do; the scheduler finds them by their dotted path."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence

from dask_mlsched.core.policies import Situation, View


class Raises:
    """Raises, always."""

    name = "raises"
    view: View = "nearest"
    shortlist = 4

    def score(self, situation: Situation) -> Sequence[float]:
        raise RuntimeError("meant to fail")


class GivesNaN(Raises):
    """Gives NaN for the last action."""

    name = "gives-nan"

    def score(self, situation: Situation) -> Sequence[float]:
        return [*_zeros(situation)[1:], math.nan]


class Dawdles(Raises):
    """Takes longer than it may."""

    name = "dawdles"

    def score(self, situation: Situation) -> Sequence[float]:
        time.sleep(0.005)
        return _zeros(situation)


class AlwaysHolds(Raises):
    """Holds whenever it may."""

    name = "always-holds"

    def score(self, situation: Situation) -> Sequence[float]:
        return [*_zeros(situation)[1:], 1.0]


class TooFewScores(Raises):
    """Scores one action too few."""

    name = "too-few-scores"

    def score(self, situation: Situation) -> Sequence[float]:
        return _zeros(situation)[1:]


class GivesWords(Raises):
    """Gives words for numbers."""

    name = "gives-words"

    def score(self, situation: Situation) -> Sequence[float]:
        return ["high"] * len(_zeros(situation))  # type: ignore[list-item]


class NeedsArguments(Raises):
    """Cannot be made without an argument."""

    def __init__(self, argument: int) -> None:
        self.argument = argument


class HasNoScore:
    """Is no policy."""

    name = "no-policy"


class HasNoPlan(HasNoScore):
    """Says that it plans, and hears of nothing."""

    view = "planned"
    shortlist = 1

    def score(self, situation: Situation) -> list[float]:
        return _zeros(situation)


def _zeros(situation: Situation) -> list[float]:
    return [0.0] * (len(situation.candidates) + (situation.hold is not None))
