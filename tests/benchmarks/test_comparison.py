from __future__ import annotations

import pytest

from dask_mlsched.benchmarks import comparison
from dask_mlsched.benchmarks.runner import Conditions
from fake_runs import a_comparison, a_problem, an_arm


def test_ratios_compare_runs_of_the_same_repeat_only():
    compared = a_comparison(
        an_arm("stock", 10.0, repeat=0),
        an_arm("greedy", 5.0, repeat=0),
        an_arm("greedy", 16.0, repeat=1),
        an_arm("stock", 20.0, repeat=1),
    )
    _, greedy = compared.summaries()
    assert greedy.ratios == (0.5, 0.8)


def test_the_ratio_is_the_median_of_the_pairs_and_not_that_of_the_medians():
    seconds = [(1.0, 2.0), (10.0, 5.0), (100.0, 90.0)]
    arms = [
        arm
        for repeat, (stock, ours) in enumerate(seconds)
        for arm in (an_arm("stock", stock, repeat=repeat), an_arm("ours", ours, repeat=repeat))
    ]
    _, ours = a_comparison(*arms).summaries()
    assert ours.ratio == 0.9
    assert ours.seconds == 5.0


def test_bytes_and_holds_are_medians():
    arms = [
        an_arm("ours", repeat=n, bytes_loaded=nbytes, status={"holds": holds})
        for n, (nbytes, holds) in enumerate([(100, 1), (300, 7), (200, 2)])
    ]
    (ours,) = a_comparison(*arms).summaries()
    assert (ours.bytes_loaded, ours.holds) == (200, 2)


def test_without_stock_there_is_no_ratio():
    (ours,) = a_comparison(an_arm("ours")).summaries()
    assert ours.ratios == ()
    assert ours.ratio is None


def test_policies_come_in_the_order_in_which_they_first_ran():
    arms = [an_arm(policy) for policy in ("stock", "b", "a", "a", "b", "stock")]
    assert [s.policy for s in a_comparison(*arms).summaries()] == ["stock", "b", "a"]


def test_equal_results_that_match_the_reference_are_equal():
    compared = a_comparison(an_arm("stock"), an_arm("ours"))
    assert compared.results_equal
    assert all(summary.results_equal for summary in compared.summaries())


def test_a_run_with_other_bits_makes_its_policy_unequal():
    compared = a_comparison(an_arm("stock"), an_arm("ours"), an_arm("ours", digest="other"))
    assert not compared.results_equal
    assert [summary.results_equal for summary in compared.summaries()] == [True, False]


def test_runs_that_agree_with_each_other_but_not_with_the_reference_are_not_equal():
    wrong = {"matches_reference": False}
    compared = a_comparison(an_arm("stock", **wrong), an_arm("ours", **wrong))
    assert not compared.results_equal
    assert not any(summary.results_equal for summary in compared.summaries())


def test_comparing_runs_every_policy_in_turn_and_tells_how_far_it_is(monkeypatch):
    def run_arm(problem, policy, conditions, *, repeat, position, on_progress):
        on_progress(1.0)
        return an_arm(policy, repeat=repeat, position=position)

    monkeypatch.setattr(comparison, "run_arm", run_arm)
    steps = []
    compared = comparison.compare(
        a_problem(),
        Conditions(1, 1.0),
        ["stock", "ours"],
        repeats=2,
        on_step=lambda *step: steps.append(step),
    )
    order = [(arm.repeat, arm.position, arm.policy) for arm in compared.arms]
    assert order == [(0, 0, "stock"), (0, 1, "ours"), (1, 0, "ours"), (1, 1, "stock")]
    names = ["stock", "ours", "ours", "stock"]
    expected = [(n, name, share) for n, name in enumerate(names) for share in (0.0, 1.0)]
    assert steps == expected


def test_comparing_needs_nobody_to_tell(monkeypatch):
    monkeypatch.setattr(comparison, "run_arm", lambda *args, on_progress, **kwargs: on_progress)
    compared = comparison.compare(a_problem(), Conditions(1, 1.0), ["stock"], repeats=1)
    assert list(compared.arms) == [None]


@pytest.mark.parametrize("repeats", [1, 2, 5])
def test_every_repeat_has_every_policy_once(monkeypatch, repeats):
    monkeypatch.setattr(
        comparison, "run_arm", lambda problem, policy, c, **kw: an_arm(policy, repeat=kw["repeat"])
    )
    compared = comparison.compare(a_problem(), Conditions(1, 1.0), ["a", "b", "c"], repeats)
    for repeat in range(repeats):
        assert sorted(a.policy for a in compared.arms if a.repeat == repeat) == ["a", "b", "c"]
