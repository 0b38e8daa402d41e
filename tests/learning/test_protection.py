"""Protection: each trigger fires alone, just beyond its threshold and not at it."""

from __future__ import annotations

import math
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from dask_mlsched.core.model_choice import BASELINE
from dask_mlsched.core.thresholds import Thresholds
from dask_mlsched.learning.beliefs import NOISE
from dask_mlsched.learning.family import Family, Run
from dask_mlsched.learning.protection import (
    FAILURES,
    LUCK,
    MOST_RUNS,
    count_down,
    objection,
    send_back,
    struck_out,
)

MODEL = "generalist/v0002"
#: Nothing is ever too much.
LENIENT = Thresholds(
    bad_run=1e6, slower=1e6, loss_budget=1e6, held_share=1e6, slow_runs=5, significance=0.05
)


def a_run(seconds: float, model: str | None = MODEL, **fields: float) -> Run:
    return replace(Run(0.0, model, "p", seconds, 1.0), **fields)  # type: ignore[arg-type]


def told(thresholds: Thresholds, *runs: Run) -> str | None:
    """Say what is said about the last of some runs."""
    family = Family("f")
    for run in runs:
        family.ran(run)
    return objection(family, runs[-1], thresholds)


def test_a_single_bad_run_is_enough() -> None:
    thresholds = replace(LENIENT, bad_run=1.5)
    assert told(thresholds, a_run(1.5)) is None
    assert told(thresholds, a_run(1.5001)) == (
        "one run took 1.50 of Dask's time; expected 1.5 at most"
    )
    # One that took no time under Dask alone says nothing.
    assert told(thresholds, a_run(9.0, baseline_seconds=0.0)) is None


def test_so_are_failures_of_the_policy() -> None:
    assert told(LENIENT, a_run(1.0, failures=FAILURES - 1)) is None
    found = told(LENIENT, a_run(0.5, failures=FAILURES))
    assert found == f"its policy failed {FAILURES} times in one run"


def test_so_are_slots_held_for_nothing() -> None:
    thresholds = replace(LENIENT, held_share=0.2)
    held = a_run(1.01, held_share=0.21, bytes_moved=100, baseline_bytes=100)
    assert told(thresholds, held) == "21% of the workers' time was held, and no byte was saved"
    for change in (
        {"held_share": 0.2},
        {"bytes_moved": 99},
        {"baseline_bytes": 0, "bytes_moved": 0},
        {"seconds": 1.0},
    ):
        assert told(thresholds, replace(held, **change)) is None


def test_so_are_five_runs_that_are_a_little_slower() -> None:
    thresholds = replace(LENIENT, slower=0.05)
    slower = [a_run(1.0501 + 0.001 * n) for n in range(5)]
    found = told(thresholds, *slower)
    assert found == "the median of 5 runs took 1.052 of Dask's time (p = 0.031)"
    assert told(thresholds, *slower[1:]) is None
    assert told(thresholds, *[a_run(1.0499)] * 5) is None
    # One in five that is fast leaves too much to chance; one in eight does not.
    assert told(thresholds, a_run(0.9), *slower[1:]) is None
    assert told(thresholds, a_run(0.99), *slower, *slower[:2]) is not None
    # Only the last ten count.
    assert told(thresholds, *[a_run(0.5)] * 20, *slower, *slower) is not None


def test_so_is_what_was_lost_together() -> None:
    thresholds = replace(LENIENT, loss_budget=0.125)
    assert told(thresholds, a_run(1.125)) is None
    assert told(thresholds, a_run(1.13)) == (
        "the last 1 runs lost 0.130 of one run's time to Dask alone; expected 0.125 at most"
    )
    # Of several runs, some loss is luck: 0.117 of two, 0.143 of three.
    assert told(thresholds, *[a_run(1.12)] * 2) is None
    assert told(thresholds, *[a_run(1.123)] * 2) is not None
    assert told(thresholds, *[a_run(1.088)] * 3) is None
    assert told(thresholds, *[a_run(1.09)] * 3) is not None
    # What was won counts against it, and what is longer ago than five runs does not.
    assert told(thresholds, a_run(0.5), a_run(1.4)) is None
    assert told(thresholds, a_run(0.5), *[a_run(1.0)] * 4, a_run(1.4)) is not None
    assert told(thresholds, *[a_run(1.0625)] * 2, *[a_run(1.0)] * 3, a_run(1.0625)) is None
    # One that was not slower is not to blame.
    assert told(thresholds, a_run(1.4), a_run(1.0)) is None


def test_no_other_models_runs_excuse_it_or_accuse_it() -> None:
    usual = Thresholds()
    others = [a_run(0.2, "other/v0001")] * 4
    assert told(usual, *others, a_run(1.2)) is not None
    bad = [a_run(1.4, "other/v0001")]
    assert told(usual, *bad, a_run(1.01)) is None
    assert told(usual, *bad, a_run(1.0, BASELINE), a_run(1.01)) is None


def test_nobody_is_to_blame_for_runs_of_dask_alone_or_of_several() -> None:
    for model in (None, BASELINE):
        run = a_run(9.0, model, failures=99, held_share=1.0)
        assert told(Thresholds(), run) is None


@given(st.lists(st.floats(1.1001, 50), min_size=1, max_size=6), st.integers(0, 2**32 - 1))
def test_of_runs_that_all_lose_more_than_the_budget_the_first_one_is_the_last(
    ratios: list[float], seed: int
) -> None:
    family, bad = Family("f"), 0
    others = [a_run(0.3 + 0.1 * (seed % 9), "other/v0001")] * (seed % 7)
    for run in (*others, *map(a_run, ratios)):
        if not family.may_decide(MODEL):
            break
        family.ran(run)
        bad += run.model == MODEL
        if (reason := objection(family, run, Thresholds())) is not None:
            send_back(family, str(run.model), reason, Thresholds())
    assert bad == 1


@given(st.lists(st.floats(0.3, 3), min_size=1, max_size=40))
def test_what_a_version_loses_in_all_is_bounded(ratios: list[float]) -> None:
    thresholds = Thresholds()
    family, won = Family("f"), 0.0
    for ratio in ratios:
        run = a_run(ratio)
        family.ran(run)
        if objection(family, run, thresholds) is not None:
            # As it was looked at before this one came.
            before = family.runs[-thresholds.slow_runs - 1 : -1]
            luck = LUCK * NOISE * math.sqrt(len(before)) if len(before) > 1 else 0.0
            allowed = thresholds.loss_budget + luck + 1e-9
            # Until then, nothing was lost beyond the budget, and what is luck.
            assert sum(each.seconds - 1 for each in before) <= allowed or before[-1].gain >= 0
            return
        won += 1 - ratio
        assert ratio <= thresholds.bad_run


def test_each_time_it_is_left_to_dask_alone_for_twice_as_many_runs() -> None:
    family, lengths = Family("f"), []
    for number in range(8):
        send_back(family, f"m/v{number:04d}", "slow", Thresholds())
        assert family.sent_back == f"m/v{number:04d}: slow"
        lengths.append(family.runs_left)
        for left in range(family.runs_left, 0, -1):
            assert family.runs_left == left
            assert count_down(family) == (left == 1)
        assert (family.sent_back, family.runs_left) == (None, 0)
    assert lengths == [2, 4, 8, 16, 32, 64, MOST_RUNS, MOST_RUNS]
    assert not count_down(family)
    assert len(family.banned) == family.strikes == 8


def test_who_writes_that_it_was_sent_back_very_often_does_not_stop_the_process() -> None:
    family = Family("f", strikes=10**12)
    send_back(family, "m", "slow", Thresholds())
    assert family.runs_left == MOST_RUNS


def test_with_one_run_to_wait_it_is_served_again_after_it() -> None:
    family = Family("f")
    send_back(family, "m", "slow", Thresholds(sent_back_runs=1))
    assert count_down(family)


def test_two_families_are_enough_for_a_generalist_to_go_back() -> None:
    families = [Family(name, banned={MODEL: "slow"} if name in "bd" else {}) for name in "abcd"]
    assert struck_out(families, MODEL) == ["b", "d"]
    assert struck_out(families[:3], MODEL) == []
    assert struck_out(families, "other/v0001") == []


def test_messages_are_of_one_line_and_name_figures() -> None:
    for found in (
        told(Thresholds(), a_run(1.6)),
        told(Thresholds(), a_run(1.2)),
        told(replace(LENIENT, slower=0.05), *[a_run(1.2)] * 6),
    ):
        assert found is not None
        assert "\n" not in found
        assert any(each.isdigit() for each in found)
    assert math.isclose(a_run(1.2).gain, -math.log(1.2))
