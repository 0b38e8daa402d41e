"""Choosing: by the family, among its arms, what is uncertain now and then, and nothing else."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dask_mlsched.core.dag import Dag
from dask_mlsched.core.model_choice import BASELINE, Belief, Catalogue, Choice, KnownFamily
from dask_mlsched.core.network import Network
from dask_mlsched.learning.choosing import (
    FAR_DEVIATION,
    NEAREST,
    TRIALS,
    Chooser,
    Neighbour,
    choose,
)
from dask_mlsched.learning.fingerprint import FingerprintError, fingerprint, similarity
from learning.instances import factorization, product, scored_by

DASK = Belief(BASELINE, 0.0, 0.0)
CHAMPION = "generalist/v0001"
DAG = product(4).dag


def family(name: str, *arms: Belief, dag: Dag = DAG, sent_back: str | None = None) -> KnownFamily:
    return KnownFamily(name, fingerprint(dag).to_json(), (DASK, *arms), sent_back)


def arm(model: str, mean: float, deviation: float = 0.01, runs: int = 3) -> Belief:
    return Belief(model, mean, deviation, runs)


def catalogue(*families: KnownFamily, unknown: Sequence[Belief] = (), **fields: Any) -> Catalogue:
    general = (DASK, *(unknown or (arm(CHAMPION, 0.1, 0.1),)))
    named = {each.model for arms in (general, *(f.arms for f in families)) for each in arms}
    networks: dict[str, Network] = {
        ref: scored_by(missing=-1.0 - number)
        for number, ref in enumerate(sorted({*named, CHAMPION} - {BASELINE}))
    }
    return Catalogue(1, CHAMPION, general, families, networks, **fields)


def chosen(
    there: Catalogue, similarities: Sequence[float], seed: int = 0, times: int = 1
) -> list[Choice]:
    near = [Neighbour(*pair) for pair in zip(there.families, similarities, strict=True)]
    rng = np.random.default_rng(seed)
    return [choose(there, near, rng) for _ in range(times)]


def counts(choices: Sequence[Choice]) -> Counter[str]:
    return Counter(each.model for each in choices)


def test_the_same_seed_chooses_the_same() -> None:
    there = catalogue(family("f", arm("a/v0001", 0.1, 0.2), arm("b/v0001", 0.1, 0.2)))
    first, second, other = (
        [(each.model, each.considered) for each in chosen(there, [1.0], seed, 30)]
        for seed in (1, 1, 2)
    )
    assert first == second != other


@given(
    means=st.lists(st.floats(-0.5, 0.5), min_size=1, max_size=5),
    how=st.floats(0, 1),
    seed=st.integers(0, 99),
)
@settings(deadline=None, max_examples=60)
def test_only_what_is_there_is_chosen_and_the_largest_draw_wins(
    means: list[float], how: float, seed: int
) -> None:
    arms = [arm(f"m{n}/v0001", mean, 0.1) for n, mean in enumerate(means)]
    there = catalogue(family("f", *arms))
    (choice,) = chosen(there, [how], seed)
    allowed = {each.model for each in (*there.unknown, *arms)}
    assert choice.model in {each.belief.model for each in choice.considered} <= allowed
    assert max(choice.considered, key=lambda each: each.drawn).belief.model == choice.model
    assert choice.network is there.network(choice.model)
    assert (choice.family, choice.nearest) == ("f" if how >= 0.9 else None, "f")
    assert "\n" not in choice.why
    assert 10 < len(choice.why) < 200


def test_what_is_clearly_best_is_nearly_always_chosen_and_the_worse_is_not() -> None:
    there = catalogue(family("f", arm("good/v0001", 0.4, 0.05), arm("bad/v0001", 0.1, 0.05)))
    found = counts(chosen(there, [1.0], times=500))
    assert found["good/v0001"] >= 495
    assert found[BASELINE] == 0


def test_what_is_uncertain_is_tried_now_and_then() -> None:
    there = catalogue(family("f", arm("known/v0001", 0.2, 0.02), arm("new/v0001", 0.1, 0.1)))
    found = counts(chosen(there, [1.0], times=2000))
    # The difference has a normal distribution.
    chance = 0.5 * math.erfc(0.1 / math.hypot(0.1, 0.02) / math.sqrt(2))
    assert found["new/v0001"] / 2000 == pytest.approx(chance, abs=0.03)


def test_of_equals_dask_alone_is_chosen() -> None:
    there = catalogue(family("f", arm("m/v0001", 0.0, 0.0)))
    assert counts(chosen(there, [1.0], times=20)) == {BASELINE: 20}


def test_a_family_that_was_sent_back_is_left_to_dask_alone() -> None:
    there = catalogue(
        family("f", arm("m/v0001", 9.0), sent_back="m/v0001: too slow"), trial="m/v0001"
    )
    for choice in chosen(there, [0.95], times=20):
        assert (choice.model, choice.network, choice.family) == (BASELINE, None, "f")
        assert choice.why == "f is left to Dask alone: m/v0001: too slow"
        assert [each.belief.model for each in choice.considered] == [BASELINE]


def test_a_family_without_arms_is_left_to_dask_alone() -> None:
    empty = replace(family("f"), arms=())
    assert chosen(catalogue(empty), [1.0])[0].model == BASELINE
    assert chosen(catalogue(empty), [0.7])[0].model in (BASELINE, CHAMPION)


def test_from_the_threshold_on_a_graph_is_of_the_family() -> None:
    there = catalogue(family("f", arm("m/v0001", 9.0)), same_family=0.8)
    assert chosen(there, [0.8])[0].family == "f"
    found = chosen(there, [0.7999])[0]
    assert found.family is None
    assert found.why.startswith("a new family; the nearest is f (0.80); ")


def test_of_two_families_it_is_the_nearer_one() -> None:
    there = catalogue(family("f", arm("m/v0001", 9.0)), family("g", arm("n/v0001", 9.0)))
    assert chosen(there, [0.95, 0.97])[0].model == "n/v0001"
    assert chosen(there, [0.97, 0.95])[0].model == "m/v0001"


def test_for_a_new_family_models_of_near_ones_are_believed_in_less_the_further_they_are() -> None:
    best, other = arm("best/v0001", 0.4, 0.05), arm("other/v0001", 0.3, 0.01)
    there = catalogue(family("f", other, best))
    means, deviations = [], []
    for how in (0.89, 0.8, 0.7, 0.6):
        (choice,) = chosen(there, [how])
        beliefs = {each.belief.model: each.belief for each in choice.considered}
        assert list(beliefs) == [BASELINE, CHAMPION, "best/v0001"]
        found = beliefs["best/v0001"]
        assert found.mean == pytest.approx(0.4 * how)
        assert found.deviation == pytest.approx(math.hypot(0.05, FAR_DEVIATION * (1 - how)))
        assert found.runs == 0
        means.append(found.mean)
        deviations.append(found.deviation)
    assert all(one > other for one, other in pairwise(means))
    assert all(one < other for one, other in pairwise(deviations))
    assert len(chosen(there, [0.5999])[0].considered) == 2


def test_only_the_nearest_are_looked_at_and_none_that_was_sent_back() -> None:
    names = "fghij"
    there = catalogue(
        *(family(name, arm(f"{name}/v0001", 0.5)) for name in names),
        family("sent", arm("s/v0001", 0.9), sent_back="slow"),
    )
    (choice,) = chosen(there, [0.7, 0.75, 0.65, 0.8, 0.85, 0.1])
    found = [each.belief.model for each in choice.considered]
    assert found == [BASELINE, CHAMPION, "j/v0001", "i/v0001", "g/v0001"]
    assert len(found) == 2 + NEAREST
    (choice,) = chosen(there, [0.1] * 5 + [0.85])
    assert len(choice.considered) == 2


def test_what_near_families_have_does_not_stand_for_what_there_is_for_any() -> None:
    there = catalogue(family("f", arm(CHAMPION, 0.9)), unknown=(arm(CHAMPION, 0.1, 0.1),))
    (choice,) = chosen(there, [0.8])
    assert [each.belief.mean for each in choice.considered] == [0.0, 0.1]


def test_a_generalist_on_trial_decides_in_half_of_the_runs() -> None:
    there = catalogue(
        family("f", arm("good/v0001", 0.5, 0.01), arm("new/v0001", 0.0, 0.01)), trial="new/v0001"
    )
    choices = chosen(there, [1.0], times=1000)
    found = counts(choices)
    assert found["new/v0001"] / 1000 == pytest.approx(TRIALS, abs=0.05)
    assert found["good/v0001"] == 1000 - found["new/v0001"]
    assert all(("; on trial; " in each.why) == (each.model == "new/v0001") for each in choices)
    # Where it is no arm, as where it is banned, it decides nothing.
    there = replace(there, families=(family("f", arm("good/v0001", 0.5)),))
    assert counts(chosen(there, [1.0], times=50)) == {"good/v0001": 50}


def test_before_any_family_there_are_dask_alone_and_the_generalist() -> None:
    (choice,) = chosen(catalogue(), [])
    assert (choice.family, choice.nearest, choice.similarity) == (None, None, 0.0)
    assert choice.why.startswith("no family is known yet; ")


def test_reasons_name_what_is_believed() -> None:
    there = catalogue(family("f", arm("m/v0001", math.log(2), 0.04, 7)))
    (choice,) = chosen(there, [1.0])
    assert choice.why == (
        "a graph of family f; m/v0001 is believed to take 0.50 of Dask's time (within 0.04, 7 runs)"
    )
    told = choice.as_dict()
    assert (told["model"], told["family"], told["similarity"]) == ("m/v0001", "f", 1.0)
    assert [each["model"] for each in told["considered"]] == [BASELINE, "m/v0001"]
    (choice,) = chosen(catalogue(family("f", arm("m/v0001", -9.0))), [1.0])
    assert choice.why == "a graph of family f; Dask alone is believed to be best"


def arriving(dag: Dag) -> list[tuple[str, str, list[str], bool]]:
    return [
        (task.key, task.prefix, list(task.dependencies), bool(given))
        for task, given in zip(dag.tasks(), dag.given, strict=True)
    ]


def test_a_chooser_follows_the_graphs_of_a_run() -> None:
    chooser = Chooser()
    assert chooser.choose() is None
    other = factorization(5).dag
    there = catalogue(family("f", arm("m/v0001", 9.0)), family("g", arm("n/v0001", 9.0), dag=other))
    chooser.take(there)
    tasks = arriving(product(5).dag)
    chooser.graph_arrived(tasks[: len(tasks) // 2])
    chooser.graph_arrived(tasks[len(tasks) // 2 :])
    choice = chooser.choose()
    assert choice is not None
    assert (choice.family, choice.model) == ("f", "m/v0001")
    assert choice.similarity == similarity(fingerprint(product(5).dag), fingerprint(DAG))
    assert chooser.fingerprint == fingerprint(product(5).dag)
    chooser.begin_run()
    chooser.graph_arrived(arriving(other))
    choice = chooser.choose()
    assert choice is not None
    assert (choice.family, choice.model, choice.similarity) == ("g", "n/v0001", 1.0)


def test_a_damaged_fingerprint_keeps_the_catalogue_before() -> None:
    chooser = Chooser()
    good = catalogue(family("f", arm("m/v0001", 9.0)))
    chooser.take(good)
    damaged = replace(family("g", arm("n/v0001", 9.0)), fingerprint={"version": 1})
    with pytest.raises(FingerprintError, match="damaged"):
        chooser.take(catalogue(family("f", arm("n/v0001", 9.0)), damaged))
    chooser.graph_arrived(arriving(DAG))
    choice = chooser.choose()
    assert choice is not None
    assert choice.model == "m/v0001"


def test_a_catalogue_that_was_sent_is_chosen_from_alike() -> None:
    there = catalogue(
        family("f", arm("m/v0001", 0.3, 0.2), arm("n/v0001", 0.3, 0.2)), trial="n/v0001"
    )
    again = Catalogue.from_frame(there.frame())
    for seed in range(5):
        one, other = (
            [each.as_dict() for each in chosen(each, [0.95], seed, 5)] for each in (there, again)
        )
        assert one == other
