"""What was passed over: looked up in the last choices, whatever became of the numbers since."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from core.driver import VirtualDask
from core.graphs import gemm
from core.scripted import Scripted, first, hold
from dask_mlsched.core.policies import Candidate, HoldOption, Situation
from dask_mlsched.core.recent_choices import LENGTH, PassedOver, RecentChoices

A = Candidate(1, (0, 0, 1, 0), 30, 0, 5, root=False)
B = Candidate(2, (0, 0, 2, 0), 10, 20, 5, root=False)
AT = Situation(1.0, 7, 100, 50, (A, B), None)
HOLDING = replace(AT, time=2.0, hold=HoldOption(3.0, 9, 4, 0.5))


def chosen(*choices: tuple[Situation, int]) -> RecentChoices:
    recent = RecentChoices()
    for situation, choice in choices:
        recent.add(situation, choice)
    return recent


def test_what_was_taken_was_not_passed_over():
    assert chosen((AT, 0)).passed_over(1, (0, 0, 1)) is None


def test_a_task_is_passed_over_for_the_one_that_is_taken():
    assert chosen((AT, 1)).passed_over(1, (0, 0, 1)) == PassedOver(1, 1.0, 7, B, 30, 10, None)


def test_a_hold_passes_over_all_of_them():
    assert chosen((HOLDING, 2)).passed_over(2, (0, 0, 2)) == PassedOver(1, 2.0, 7, None, 10, 4, 9)


def test_the_last_time_counts_and_all_are_counted():
    found = chosen((AT, 1), (HOLDING, 2), (replace(AT, time=5.0), 0)).passed_over(1, (0, 0, 1))
    assert found is not None
    assert (found.times, found.last, found.held_for) == (2, 2.0, 9)


def test_another_task_that_had_the_number_does_not_count():
    assert chosen((AT, 1)).passed_over(1, (0, 4, 1)) is None


def test_one_that_was_never_a_candidate_was_not_passed_over():
    assert chosen((AT, 1)).passed_over(3, (0, 0, 3)) is None


def test_only_so_many_are_kept():
    recent = chosen(*[(AT, 1)] * (LENGTH + 5))
    assert len(recent) == LENGTH
    found = recent.passed_over(1, (0, 0, 1))
    assert found is not None
    assert found.times == LENGTH


@pytest.mark.parametrize("score", [first, hold])
def test_the_chooser_keeps_what_the_policy_was_asked_and_chose(score: Any):
    policy = Scripted(score)
    dask = VirtualDask(policy, bandwidth=8.0, hold_limit=64.0)
    dask.join(0, threads=1, limit=30)
    dask.submit(gemm(3))
    dask.run()
    recent = dask.controller.chooser.recent
    assert 0 < len(recent) == len(policy.situations)
    passed = [
        recent.passed_over(candidate.task, candidate.priority[:3])
        for situation in policy.situations
        for candidate in situation.candidates
    ]
    assert any(passed)
    assert any(each is not None and each.instead is None for each in passed) == (score is hold)


def test_a_failure_is_no_choice():
    dask = VirtualDask(Scripted(lambda _: [float("nan")]), bandwidth=8.0)
    dask.join(0, threads=1, limit=30)
    dask.submit(gemm(2))
    dask.run()
    assert dask.controller.chooser.reasons["policy failed"] > 0
    assert len(dask.controller.chooser.recent) == 0
