"""The guard lets no answer of a policy through that cannot be carried out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from core.driver import Ticking
from core.scripted import Scripted
from dask_mlsched.core.guard import PolicyGuard
from dask_mlsched.core.policies import Candidate, HoldOption, Situation

TWO = tuple(Candidate(task, (0, 0, task), 5, 5, 5, root=False) for task in range(2))
WITHOUT_HOLD = Situation(0.0, 0, 100, 0, TWO, None)
WITH_HOLD = Situation(0.0, 0, 100, 0, TWO, HoldOption(1.0, 7, 0, 1.0))


def guard_of(score: Callable[[Situation], Any], *, budget: float = 1.0) -> PolicyGuard:
    return PolicyGuard(Scripted(score), Ticking(), time_budget=budget, failures=3)


def answering(*scores: object) -> PolicyGuard:
    return guard_of(lambda _: list(scores))


@pytest.mark.parametrize(
    ("scores", "expected"),
    [
        ([1.0, 2.0], 1),
        ([2.0, 1.0], 0),
        ([1.0, 1.0], 0),
        ([0, True], 1),
        ([float("-inf"), float("-inf")], 0),
        ([float("-inf"), -1e300], 1),
        (np.array([0.5, 0.75], dtype=np.float32), 1),
    ],
)
def test_the_highest_score_wins_and_the_first_of_equals(scores: Sequence[float], expected: int):
    guard = guard_of(lambda _: scores)
    assert guard.choose(WITHOUT_HOLD) == expected
    assert guard.failures == 0
    assert guard.last_failure is None


def test_the_index_after_the_candidates_is_hold():
    assert answering(0.0, 0.0, 1.0).choose(WITH_HOLD) == 2


@pytest.mark.parametrize(
    ("scores", "at", "said"),
    [
        ([1.0], WITHOUT_HOLD, "gave 1 scores for 2 actions"),
        ([], WITHOUT_HOLD, "gave 0 scores for 2 actions"),
        ([1.0, 2.0, 3.0], WITHOUT_HOLD, "gave 3 scores for 2 actions"),
        ([1.0, 2.0], WITH_HOLD, "gave 2 scores for 3 actions"),
        ([1.0, float("nan")], WITHOUT_HOLD, "gave NaN"),
        ([np.float32("nan"), 1.0], WITHOUT_HOLD, "gave NaN"),
        (["a", "b"], WITHOUT_HOLD, "not a number"),
        ([None, 1.0], WITHOUT_HOLD, "not a number"),
        ([1j, 1.0], WITHOUT_HOLD, "not a number"),
        ([10**400, 1.0], WITHOUT_HOLD, "OverflowError"),
    ],
)
def test_an_answer_that_means_nothing_is_a_failure(scores: list[Any], at: Situation, said: str):
    guard = answering(*scores)
    assert guard.choose(at) is None
    assert guard.failures == 1
    assert guard.last_failure is not None
    assert guard.last_failure.startswith("policy 'scripted' ")
    assert said in guard.last_failure


@pytest.mark.parametrize("answer", [None, 3.5, object()])
def test_an_answer_that_is_no_sequence_is_a_failure(answer: object):
    guard = guard_of(lambda _: answer)
    assert guard.choose(WITHOUT_HOLD) is None
    assert "raised TypeError" in str(guard.last_failure)


class Unordered:
    """Can be told from NaN, but not compared."""

    def __float__(self) -> float:
        return 1.0


def test_scores_that_cannot_be_compared_are_a_failure():
    guard = answering(Unordered(), Unordered())
    assert guard.choose(WITHOUT_HOLD) is None
    assert guard.failures == 1


@pytest.mark.parametrize("error", [ValueError("no"), KeyError("x"), RecursionError()])
def test_a_policy_that_raises_is_a_failure(error: Exception):
    def score(_: Situation) -> list[float]:
        raise error

    guard = guard_of(score)
    assert guard.choose(WITHOUT_HOLD) is None
    assert f"raised {type(error).__name__}" in str(guard.last_failure)


def test_an_interrupt_is_not_the_policy_s_failure():
    def score(_: Situation) -> list[float]:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        guard_of(score).choose(WITHOUT_HOLD)


def test_a_policy_over_its_time_is_a_failure_though_its_answer_is_good():
    guard = guard_of(lambda _: [0.0, 1.0], budget=0.5e-6)
    assert guard.choose(WITHOUT_HOLD) is None
    assert "took 1e-06 s; it may take 5e-07 s" in str(guard.last_failure)


def test_a_policy_is_off_after_as_many_failures_as_it_may_have():
    guard = answering()
    for failures in range(1, 4):
        assert not guard.off
        guard.choose(WITHOUT_HOLD)
        assert guard.failures == failures
    assert guard.off


def test_how_long_the_policy_took_is_known_also_when_it_failed():
    def score(_: Situation) -> list[float]:
        raise RuntimeError

    for guard in (answering(0.0, 1.0), answering(), guard_of(score)):
        guard.choose(WITHOUT_HOLD)
        assert guard.seconds == 1e-6
