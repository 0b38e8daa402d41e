"""Beliefs: simulated first, then moved by real runs; Dask alone is what all is compared with."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dask_mlsched.core.model_choice import BASELINE, Belief
from dask_mlsched.learning.beliefs import (
    FORETOLD_SLOWER,
    LATEST,
    NOISE,
    SIMULATION,
    UNSEEN,
    arms,
    belief,
    elsewhere,
)
from dask_mlsched.learning.family import Family, Run

MODEL = "m/v0001"
GAINS = st.lists(st.floats(-0.5, 0.5), max_size=30)


def family(*gains: float, estimate: float | None = None, model: str = MODEL) -> Family:
    made = Family("f", estimates={} if estimate is None else {model: estimate})
    for gain in gains:
        made.ran(Run(0.0, model, "p", math.exp(-gain), 1.0))
    return made


def test_without_runs_it_is_the_estimate() -> None:
    assert belief(family(estimate=0.3), MODEL) == Belief(MODEL, 0.3, SIMULATION, 0)


def test_without_an_estimate_it_is_what_others_say_or_nothing_much() -> None:
    assert belief(family(), MODEL) == Belief(MODEL, 0.0, pytest.approx(UNSEEN), 0)
    assert belief(family(), MODEL, (0.2, 0.15)) == Belief(MODEL, 0.2, pytest.approx(0.15), 0)
    # An estimate of its own says more.
    assert belief(family(estimate=0.3), MODEL, (0.2, 0.15)).mean == 0.3


@given(st.floats(-0.5, 0.5), GAINS)
def test_real_runs_move_it_from_the_estimate_to_what_they_say(
    estimate: float, gains: list[float]
) -> None:
    """Estimates and single runs err as much, so an estimate counts as one run."""
    assert SIMULATION == NOISE
    found = belief(family(*gains, estimate=estimate), MODEL)
    latest = gains[-LATEST:]
    assert found.runs == len(latest)
    assert found.mean == pytest.approx((estimate + sum(latest)) / (1 + len(latest)), abs=1e-9)
    assert found.deviation == pytest.approx(NOISE / math.sqrt(1 + len(latest)))


@given(GAINS)
def test_each_run_makes_it_surer(gains: list[float]) -> None:
    deviations = [
        belief(family(*gains[:n], estimate=0.1), MODEL).deviation
        for n in range(min(len(gains), LATEST) + 1)
    ]
    assert deviations == sorted(deviations, reverse=True)
    assert min(deviations) > 0


def test_only_the_latest_runs_count() -> None:
    drifted = belief(family(*[0.5] * 50, *[-0.1] * LATEST, estimate=0.5), MODEL)
    alone = belief(family(*[-0.1] * LATEST, estimate=0.5), MODEL)
    assert (drifted.mean, drifted.runs) == (pytest.approx(alone.mean), LATEST)
    assert drifted.mean < 0


@given(GAINS)
def test_dask_alone_is_exactly_0(gains: list[float]) -> None:
    found = belief(family(*gains, estimate=0.4, model=BASELINE), BASELINE, (0.3, 0.1))
    assert found == Belief(BASELINE, 0.0, 0.0, len(gains))


def test_other_models_runs_say_nothing() -> None:
    assert belief(family(0.4, 0.4, model="other/v0001"), MODEL).runs == 0


def test_elsewhere_is_the_mean_over_families_and_what_the_card_tells() -> None:
    families = [family(estimate=0.1), family(estimate=0.5), family(), family(estimate=9, model="x")]
    assert elsewhere(families, MODEL, None) == (pytest.approx(0.3), pytest.approx(0.2))
    assert elsewhere(families, MODEL, 0.6) == (
        pytest.approx(0.4),
        pytest.approx(np.std([0.1, 0.5, 0.6])),
    )
    assert elsewhere([], MODEL, None) == (0.0, UNSEEN)
    assert elsewhere([], MODEL, 0.4) == (0.4, UNSEEN)
    # However alike: the next one may be another.
    assert elsewhere([family(estimate=0.3)] * 9, MODEL, None)[1] == UNSEEN
    # Runs alone are known, too.
    assert elsewhere([family(0.2, 0.2)], MODEL, None)[0] == pytest.approx(0.4 / 2.25)


def test_dask_alone_is_always_there_and_first() -> None:
    found = arms(family(estimate=0.3), [MODEL], {})
    assert [each.model for each in found] == [BASELINE, MODEL]
    assert [each.model for each in arms(family(), [], {})] == [BASELINE]


def test_what_is_banned_is_left_out() -> None:
    banned = family(estimate=0.5)
    banned.banned[MODEL] = "slow"
    assert [each.model for each in arms(banned, [MODEL, "n/v0001"], {})] == [BASELINE, "n/v0001"]


def test_what_is_foretold_to_be_slower_is_left_out_until_real_runs_say_otherwise() -> None:
    for estimate, stays in ((FORETOLD_SLOWER, False), (FORETOLD_SLOWER + 1e-9, True)):
        found = arms(family(estimate=estimate), [MODEL], {})
        assert (MODEL in [each.model for each in found]) == stays
    assert len(arms(family(estimate=-0.3), [MODEL], {})) == 1
    assert len(arms(family(0.3, 0.3, estimate=-0.3), [MODEL], {})) == 2
    assert len(arms(family(), [MODEL], {MODEL: (-0.1, 0.1)})) == 1
    assert len(arms(family(), [MODEL], {MODEL: (0.1, 0.1)})) == 2


def test_of_what_is_not_simulated_it_is_believed_what_it_is_worth_elsewhere() -> None:
    (_, found) = arms(family(), [MODEL], {MODEL: (0.25, 0.2)})
    assert found == replace(found, model=MODEL, mean=0.25, runs=0)
