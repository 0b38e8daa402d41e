"""A life with models on tiny instances: found, split off, updated, merged, promoted, sent back."""

from __future__ import annotations

import math
import pkgutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dask_mlsched.core.model_choice import BASELINE, Catalogue
from dask_mlsched.core.thresholds import Thresholds
from dask_mlsched.learning import families as families_module
from dask_mlsched.learning import lifelong as module
from dask_mlsched.learning.catalogue_maker import SHIPPED_MAKESPAN
from dask_mlsched.learning.family import Family
from dask_mlsched.learning.lifelong import NEW_FAMILY, SENT_BACK, SERVED_AGAIN, Lifelong
from dask_mlsched.learning.models_in_use import GENERALIST, family_alias
from dask_mlsched.learning.outcome import (
    CHALLENGE,
    PROMOTED,
    REFUSED,
    REJECTED,
    ROLLED_BACK,
    Effort,
    Outcome,
)
from learning.instances import NEAREST, scored_by
from learning.lives import add, ended, give, lifelong, no_ship, open_library, run_of, tiny_ship

FIRST = "generalist/v0001"
GEMM, LARGER, CHOLESKY = run_of("gemm", 4), run_of("gemm", 5), run_of("cholesky", 6)
#: Whatever is better by a hair is taken, and none is merged.
EAGER = Thresholds(split_gain=0.0, update_gain=0.0, merge_after=99)


def some(networks: int = 60) -> Callable[[], Effort]:
    return lambda: Effort.counted(networks)


def nothing() -> Effort:
    pytest.fail("nothing is to be searched for")


def family_of(life: Lifelong, kind: str) -> Family:
    return next(each for each in life.families if each.name.startswith(kind))


def state(life: Lifelong) -> tuple[Any, ...]:
    catalogue = life.catalogue(1)
    return list(life.families), life.operations.library.aliases(), catalogue.frame().fields


def kinds(life: Lifelong) -> list[str]:
    return [each.kind for each in life.operations.library.events()]


# Runs


def test_families_are_found_by_what_graphs_look_like(tmp_path: Path) -> None:
    told: list[Outcome] = []
    life = lifelong(tmp_path, tell=told.append)
    names = []
    for run in (GEMM, LARGER, CHOLESKY, GEMM):
        family = life.ran(ended(run))
        assert family is not None
        names.append(family.name)
    assert names[0] == names[1] == names[3] != names[2]
    assert [each.name for each in life.families] == sorted({*names})
    assert [each.event for each in told] == [NEW_FAMILY, NEW_FAMILY]
    gemm = family_of(life, "gemm")
    assert (gemm.count, list(gemm.fingerprints)) == (3, ["gemm5", "gemm4"])
    assert [each.name for each in life.families.suite(gemm).instances] == ["run gemm4", "run gemm5"]


def test_what_it_is_compared_with_is_dasks_own_runs_where_there_are_any(tmp_path: Path) -> None:
    life = lifelong(tmp_path)
    stock = GEMM.stock_makespan
    for model, ratio, expected, measured in (
        (FIRST, 0.5, stock, False),
        (BASELINE, 1.25, 1.25 * stock, True),
        (FIRST, 0.5, 1.25 * stock, True),
        (None, 0.5, stock, False),
    ):
        family = life.ran(ended(GEMM, model, ratio))
        assert family is not None
        run = family.runs[-1]
        assert (run.baseline_seconds, run.measured) == (pytest.approx(expected), measured)
    # Another program of the family has runs of its own.
    life.ran(ended(LARGER, FIRST, 0.5))
    assert not family_of(life, "gemm").runs[-1].measured


def test_a_run_that_has_been_taken_in_is_not_taken_in_again(tmp_path: Path) -> None:
    bad = ended(GEMM, FIRST, 2.0)
    for _ in range(2):
        life = lifelong(tmp_path)
        family = life.ran(bad)
        assert family is not None
        assert (family.count, family.strikes, family.runs_left) == (1, 1, 2)


def test_where_there_are_too_many_families_nothing_is_taken_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(families_module, "MOST", 1)
    life = lifelong(tmp_path)
    assert life.ran(ended(GEMM)) is not None
    assert life.ran(ended(CHOLESKY, FIRST, 9.0)) is None
    assert len(life.families) == 1
    assert SENT_BACK not in kinds(life)


def test_a_bad_run_sends_its_family_back_for_some_runs(tmp_path: Path) -> None:
    told: list[Outcome] = []
    life = lifelong(tmp_path, tell=told.append)
    family = life.ran(ended(GEMM, FIRST, 2.0))
    assert family is not None
    assert family.sent_back == f"{FIRST}: one run took 2.00 of Dask's time; expected 1.5 at most"
    known = life.catalogue(1).families[0]
    assert known.sent_back == family.sent_back
    assert [each.model for each in known.arms] == [BASELINE]
    for left in (1, 0):
        life.ran(ended(GEMM))
        assert family.runs_left == left
    assert family.sent_back is None
    assert [each.event for each in told] == [NEW_FAMILY, SENT_BACK, SERVED_AGAIN]
    # It is the version that is banned.
    again = lifelong(tmp_path)
    assert FIRST in family_of(again, "gemm").banned


def test_a_challenger_with_a_bad_run_is_off_its_trial(tmp_path: Path) -> None:
    life = lifelong(tmp_path)
    ref = add(life.operations, GENERALIST, NEAREST)
    life.operations.library.move({"challenger": ref}, "on trial")
    life.ran(ended(GEMM, ref, 1.2))
    assert life.operations.challenger is None
    assert kinds(life)[-1] == REJECTED


# Beliefs


def test_a_model_is_estimated_on_variants_and_anew_when_runs_come(tmp_path: Path) -> None:
    life = lifelong(tmp_path)
    family = life.ran(ended(GEMM))
    assert family is not None
    variants = life.operations.variants(family)
    network = life.operations.network(FIRST)
    logs = [math.log(each.run(network).makespan) for each in (*variants.searched, *variants.judged)]
    first = family.estimates[FIRST]
    assert first == pytest.approx(-sum(logs) / len(logs))
    life.ran(ended(GEMM))
    assert family.estimates == {FIRST: first}
    life.ran(ended(LARGER))
    assert family.estimates[FIRST] != first
    # What is not asked any more is forgotten.
    ref = add(life.operations, GENERALIST, NEAREST)
    life.operations.promote(ref, "by hand")
    life.catalogue(1)
    assert list(family.estimates) == [ref]


def test_without_anything_to_simulate_it_is_what_the_card_says(tmp_path: Path) -> None:
    life = lifelong(tmp_path)
    life.ran(ended(GEMM, offered=False))
    (arm,) = [each for each in life.catalogue(1).families[0].arms if each.model == FIRST]
    assert arm.mean == pytest.approx(-math.log(SHIPPED_MAKESPAN))
    unknown = life.catalogue(1).unknown
    assert [each.model for each in unknown] == [BASELINE, FIRST]


def test_a_catalogue_has_all_that_it_names_and_can_be_sent(tmp_path: Path) -> None:
    life = lifelong(tmp_path)
    for run in (GEMM, CHOLESKY):
        life.ran(ended(run))
    own = give(life.operations, family_of(life, "gemm"), NEAREST)
    trial = add(life.operations, GENERALIST, scored_by(missing=-1.0, root=-0.1))
    life.operations.library.move({"challenger": trial}, "on trial")
    catalogue = life.catalogue(7)
    assert (catalogue.number, catalogue.champion) == (7, FIRST)
    arms = {each.name[:4]: [arm.model for arm in each.arms] for each in catalogue.families}
    assert own in arms["gemm"]
    assert own not in arms["chol"]
    assert catalogue.trial in (trial, None)
    named = {arm.model for each in catalogue.choices for arm in each} - {BASELINE}
    assert {*catalogue.networks} == named | {FIRST}
    library = life.operations.library
    assert {*catalogue.networks} <= {*catalogue.lineage}
    for ref, origin in catalogue.lineage.items():
        card = library.card(ref)
        assert origin.parents == tuple(map(str, card.parents))
        assert {*origin.parents} <= {*catalogue.lineage}
        assert (origin.made_by, origin.reason, origin.date) == (
            card.made_by,
            card.reason,
            card.date,
        )
    again = Catalogue.from_frame(catalogue.frame())
    assert again.frame().fields == catalogue.frame().fields


def test_with_dasks_order_as_champion_there_is_nothing_else_for_new_families(
    tmp_path: Path,
) -> None:
    life = lifelong(tmp_path)
    life.ran(ended(GEMM))
    life.operations.promote(BASELINE, "by hand")
    catalogue = life.catalogue(1)
    assert (catalogue.champion, dict(catalogue.networks)) == (BASELINE, {})
    assert [each.model for each in catalogue.unknown] == [BASELINE]
    # A family's own model is made all the same.
    outcome = life.work(some())
    assert outcome is not None
    assert outcome.event in ("split", REFUSED)


# Work


def test_after_each_run_its_familys_model_is_tried_to_be_bettered(tmp_path: Path) -> None:
    told: list[Outcome] = []
    life = lifelong(tmp_path, EAGER, tell=told.append)
    assert life.work(nothing) is None
    life.ran(ended(GEMM))
    outcome = life.work(some())
    assert outcome is not None
    family = family_of(life, "gemm")
    assert outcome.event == "split"
    assert life.operations.own(family) == outcome.model == f"{family.name}/v0001"
    assert life.work(nothing) is None
    assert told[-1] == outcome
    assert outcome.model in [arm.model for arm in life.catalogue(1).families[0].arms]
    life.ran(ended(LARGER, outcome.model, 0.7))
    after = life.work(some())
    assert after is not None
    assert after.event in ("update", REFUSED)


def test_attempts_are_more_and_more_seldom(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    life = lifelong(tmp_path)
    monkeypatch.setattr(
        life.operations, "update", lambda family, *_, **__: Outcome(REFUSED, "nothing")
    )
    tried = []
    for number in range(1, 20):
        life.ran(ended(GEMM))
        if life.work(some()) is not None:
            tried.append(number)
    assert tried == [1, 2, 3, 5, 8, 12, 18]


def test_one_that_fails_does_not_stop_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    life = lifelong(tmp_path)
    for run in (GEMM, CHOLESKY):
        life.ran(ended(run))
    tried = []

    def update(family: Family, *_: object, **__: object) -> Outcome:
        tried.append(family.name)
        if len(tried) == 1:
            raise OSError(28, "disk full, on purpose")
        return Outcome(REFUSED, "nothing")

    monkeypatch.setattr(life.operations, "update", update)
    with pytest.raises(OSError, match="disk full"):
        life.work(some())
    assert life.work(some()) is not None
    assert len(set(tried)) == 2
    assert life.work(nothing) is None


def quiet(life: Lifelong) -> None:
    """Leave no family waiting."""
    life._waiting.clear()


def test_two_models_that_do_as_well_for_each_other_are_merged_once(tmp_path: Path) -> None:
    life = lifelong(tmp_path)
    for run in (GEMM, CHOLESKY):
        family = life.ran(ended(run))
        assert family is not None
        give(life.operations, family, NEAREST)
    quiet(life)
    outcome = life.work(some(20))
    assert outcome is not None
    assert outcome.event == "merge"
    owns = {life.operations.own(each) for each in life.families}
    assert owns == {outcome.model}
    assert life.work(nothing) is None


def test_two_that_were_refused_are_not_tried_again_until_there_are_new_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    life = lifelong(tmp_path)
    for run in (GEMM, CHOLESKY):
        family = life.ran(ended(run))
        assert family is not None
        give(life.operations, family, NEAREST)
    quiet(life)
    tried = []

    def merge(names: list[str], *_: object, **__: object) -> Outcome:
        tried.append(sorted(names))
        return Outcome(REFUSED, "no")

    monkeypatch.setattr(life.operations, "merge", merge)
    assert life.work(some()) is not None
    assert life.work(nothing) is None
    give(life.operations, family_of(life, "gemm"), scored_by(missing=-1.0, root=-0.1))
    assert life.work(some()) is not None
    assert life.work(nothing) is None
    assert len(tried) == 2


def test_of_enough_new_models_a_generalist_is_made_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    life = lifelong(tmp_path, Thresholds(merge_after=2))
    for run in (GEMM, CHOLESKY):
        family = life.ran(ended(run))
        assert family is not None
        give(life.operations, family, NEAREST)
    quiet(life)
    made = []

    def generalise(*_: object, **__: object) -> Outcome:
        made.append(1)
        return Outcome(CHALLENGE, "made")

    monkeypatch.setattr(life.operations, "generalise", generalise)
    monkeypatch.setattr(life.operations, "closest", lambda: None)
    outcome = life.work(some())
    assert outcome is not None
    assert outcome.event == CHALLENGE
    assert life.work(nothing) is None
    assert len(made) == 1


def on_trial(life: Lifelong) -> str:
    return str(
        life.operations.challenge(
            NEAREST, made_by="test", reason="by hand", parents=[FIRST], figures={}
        ).model
    )


def test_a_trial_ends_with_a_promotion_or_without(tmp_path: Path) -> None:
    life = lifelong(tmp_path)
    life.ran(ended(GEMM))
    quiet(life)
    ref = on_trial(life)
    for _ in range(4):
        life.ran(ended(GEMM, ref, 0.3))
    quiet(life)
    assert life._settled() is None
    life.ran(ended(GEMM, ref, 0.3))
    outcome = life.work(nothing)
    assert outcome is not None
    assert (outcome.event, outcome.model) == (PROMOTED, ref)
    aliases = life.operations.library.aliases()
    assert (aliases["champion"], aliases["previous"]) == (ref, FIRST)

    worse = lifelong(tmp_path / "worse")
    worse.ran(ended(GEMM))
    quiet(worse)
    ref = on_trial(worse)
    for _ in range(5):
        worse.ran(ended(GEMM, ref, 0.99))
    outcome = worse.work(nothing)
    assert outcome is not None
    assert (outcome.event, worse.operations.champion) == (REJECTED, FIRST)


def test_a_champion_that_got_worse_on_what_runs_goes_back_and_is_compared_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    life = lifelong(tmp_path)
    life.ran(ended(GEMM))
    quiet(life)
    bad = add(life.operations, GENERALIST, scored_by(missing=1.0))
    life.operations.promote(bad, "made bad on purpose")
    outcome = life.work(nothing)
    assert outcome is not None
    assert (outcome.event, outcome.model) == (ROLLED_BACK, bad)
    assert "of the gap of family gemm" in outcome.reason
    assert life.operations.champion == FIRST
    assert life.work(nothing) is None

    good = add(life.operations, GENERALIST, life.operations.network(FIRST))
    life.operations.promote(good, "the same")
    compared = []
    fallen = module.promotion.fallen
    monkeypatch.setattr(
        module.promotion, "fallen", lambda *args: (compared.append(1), fallen(*args))[1]
    )
    assert life.work(nothing) is None
    assert life.work(nothing) is None
    assert len(compared) == 1


def test_what_it_is_told_to_generalise_is_told_of(tmp_path: Path) -> None:
    told: list[Outcome] = []
    life = lifelong(tmp_path, ship=tiny_ship, tell=told.append)
    life.ran(ended(GEMM))
    outcome = life.generalise(Effort.counted(20), None)
    assert outcome.event in (CHALLENGE, REFUSED)
    assert told[-1] == outcome


# Going on


def test_a_new_process_goes_on_with_the_same_state(tmp_path: Path) -> None:
    life = lifelong(tmp_path, EAGER)
    for model, run in ((BASELINE, GEMM), (FIRST, CHOLESKY), (FIRST, LARGER)):
        life.ran(ended(run, model, 0.9))
        life.work(some(20))
    life.ran(ended(GEMM, FIRST, 2.0))
    quiet(life)
    again = lifelong(tmp_path, EAGER)
    assert state(again) == state(life)
    assert again.families.problems == ()
    last = ended(GEMM)
    for each in (life, again):
        each.ran(last)
    assert list(again.families) == list(life.families)


class KilledError(BaseException):
    """Stands for what no process can catch."""


def live(folder: Path) -> None:
    """Do what writes to all files: 26 times."""
    life = lifelong(folder, EAGER)
    life.ran(ended(GEMM, FIRST, 0.8))
    life.work(some(8))
    ref = add(life.operations, GENERALIST, scored_by(missing=1.0))
    life.operations.promote(ref, "made bad on purpose")
    for run in (GEMM, CHOLESKY):
        life.ran(ended(run, ref, 2.0))
    life.ran(ended(GEMM))


@pytest.mark.parametrize("writes", range(0, 26, 2))
def test_wherever_it_is_killed_families_and_library_agree(tmp_path: Path, writes: int) -> None:
    """After any number of writes: files of families, of aliases, and lines of the log."""
    left = iter(range(writes))

    def dying(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            if next(left, None) is None:
                raise KilledError
            return function(*args, **kwargs)

        return call

    with pytest.MonkeyPatch.context() as patch:
        for place in (
            "dask_mlsched.learning.family.write_whole",
            "dask_mlsched.learning.instance_file.write_whole",
            "dask_mlsched.learning.library_writer.write_whole",
            "dask_mlsched.learning.library_writer.claim",
            "dask_mlsched.learning.library_log.EventLog.append",
        ):
            patch.setattr(place, dying(pkgutil.resolve_name(place)))
        with pytest.raises(KilledError):
            live(tmp_path)
    again = lifelong(tmp_path, EAGER)
    assert again.families.problems == ()
    library = again.operations.library
    for alias, target in library.aliases().items():
        assert library.network(target) is not None or target == BASELINE
        if alias.startswith("family:"):
            assert alias.removeprefix("family:") in again.families
    for family in again.families:
        assert all(each == FIRST or each.startswith("generalist") for each in family.banned)
        assert (family.sent_back is None) == (family.runs_left == 0)
        assert len(family.banned) == family.strikes
    numbers = [each.sequence for each in library.events()]
    assert numbers == list(range(1, len(numbers) + 1))
    # It goes on, and what was owed is done.
    quiet(again)
    again.work(some(5))
    struck = [each for each in again.families if again.operations.champion in each.banned]
    assert len(struck) < 2
    again.ran(ended(GEMM))
    assert open_library(tmp_path).events() == library.events()


def test_families_keep_their_aliases_by_name(tmp_path: Path) -> None:
    life = lifelong(tmp_path)
    family = life.ran(ended(GEMM))
    assert family is not None
    ref = give(life.operations, family, NEAREST)
    assert life.operations.library.aliases()[family_alias(family.name)] == ref
    assert (
        Lifelong(open_library(tmp_path), life.families, Thresholds(), no_ship).operations.own(
            family
        )
        == ref
    )


@pytest.mark.slow
def test_a_whole_life(tmp_path: Path) -> None:
    """Families come, have models of their own, share one in the end, and none is served badly."""
    life = lifelong(tmp_path, Thresholds(split_gain=0.02, merge_after=2), ship=tiny_ship)
    events = []
    for number in range(10):
        run = (GEMM, CHOLESKY, LARGER)[number % 3]
        catalogue = life.catalogue(number + 1)
        known = {each.name: each for each in catalogue.families}
        family = life.families.find(ended(run).fingerprint)[0]
        arms = known[family.name].arms if family and family.name in known else catalogue.unknown
        best = max(arms, key=lambda arm: arm.mean)
        network = catalogue.network(best.model)
        ratio = 1.0 if network is None else run.run(network).makespan
        assert ratio < 1.05
        life.ran(ended(run, best.model, ratio))
        while (outcome := life.work(some(60))) is not None:
            events.append(outcome.event)
    assert "split" in events
    assert len(events) > 5
    assert life.catalogue(99).frame().fields["families"]


def test_where_the_champion_was_sent_back_the_one_before_stands_in(tmp_path: Path) -> None:
    """Not for other families: one more has to say so before it goes back."""
    life = lifelong(tmp_path, EAGER)
    ref = add(life.operations, GENERALIST, scored_by(missing=1.0))
    life.operations.promote(ref, "made bad on purpose")
    assert FIRST not in life.catalogue(1).networks
    bad = life.ran(ended(GEMM, ref, 2.0))
    life.ran(ended(CHOLESKY, BASELINE))
    told = life.catalogue(2)
    assert life.operations.champion == told.champion == ref
    assert bad is not None
    for family in told.families:
        arms = [arm.model for arm in family.arms]
        assert ref not in arms  # banned, or foretold to be slower
        assert (FIRST in arms) == (family.name == bad.name)


def test_where_no_champion_can_be_loaded_the_model_that_ships_serves_again(tmp_path: Path) -> None:
    life = lifelong(tmp_path, EAGER)
    made = life.operations
    (made.library.path / FIRST / "model.safetensors").write_bytes(b"nonsense")
    assert life.catalogue(1).champion == BASELINE
    outcome = life.work(some(1))
    assert outcome is not None
    assert (outcome.event, outcome.model) == (ROLLED_BACK, FIRST)
    assert "cannot be loaded" in outcome.reason
    assert made.champion == life.catalogue(2).champion == "generalist/v0002"
    assert made.library.card(made.champion).made_by == "shipped"
