from __future__ import annotations

import pytest

from dask_mlsched.benchmarks.lifelong_goals import (
    goals,
    mean_gap,
    new_family_share,
    worst_window,
)
from tiny_lifelong import a_run


def taken(*times: float, workload: str = "gemm"):
    return [a_run(n, workload, taken=time) for n, time in enumerate(times)]


def test_a_gap_is_0_for_dask_alone_and_1_for_the_best():
    assert a_run(ours=1.0, best=0.6).gap("ours") == 0
    assert a_run(ours=0.6, best=0.6).gap("ours") == pytest.approx(1)
    assert a_run(ours=1.2, best=0.6).gap("ours") == pytest.approx(-0.5)


def test_runs_without_headroom_do_not_count():
    runs = [a_run(ours=0.75, best=0.5), a_run(ours=1.0, best=0.99)]
    assert mean_gap(runs, "ours") == pytest.approx(0.5)


def test_only_runs_after_the_third_of_the_new_family_count():
    early = [a_run(n, "qr", phase="new", ours=1.0) for n in range(3)]
    late = [a_run(n, "qr", phase="new", ours=0.7, specialist=0.6) for n in range(2)]
    mixed = [a_run(n, ours=0.5) for n in range(4)]
    assert new_family_share([*mixed, *early, *late]) == pytest.approx(0.3 / 0.4)


def test_the_worst_window_is_of_five_consecutive_runs_of_one_family():
    runs = taken(2.0, 0.5, 0.5, 0.5, 0.5, 0.5, 1.0)
    assert worst_window(runs) == ("gemm", pytest.approx(0.8))
    # Runs of other families stand in between; they do not count.
    others = taken(1.0, 1.1, 1.0, 1.1, 1.0, workload="lu")
    woven = [run for pair in zip(runs, others, strict=False) for run in pair]
    assert worst_window(woven) == ("lu", pytest.approx(1.04))


def test_a_window_may_be_anywhere_in_the_stream():
    assert worst_window(taken(0.5, 0.5, *[1.2] * 5, 0.5))[1] == pytest.approx(1.2)


def test_fewer_runs_are_one_window():
    assert worst_window(taken(1.5, 0.5)) == ("gemm", pytest.approx(1.0))


def test_goals_are_met_up_to_their_figures():
    new = [a_run(n, "qr", phase="new", ours=0.67, specialist=0.6) for n in range(4)]
    steady = taken(*[1.05] * 5)
    assert [goal.met for goal in goals([*new, *steady], 1.02)] == [True, True, True]
    missed = [
        *(a_run(n, "qr", phase="new", ours=0.69, specialist=0.6) for n in range(4)),
        *taken(*[1.06] * 5),
    ]
    assert [goal.met for goal in goals(missed, 1.03)] == [False, False, False]


def test_a_goal_names_the_family_that_was_worst():
    runs = [*(a_run(n, "qr", phase="new") for n in range(4)), a_run(taken=3.0, workload="lu")]
    assert "(lu)" in goals(runs, 1.0)[2].name
