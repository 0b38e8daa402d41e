"""What real runs of a generalist on trial come to."""

from __future__ import annotations

import math
from collections.abc import Iterable

import pytest

from dask_mlsched.core.thresholds import Thresholds
from dask_mlsched.learning import promotion
from dask_mlsched.learning.family import Family, Run
from dask_mlsched.learning.promotion import verdict

CHAMPION, CHALLENGER = "generalist/v0001", "generalist/v0002"


def a_family(name: str, ratios: Iterable[float], *, champion: float = 0.7, program: str = "p"):
    """Make a family whose champion is known well, and trial runs over Dask alone's time."""
    family = Family(name, estimates={CHAMPION: -math.log(champion)})
    for number, ratio in enumerate(ratios):
        family.ran(Run(float(number), CHALLENGER, program, ratio, 1.0))
    return family


def judged(*families: Family, simulated=lambda _family, _model: {}):
    return verdict(families, CHALLENGER, CHAMPION, Thresholds(), simulated)


def test_there_is_no_verdict_before_there_are_enough_runs():
    assert judged(a_family("lu", [0.6] * 4)) is None


def test_one_that_is_faster_may_take_over():
    found = judged(a_family("lu", [0.6, 0.61, 0.62]), a_family("gemm", [0.63, 0.61]))
    assert found is not None
    assert found.objection is None
    assert found.figures["ratio"] < 0.9


def test_one_unlucky_run_of_a_family_does_not_end_a_trial():
    found = judged(a_family("lu", [0.7 * 1.06]), a_family("gemm", [0.6, 0.61, 0.6, 0.6, 0.61]))
    assert found is None or found.objection is None or "family lu" not in found.objection


def test_a_family_that_is_slower_for_certain_ends_it():
    found = judged(a_family("lu", [0.7 * 1.12]), a_family("gemm", [0.6] * 5))
    assert found is not None
    assert "for family lu" in str(found.objection)
    found = judged(a_family("lu", [0.7 * 1.06] * 8), a_family("gemm", [0.6] * 5))
    assert found is not None
    assert "for family lu" in str(found.objection)


def test_a_program_in_which_the_champion_gains_little_is_not_held_against_the_challenger():
    hard = [a_family("lu", [0.85] * 6, program="hard")]
    assert judged(*hard) is not None
    assert "for family lu" in str(judged(*hard).objection)

    def simulated(_family: Family, _model: str) -> dict[str, float]:
        return {"hard": -math.log(0.9), "easy": -math.log(0.55)}

    found = judged(*hard, simulated=simulated)
    assert found is not None
    assert found.objection is None
    # A program that is not kept is taken for a usual one.
    unknown = judged(a_family("lu", [0.85] * 6, program="other"), simulated=simulated)
    assert "for family lu" in str(unknown.objection)


def test_where_a_champion_is_as_fast_as_before_nothing_is_searched_for(monkeypatch):
    class Same:
        def network(self, ref):
            return ref

        def variants(self, family):
            class Some:
                judged = (Judged(),)

            return Some

    class Judged:
        def run(self, network):
            class Outcome:
                makespan = 0.7

            return Outcome

    def not_asked(*_args: object, **_kwargs: object):
        pytest.fail("it was searched for")

    monkeypatch.setattr(promotion, "gap_table", not_asked)
    families = [a_family("lu", [])]
    assert promotion.fallen(Same(), families, CHALLENGER, CHAMPION, Thresholds()) is None
