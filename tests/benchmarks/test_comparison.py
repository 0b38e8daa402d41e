from __future__ import annotations

import pytest

from dask_mlsched.benchmarks import comparison
from dask_mlsched.benchmarks.clusters import Conditions
from dask_mlsched.benchmarks.contender import Contender
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
    assert [str(s.contender) for s in a_comparison(*arms).summaries()] == ["stock", "b", "a"]


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
    def run_arm(problem, contender, conditions, *, repeat, position, on_progress):
        on_progress(1.0)
        return an_arm(str(contender), repeat=repeat, position=position)

    monkeypatch.setattr(comparison, "run_arm", run_arm)
    steps = []
    compared = comparison.compare(
        a_problem(),
        Conditions(1, 1.0),
        [Contender("stock"), Contender("ours")],
        repeats=2,
        on_step=lambda *step: steps.append(step),
    )
    order = [(arm.repeat, arm.position, str(arm.contender)) for arm in compared.arms]
    assert order == [(0, 0, "stock"), (0, 1, "ours"), (1, 0, "ours"), (1, 1, "stock")]
    names = ["stock", "ours", "ours", "stock"]
    expected = [(n, Contender(name), share) for n, name in enumerate(names) for share in (0.0, 1.0)]
    assert steps == expected


def test_comparing_needs_nobody_to_tell(monkeypatch):
    monkeypatch.setattr(comparison, "run_arm", lambda *args, on_progress, **kwargs: on_progress)
    compared = comparison.compare(a_problem(), Conditions(1, 1.0), [Contender("stock")], repeats=1)
    assert list(compared.arms) == [None]


@pytest.mark.parametrize("repeats", [1, 2, 5])
def test_every_repeat_has_every_policy_once(monkeypatch, repeats):
    monkeypatch.setattr(
        comparison, "run_arm", lambda problem, c, limits, **kw: an_arm(str(c), repeat=kw["repeat"])
    )
    contenders = [Contender("a"), Contender("b"), Contender("b", "disk")]
    compared = comparison.compare(a_problem(), Conditions(1, 1.0), contenders, repeats)
    for repeat in range(repeats):
        names = sorted(str(a.contender) for a in compared.arms if a.repeat == repeat)
        assert names == ["a", "b", "b@disk"]


def test_a_policy_is_summed_up_for_each_store_and_compared_with_the_first_stock():
    compared = a_comparison(
        an_arm("stock", 8.0),
        an_arm("ours", 4.0),
        an_arm("stock@disk", 2.0),
        an_arm("ours@disk", 1.0),
    )
    found = [(str(each.contender), each.ratio) for each in compared.summaries()]
    assert found == [("stock", 1.0), ("ours", 0.5), ("stock@disk", 0.25), ("ours@disk", 0.125)]


def test_without_stock_on_the_first_store_that_on_another_counts():
    compared = a_comparison(an_arm("ours", 4.0), an_arm("stock@disk", 2.0))
    assert [each.ratio for each in compared.summaries()] == [2.0, 1.0]


def test_runs_on_devices_need_only_be_right():
    on_device = [an_arm("stock@gpu", digest=None), an_arm("ours@gpu", digest=None)]
    assert a_comparison(*on_device).results_equal
    assert a_comparison(an_arm("stock"), *on_device).results_equal
    wrong = an_arm("ours@gpu", digest=None, matches_reference=False)
    assert not a_comparison(an_arm("stock"), wrong).results_equal
    assert not a_comparison(on_device[0], an_arm("a"), an_arm("b", digest="other")).results_equal
