"""Distilling: one score chooses as its teachers do, each on runs of its own family."""

from __future__ import annotations

import numpy as np
import pytest

from core.networks import random_network
from dask_mlsched.core import features
from dask_mlsched.core.network import Network, check, forward, hidden_of
from dask_mlsched.learning.default_model import default_network
from dask_mlsched.learning.distilling import Lesson, _noted, _sharp, distil
from dask_mlsched.learning.instance import Instance
from learning.instances import NEAREST, factorization, product, scored_by

LIKE = default_network()
PRODUCTS = [product(4), product(5)]
OTHERS = [factorization(5), factorization(6)]


def agreement(teacher: Network, student: Network, instance: Instance) -> float:
    """Return the share of the teacher's decisions that the student would take as well."""
    same, number = [], 0
    run = instance.rollout(teacher)
    while (decision := run.until(number)) is not None:
        rows = np.ascontiguousarray(decision.features)
        scores = np.empty((len(rows), 2), np.float32)
        if len(rows) > 1:
            forward(teacher, rows, scores)
            best = scores[:, 0].max()
            forward(student, rows, chosen := np.empty((len(rows), 2), np.float32))
            # Of what the teacher likes as much, any will do.
            same.append(scores[chosen[:, 0].argmax(), 0] >= best - 1e-6)
        run.take(decision.preferred)
        number = decision.number + 1
    return float(np.mean(same))


@pytest.mark.parametrize("teacher", [NEAREST, scored_by(rank=-1.0), scored_by(missing=1.0)])
def test_of_one_linear_teacher_it_chooses_as_that_does(teacher: Network) -> None:
    made = distil([Lesson(teacher, PRODUCTS)], LIKE)
    check(made)
    for instance in (*PRODUCTS, product(6)):
        assert agreement(teacher, made, instance) > 0.9


def test_of_two_it_chooses_as_both_where_they_do_not_contradict() -> None:
    made = distil([Lesson(NEAREST, PRODUCTS), Lesson(NEAREST, OTHERS)], LIKE)
    assert agreement(NEAREST, made, product(6)) > 0.9
    assert agreement(NEAREST, made, factorization(6)) > 0.85


def test_it_is_a_linear_score_for_the_features_of_another() -> None:
    like = random_network(np.random.default_rng(0), features.COUNT, (4, 3))
    made = distil([Lesson(NEAREST, PRODUCTS[:1])], like)
    check(made)
    assert hidden_of(made) == (4, 3)
    for name in ("mean", "scale", "w1"):
        np.testing.assert_array_equal(getattr(made, name), getattr(like, name))
    # Nothing of its own hidden layers is left.
    assert not made.w3[:, 0].any()


def test_the_same_lessons_make_the_same_and_none_make_nothing() -> None:
    one, other = (distil([Lesson(NEAREST, PRODUCTS[:1])], LIKE) for _ in range(2))
    np.testing.assert_array_equal(one.skip, other.skip)
    assert not distil([], LIKE).skip.any()
    assert not distil([Lesson(NEAREST, [])], LIKE).skip.any()


def test_families_count_alike_however_many_runs_they_have() -> None:
    lessons = [Lesson(NEAREST, PRODUCTS * 3), Lesson(NEAREST, OTHERS[:1]), Lesson(NEAREST, [])]
    rows, targets, starts, weights = _noted(lessons, LIKE)
    assert weights.sum() == pytest.approx(1)
    _, _, first, _ = _noted(lessons[:1], LIKE)
    assert weights[: len(first) - 1].sum() == pytest.approx(0.5)
    assert (len(rows), starts[0]) == (starts[-1], 0)
    sums = np.add.reduceat(targets, starts[:-1])
    np.testing.assert_allclose(sums, 1)
    assert (np.diff(starts) > 1).all()


def test_preferences_are_as_sharp_for_every_teacher() -> None:
    rows = np.random.default_rng(0).random((6, features.COUNT)).astype(np.float32)
    usual = _sharp(NEAREST, rows)
    louder = _sharp(NEAREST._replace(skip=NEAREST.skip * 1000), rows)
    assert usual is not None
    assert louder is not None
    np.testing.assert_allclose(louder, usual, rtol=1e-5)
    assert usual.argmax() == rows[:, features.NAMES.index("missing")].argmin()
    # One that likes all as much says so.
    assert _sharp(scored_by(), rows) == pytest.approx(np.full(6, 1 / 6))


def test_a_teacher_whose_scores_are_no_numbers_teaches_nothing() -> None:
    broken = scored_by(parked=3e38, pressure=-3e38, missing=3e38)
    broken = broken._replace(scale=np.full_like(broken.scale, 1e-30))
    made = distil([Lesson(broken, PRODUCTS[:1]), Lesson(NEAREST, PRODUCTS)], LIKE)
    check(made)
    assert agreement(NEAREST, made, product(4)) > 0.9
