"""Generality: gaps as by hand, what has no headroom left out by name, and the front complete."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from statistics import fmean

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dask_mlsched.core.model_choice import BASELINE
from dask_mlsched.learning.generality import (
    HEADROOM,
    BestKnown,
    FamilyGaps,
    GapTable,
    gap_table,
    with_baseline,
)
from dask_mlsched.learning.instance import Instance
from dask_mlsched.learning.processes import Processes
from learning.instances import NEAREST, factorization, product, scored_by

MODELS = ("a", "b", "c")


def table(
    gaps: dict[str, dict[str, float]], covers: dict[str, list[str]] | None = None
) -> GapTable:
    """Make one of closed gaps by family and model, where half of Dask's time can be won."""
    families = tuple(
        FamilyGaps(family, 0.5, {model: 1 - gap / 2 for model, gap in each.items()})
        for family, each in gaps.items()
    )
    models = tuple(next(iter(gaps.values()), {}))
    return GapTable(models, families, (), covers or {}, 0.25)


def test_gaps_by_hand() -> None:
    gaps = FamilyGaps("f", 0.6, {BASELINE: 1.0, "a": 0.7, "b": 0.6, "c": 1.2})
    assert gaps.gap(BASELINE) == 0
    assert gaps.gap("a") == pytest.approx(0.75)
    assert gaps.gap("b") == 1
    assert gaps.gap("c") == pytest.approx(-0.5)
    assert gaps.has_headroom
    assert FamilyGaps("f", 1 - HEADROOM, {}).has_headroom
    assert not FamilyGaps("f", 1 - HEADROOM / 2, {}).has_headroom


def test_accuracy_is_over_the_families_that_a_model_is_for_generality_over_all() -> None:
    found = table(
        {"f": {"a": 0.8, "b": 0.4}, "g": {"a": 0.1, "b": 0.3}, "h": {"a": -1.0, "b": 0.25}},
        {"a": ["f", "elsewhere"]},
    )
    assert found.accuracy("a") == pytest.approx(0.8)
    assert found.accuracy("b") == pytest.approx((0.4 + 0.3 + 0.25) / 3)
    assert found.generality("a") == pytest.approx(1 / 3)
    assert found.generality("b") == 1
    worst = found.worst("a")
    assert worst is not None
    assert worst.family == "h"
    assert found.front == ("a", "b")


def test_of_no_families_nothing_is_said() -> None:
    found = GapTable(("a",), (), ("f",), {}, 0.25)
    assert (found.accuracy("a"), found.generality("a"), found.worst("a")) == (None, None, None)
    assert found.front == ()
    model = json.loads(json.dumps(found.as_json(), allow_nan=False))["models"][0]
    assert model.pop("model") == "a"
    assert model.pop("on_front") is False
    names = ("accuracy", "generality", "worst_family", "worst_gap")
    assert model == dict.fromkeys(names)


@given(
    st.dictionaries(
        st.sampled_from("fgh"),
        st.fixed_dictionaries(
            {model: st.sampled_from([-0.5, 0.0, 0.25, 0.5, 1.0]) for model in MODELS}
        ),
        min_size=1,
    ),
    st.dictionaries(st.sampled_from(MODELS), st.lists(st.sampled_from("fgh"), unique=True)),
)
def test_the_front_is_that_of_brute_force(
    gaps: dict[str, dict[str, float]], covers: dict[str, list[str]]
) -> None:
    found = table(gaps, covers)
    points = {
        model: point
        for model in MODELS
        if None not in (point := (found.accuracy(model), found.generality(model)))
    }
    beaten = {
        model
        for model, (a, g) in points.items()
        for x, y in points.values()
        if x >= a and y >= g and (x > a or y > g)  # type: ignore[operator]  # none is None
    }
    assert set(found.front) == set(points) - beaten
    assert bool(found.front) == bool(points)
    told = json.loads(json.dumps(found.as_json(), allow_nan=False))
    assert {each["model"] for each in told["models"] if each["on_front"]} == set(found.front)


INSTANCES = {"gemm": [product(4), product(5)], "cholesky": [factorization(5), factorization(6)]}
NETWORKS = with_baseline({"near": NEAREST, "far": scored_by(missing=1.0)})


@pytest.fixture(scope="module")
def found() -> GapTable:
    return gap_table(NETWORKS, INSTANCES, covers={"near": ["gemm"]}, covered_gap=0.25)


def test_models_are_run_and_compared_with_dask_alone_and_the_best(found: GapTable) -> None:
    assert found.models == (BASELINE, "near", "far")
    assert [each.family for each in found.families] == ["gemm", "cholesky"]
    for family in found.families:
        some = INSTANCES[family.family]
        for name, network in NETWORKS.items():
            ratios = [1.0 if network is None else each.run(network).makespan for each in some]
            assert family.makespans[name] == pytest.approx(fmean(ratios))
            assert family.gap(name) == pytest.approx((1 - fmean(ratios)) / (1 - family.best))
            # The best that is known is at least as good on each instance.
            assert family.best <= family.makespans[name] + 1e-12
            assert family.gap(name) <= 1 + 1e-9
        assert family.gap(BASELINE) == 0
    assert (found.accuracy(BASELINE), found.generality(BASELINE)) == (0, 0)
    gemm = found.families[0]
    assert found.accuracy("near") == pytest.approx(gemm.gap("near"))


def test_json_has_all_of_it(found: GapTable) -> None:
    told = json.loads(json.dumps(found.as_json(), allow_nan=False))
    assert (told["format"], told["version"], told["covered_gap"]) == ("mlsched-generality", 1, 0.25)
    assert [each["family"] for each in told["families"]] == ["gemm", "cholesky"]
    assert told["families"][0]["gaps"]["near"] == found.families[0].gap("near")
    assert [each["model"] for each in told["models"]] == [BASELINE, "near", "far"]
    assert told["left_out"] == []


def test_a_family_in_which_nothing_can_be_won_is_left_out_by_name() -> None:
    roomy = product(3)
    roomy = replace(roomy, machine=replace(roomy.machine, limit=None))
    # Dask alone as it is there.
    alone = replace(roomy, stock_makespan=roomy.run(None).makespan * roomy.stock_makespan)
    known = BestKnown()
    known._found[id(alone)] = alone, 0.99
    found = gap_table({"order": None}, {"roomy": [alone]}, covers={}, covered_gap=0.25, best=known)
    assert (found.families, found.left_out) == ((), ("roomy",))
    assert found.as_json()["left_out"] == ["roomy"]


def test_the_best_is_searched_for_once_for_each_instance() -> None:
    known = BestKnown()
    with Processes([product(3)]) as processes:
        first = known.makespans(processes)
        assert 0 < first[0] <= 1

        def never(*_: object) -> list[float]:
            raise AssertionError("searched again")

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("dask_mlsched.learning.generality._best_makespan", never)
            assert known.makespans(processes) == first


def test_a_model_that_is_better_than_the_best_that_was_found_is_the_best() -> None:
    some: list[Instance] = [product(4)]
    known = BestKnown()
    known._found[id(some[0])] = some[0], 0.99
    found = gap_table({"near": NEAREST}, {"f": some}, covers={}, covered_gap=0.25, best=known)
    assert found.families[0].best == found.families[0].makespans["near"] < 0.9
    assert found.families[0].gap("near") == 1
    assert not math.isnan(found.families[0].best)
