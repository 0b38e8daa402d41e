"""Promotion: a trial is judged by real runs, family by family; a champion that got worse falls."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest

from dask_mlsched.core.model_choice import BASELINE
from dask_mlsched.core.thresholds import Thresholds
from dask_mlsched.learning.beliefs import NOISE
from dask_mlsched.learning.family import Family, Run
from dask_mlsched.learning.generality import FamilyGaps, GapTable
from dask_mlsched.learning.promotion import Verdict, _worse, fallen, verdict
from learning.instances import NEAREST, scored_by
from learning.lives import add, known_family, operations

NEW, OLD = "generalist/v0002", "generalist/v0001"
DEFAULT = Thresholds()


def judged(
    gains: Mapping[str, Sequence[float]],
    champion: Mapping[str, float] | None = None,
    thresholds: Thresholds = DEFAULT,
) -> Verdict | None:
    """Judge a trial by the gains of its runs and the champion's estimates."""
    families = []
    for name, own in gains.items():
        family = Family(name, estimates={OLD: (champion or {}).get(name, 0.2)})
        for gain in own:
            family.ran(Run(0.0, NEW, "p", math.exp(-gain), 1.0))
        families.append(family)
    return verdict(families, NEW, OLD, thresholds)


@pytest.mark.parametrize("count", range(5))
def test_of_too_few_runs_nothing_is_said(count: int) -> None:
    assert judged({"f": [9.0] * count, "g": []}) is None
    assert judged({"f": [-9.0] * count}) is None


def test_without_any_nothing_is_said_whatever_is_configured() -> None:
    assert judged({"f": []}, thresholds=Thresholds(promote_pairs=1)) is None
    assert judged({}, thresholds=Thresholds(promote_pairs=1)) is None


def test_one_that_is_better_everywhere_takes_over() -> None:
    found = judged({"f": [0.3, 0.31, 0.29], "g": [0.25, 0.3]})
    assert found is not None
    assert found.objection is None
    mean = np.mean([0.1, 0.11, 0.09, 0.05, 0.1])
    assert found.figures["ratio"] == pytest.approx(math.exp(-mean), abs=1e-4)
    assert found.figures["worst"] == pytest.approx(math.exp(-0.075), abs=1e-4)
    assert found.figures["ratio_low"] < found.figures["ratio"] < found.figures["ratio_high"] <= 1
    assert found.figures["pairs"] == 5
    assert found.reason == "0.914 of the champion's time in 5 real runs"


def test_one_that_is_the_same_takes_over_and_one_that_is_worse_does_not() -> None:
    same = judged({"f": [0.2] * 5})
    assert same is not None
    assert same.objection is None
    worse = judged({"f": [0.19, 0.18, 0.19, 0.185, 0.19]})
    assert worse is not None
    assert worse.objection is not None
    assert "expected 1 at most for certain" in worse.objection


def test_one_that_is_worse_for_a_family_is_not_however_good_it_is_for_others() -> None:
    # So much of a single run may be luck.
    luck = NOISE
    found = judged({"f": [0.9] * 9, "g": [0.2 - math.log(1.0301) - luck]})
    assert found is not None
    assert found.objection == (
        "1.083 of the champion's time for family g, 1.030 for certain; expected 1.03 at most"
    )
    found = judged({"f": [0.9] * 9, "g": [0.2 - math.log(1.0299) - luck]})
    assert found is not None
    assert found.objection is None


def test_the_champions_real_runs_count_beside_its_estimate() -> None:
    family = Family("f", estimates={OLD: 0.0})
    for model, gain in ((OLD, 0.4), (NEW, 0.3)):
        for _ in range(19):
            family.ran(Run(0.0, model, "p", math.exp(-gain), 1.0))
    found = verdict([family], NEW, OLD, DEFAULT)
    assert found is not None
    # The estimate counts as one run of twenty.
    assert found.figures["ratio"] == pytest.approx(math.exp(0.38 - 0.3), abs=1e-3)
    assert found.objection is not None


def test_beside_dask_alone_its_gains_count_as_they_are() -> None:
    family = Family("f", estimates={BASELINE: 9.0})
    for _ in range(5):
        family.ran(Run(0.0, NEW, "p", 0.5, 1.0))
    found = verdict([family], NEW, BASELINE, DEFAULT)
    assert found is not None
    assert found.figures["ratio"] == pytest.approx(0.5)


@pytest.mark.parametrize("seed", range(5))
def test_one_that_may_be_the_same_is_told_in_the_end_after_four_times_as_many(seed: int) -> None:
    rng = np.random.default_rng(seed)
    # As often a little better as a little worse.
    gains = [0.2 + sign * each for each in rng.uniform(0.01, 0.03, 10) for sign in (-1, 1)]
    assert all(judged({"f": gains[:count]}) is None for count in range(6, 20, 2))
    found = judged({"f": gains})
    assert found is not None
    assert found.objection is not None
    assert "in 20 real runs" in found.objection


# A champion that got worse


def table(now: float, before: float, *, covered: float = 0.25) -> GapTable:
    """Make one of closed gaps, where half of Dask's time can be won."""
    gaps = FamilyGaps("f", 0.5, {NEW: 1 - now / 2, OLD: 1 - before / 2})
    return GapTable((NEW, OLD), (gaps,), (), {}, covered)


@pytest.mark.parametrize(
    ("now", "before", "falls"),
    [
        (0.5, 0.5, False),
        (0.9, 0.2, False),
        (0.451, 0.5, False),
        (0.449, 0.5, True),
        # It was covered, and is not any more.
        (0.249, 0.251, True),
        (0.25, 0.29, False),
        # What nobody covered may come and go.
        (-0.5, 0.2, False),
    ],
)
def test_when_a_champion_falls(now: float, before: float, falls: bool) -> None:
    found = _worse(table(now, before), NEW, OLD, DEFAULT)
    assert (found is not None) == falls
    if found is not None:
        why, figures = found
        assert "f" in why
        assert figures == {"gap": pytest.approx(now), "gap_before": pytest.approx(before)}


def test_a_champion_is_compared_on_the_families_runs(tmp_path: Path) -> None:
    made = operations(tmp_path)
    assert fallen(made, list(made.families), OLD, NEW, DEFAULT) is None
    known_family(made.families, "gemm", 4)
    good, bad = (add(made, "generalist", network) for network in (NEAREST, scored_by(missing=1.0)))
    families = list(made.families)
    found = fallen(made, families, bad, good, DEFAULT)
    assert found is not None
    assert found[1]["gap"] < 0 < found[1]["gap_before"]
    assert "of the gap of family gemm-" in found[0]
    assert fallen(made, families, good, bad, DEFAULT) is None
    assert fallen(made, families, good, good, DEFAULT) is None
