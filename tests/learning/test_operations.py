"""Operations: what moves which alias, with cards and events that say why; and back exactly."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dask_mlsched.core import events as ev
from dask_mlsched.core.model_choice import BASELINE
from dask_mlsched.core.network import Network
from dask_mlsched.core.planners.learned import Learned
from dask_mlsched.core.recorder import RecordedController, Recorder
from dask_mlsched.core.replay import ReplayError, replay
from dask_mlsched.core.simulator import simulate
from dask_mlsched.core.thresholds import Thresholds
from dask_mlsched.core.trace import Header, NetworkServed, Trace
from dask_mlsched.core.trace_codec import decode
from dask_mlsched.learning import family_update, merging
from dask_mlsched.learning.default_model import default_network
from dask_mlsched.learning.family_update import FamilyAttempt
from dask_mlsched.learning.instance import Instance
from dask_mlsched.learning.merging import Merge
from dask_mlsched.learning.model_card import network_digest
from dask_mlsched.learning.model_ref import LibraryError
from dask_mlsched.learning.models_in_use import GENERALIST, family_alias
from dask_mlsched.learning.operations import Operations
from dask_mlsched.learning.outcome import (
    CHALLENGE,
    PROMOTED,
    REFUSED,
    REJECTED,
    ROLLED_BACK,
    Effort,
)
from learning.instances import NEAREST, product, scored_by
from learning.lives import add, give, known_family, operations, run_of, tiny_ship

FIRST = "generalist/v0001"
#: Networks that are told apart.
ONES = [scored_by(missing=-1.0 - n, root=0.1 * n) for n in range(8)]
NO_TIME = Effort.counted(0)


def aliases(made: Operations) -> dict[str, str]:
    return dict(made.library.aliases())


def events(made: Operations, kind: str) -> list[Any]:
    return [each for each in made.library.events() if each.kind == kind]


def digest(made: Operations) -> str:
    return network_digest(made.network(made.champion))


def damage(made: Operations, ref: str) -> None:
    (made.library.path / ref / "model.safetensors").write_bytes(b"no model")


# What there is


def test_the_model_that_ships_is_the_first_champion_once(tmp_path: Path) -> None:
    made = operations(tmp_path)
    assert aliases(made) == {"champion": FIRST}
    assert digest(made) == network_digest(default_network())
    again = operations(tmp_path)
    assert aliases(again) == {"champion": FIRST}
    assert again.library.versions(GENERALIST) == [FIRST]
    assert (again.champion, again.challenger) == (FIRST, None)


def test_dasks_order_stands_for_baseline(tmp_path: Path) -> None:
    run = product(4)
    assert run.run(operations(tmp_path).network(BASELINE)).makespan == pytest.approx(1, abs=0.02)


def test_an_own_model_that_cannot_be_loaded_is_none(tmp_path: Path) -> None:
    made = operations(tmp_path)
    family = known_family(made.families, "gemm", 4)
    assert made.own(family) is None
    ref = give(made, family, NEAREST)
    assert made.own(family) == ref
    damage(made, ref)
    assert made.own(family) is None


def test_variants_are_made_once_and_anew_when_runs_come(tmp_path: Path) -> None:
    made = operations(tmp_path)
    family = known_family(made.families, "gemm", 4)
    first = made.variants(family)
    assert made.variants(family) is first
    assert len(first.judged) == 3
    known_family(made.families, "gemm", 5)
    assert len(made.variants(family).judged) == 6


# Update and split


def attempted(
    monkeypatch: pytest.MonkeyPatch, network: Network | None, objection: str | None = None
) -> list[dict[str, Any]]:
    """Let an attempt come to this; return what it is given."""
    given: list[dict[str, Any]] = []

    def attempt(serving: Network, others: Any, *_: Any, kind: str, **__: Any) -> FamilyAttempt:
        given.append({"serving": serving, "others": others, "kind": kind})
        figures = {"makespan": 0.8123456, "before": 0.9}
        return FamilyAttempt(kind, network, "search", objection, figures)  # type: ignore[arg-type]

    monkeypatch.setattr(family_update, "attempt", attempt)
    return given


def test_the_first_model_of_a_family_is_split_off_and_then_updated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = operations(tmp_path)
    family = known_family(made.families, "gemm", 4)
    given = attempted(monkeypatch, ONES[0])
    outcome = made.update(family, NO_TIME)
    ref = f"{family.name}/v0001"
    assert (outcome.event, outcome.model, outcome.family) == ("split", ref, family.name)
    assert outcome.reason == f"0.812 of Dask's time on variants of its runs, 0.900 with {FIRST}"
    card = made.library.card(ref)
    assert (card.parents, card.families, card.made_by) == (
        (FIRST,),
        (family.name,),
        "split (search)",
    )
    assert card.reason == outcome.reason
    assert card.figures == outcome.figures == {"makespan": 0.81235, "before": 0.9}
    assert aliases(made) == {"champion": FIRST, family_alias(family.name): ref}
    (moved,) = [each for each in events(made, "moved") if "family" in each.what]
    assert moved.why == f"split: {outcome.reason}"

    attempted(monkeypatch, ONES[1])
    outcome = made.update(family, NO_TIME)
    assert (outcome.event, outcome.model) == ("update", f"{family.name}/v0002")
    assert made.library.card(f"{family.name}/v0002").parents == (ref,)
    assert made.own(family) == f"{family.name}/v0002"
    assert [each["kind"] for each in given] == ["split"]


def test_one_that_is_refused_moves_nothing_and_is_told_with_its_figures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = operations(tmp_path)
    family = known_family(made.families, "gemm", 4)
    attempted(monkeypatch, ONES[0], "not enough")
    before = aliases(made)
    outcome = made.update(family, NO_TIME)
    assert (outcome.event, outcome.model) == (REFUSED, None)
    assert outcome.reason == f"split of {family.name}: not enough"
    (event,) = events(made, REFUSED)
    assert (event.why, event.parents) == (outcome.reason, (FIRST,))
    assert event.figures == outcome.figures == {"makespan": 0.81235, "before": 0.9}
    assert aliases(made) == before
    assert made.library.versions(family.name) == []
    # The next search may begin there.
    given = attempted(monkeypatch, None, "nothing")
    made.update(family, NO_TIME)
    assert any(each is ONES[0] for each in given[0]["others"])


def test_a_family_that_shares_its_model_is_split_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = operations(tmp_path)
    one = known_family(made.families, "gemm", 4)
    other = known_family(made.families, "cholesky", 5)
    ref = add(made, "shared", ONES[1], families=[one.name, other.name])
    made.library.move({family_alias(each.name): ref for each in (one, other)}, "by hand")
    given = attempted(monkeypatch, ONES[2])
    outcome = made.update(one, NO_TIME)
    assert (outcome.event, given[0]["kind"]) == ("split", "split")
    assert made.library.card(str(outcome.model)).parents == (ref,)
    assert (made.own(one), made.own(other)) == (outcome.model, ref)


def test_a_family_without_runs_is_one_clear_error(tmp_path: Path) -> None:
    made = operations(tmp_path)
    family = known_family(made.families, "gemm", 4)
    give(made, family, NEAREST)
    for file in (tmp_path / "families" / family.name).glob("frozen-*"):
        file.unlink()
    made = operations(tmp_path)
    family = made.families[family.name]
    for call in (
        lambda: made.update(family, NO_TIME),
        lambda: made.merge([family.name], NO_TIME),
    ):
        with pytest.raises(LibraryError, match="has no runs to judge by; let it run once more"):
            call()
    outcome = made.generalise(NO_TIME)
    assert (outcome.event, outcome.reason) == (
        "refused",
        "generalist: nothing could be won in any run so far",
    )
    assert made.closest() is None


def test_with_dasks_order_as_champion_models_are_made_as_well(tmp_path: Path) -> None:
    made = operations(tmp_path, ship=tiny_ship)
    family = known_family(made.families, "gemm", 5)
    made.promote(BASELINE, "by hand")
    assert made.champion == BASELINE
    outcome = made.update(family, Effort.counted(40))
    assert outcome.event == "split"
    assert made.library.card(str(outcome.model)).parents == (BASELINE,)
    assert outcome.figures["before"] == pytest.approx(1, abs=0.02)
    assert made.generalise(Effort.counted(10)).event in (CHALLENGE, REFUSED)


# Merge


def two_of_their_own(made: Operations) -> list[str]:
    families = [known_family(made.families, "gemm", 4), known_family(made.families, "cholesky", 5)]
    for family, network in zip(families, ONES, strict=False):
        give(made, family, network)
    return [each.name for each in families]


def merged(monkeypatch: pytest.MonkeyPatch, names: list[str], objection: str | None = None) -> None:
    def merge(*_: Any, **__: Any) -> Merge:
        figures = {f"ratio of {name}": 1.01 for name in names}
        return Merge(
            ONES[5], "distillation", tuple(names), dict.fromkeys(names, 1.01), objection, figures
        )

    monkeypatch.setattr(merging, "merge", merge)
    monkeypatch.setattr(merging, "generalise", merge)


def test_a_merge_serves_all_its_families(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = operations(tmp_path)
    names = two_of_their_own(made)
    parents = sorted(aliases(made)[family_alias(name)] for name in names)
    merged(monkeypatch, names)
    outcome = made.merge(names, NO_TIME)
    assert outcome.event == "merge"
    card = made.library.card(str(outcome.model))
    assert (sorted(card.parents), list(card.families)) == (parents, names)
    assert card.made_by == "merge (distillation)"
    assert card.figures == {f"ratio of {name}": 1.01 for name in names}
    assert {made.own(made.families[name]) for name in names} == {outcome.model}
    assert made.champion == FIRST
    with pytest.raises(LibraryError, match="have 1 models of their own; expected 2 or more"):
        made.merge(names, NO_TIME)
    assert made.closest() is None


def test_a_merge_that_is_refused_moves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = operations(tmp_path)
    names = two_of_their_own(made)
    before = aliases(made)
    merged(monkeypatch, names, "too slow")
    outcome = made.merge(names, NO_TIME)
    assert (outcome.event, outcome.reason) == (REFUSED, f"merge of {', '.join(names)}: too slow")
    assert aliases(made) == before


def test_names_of_what_is_shared_are_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = operations(tmp_path)
    names = two_of_their_own(made)
    merged(monkeypatch, names)
    assert made.merge(names, NO_TIME).model == f"{'.'.join(sorted(names))}/v0001"
    long = operations(tmp_path / "long")
    monkeypatch.setattr("dask_mlsched.learning.model_making._LONGEST_NAME", 10)
    names = two_of_their_own(long)
    merged(monkeypatch, names)
    assert str(long.merge(names, NO_TIME).model).startswith("shared-")


def test_the_closest_are_those_whose_models_do_best_for_each_other(tmp_path: Path) -> None:
    made = operations(tmp_path)
    gemm = known_family(made.families, "gemm", 4)
    cholesky = known_family(made.families, "cholesky", 5)
    assert made.closest() is None
    give(made, gemm, NEAREST)
    assert made.closest() is None
    give(made, cholesky, NEAREST)
    # The same network, but two models.
    assert sorted(made.closest() or []) == sorted([gemm.name, cholesky.name])


def test_of_three_the_closest_are_those_of_whom_one_serves_the_other_best(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = operations(tmp_path)
    families = [known_family(made.families, kind, 5) for kind in ("gemm", "stencil", "matvec")]
    for family, network in zip(families, ONES, strict=False):
        give(made, family, network)
    gemm, stencil, matvec = (each.name for each in families)
    # family, whose model -> what that comes to there, beside its own.
    ratios = {(gemm, stencil): 1.2, (stencil, gemm): 1.3, (matvec, gemm): 1.01}

    def ratio_of(parent: merging.Parent, network: Network) -> float:
        (other,) = (f.name for f, n in zip(families, ONES, strict=False) if same(n, network))
        return ratios.get((parent.family, other), 2.0)

    def same(one: Network, other: Network) -> bool:
        return network_digest(one) == network_digest(other)

    monkeypatch.setattr(merging, "ratio_of", ratio_of)
    assert made.closest() == sorted([gemm, matvec])


# Trials


def test_a_generalist_is_on_trial_and_then_rejected_or_promoted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = operations(tmp_path, ship=tiny_ship)
    names = two_of_their_own(made)
    own = [aliases(made)[family_alias(name)] for name in names]

    networks = iter(ONES[5:7])

    def generalise(*_: Any, **__: Any) -> Merge:
        figures = {"overall": 0.9, "challenger": 0.7}
        return Merge(next(networks), "the mean of weights", (names[0],), {}, None, figures)

    monkeypatch.setattr(merging, "generalise", generalise)
    outcome = made.generalise(NO_TIME)
    second = "generalist/v0002"
    assert (outcome.event, outcome.model, made.challenger) == (CHALLENGE, second, second)
    card = made.library.card(second)
    assert card.parents == (FIRST, *(aliases(made)[family_alias(f.name)] for f in made.families))
    assert card.families == (names[0],)
    assert card.figures == {"overall": 0.9, "challenger": 0.7}
    assert names[0] in card.reason
    # Until then, nothing else has moved.
    assert made.champion == FIRST
    assert [aliases(made)[family_alias(name)] for name in names] == own

    rejected = made.reject("slow", {"pairs": 5.0})
    assert (rejected.event, rejected.model, made.challenger) == (REJECTED, second, None)
    assert events(made, REJECTED)[0].what == second
    with pytest.raises(LibraryError, match="no generalist is on trial"):
        made.reject("again")

    made.generalise(NO_TIME)
    promoted = made.promote("challenger", "better", {"ratio": 0.9})
    assert (promoted.event, promoted.model) == (PROMOTED, "generalist/v0003")
    # It stands for one family, which has no model of its own any more.
    assert aliases(made) == {
        "champion": "generalist/v0003",
        "previous": FIRST,
        family_alias(names[1]): own[1],
    }
    (event,) = events(made, PROMOTED)
    assert (event.what, event.parents, event.figures) == (
        "generalist/v0003",
        (FIRST,),
        {"ratio": 0.9},
    )


def test_a_second_one_takes_the_place_of_the_first_whose_end_is_told(tmp_path: Path) -> None:
    made = operations(tmp_path)
    for network in ONES[:2]:
        made.challenge(network, made_by="test", reason="better", parents=[FIRST], figures={})
    assert made.challenger == "generalist/v0003"
    (event,) = events(made, REJECTED)
    assert (event.what, event.why) == ("generalist/v0002", "generalist/v0003 takes its place")


def test_promoting_takes_away_only_what_the_cards_parents_had(tmp_path: Path) -> None:
    made = operations(tmp_path)
    gemm, cholesky = (made.families[name] for name in two_of_their_own(made))
    old = [made.own(gemm), made.own(cholesky)]
    target = add(
        made,
        GENERALIST,
        ONES[6],
        families=[gemm.name, cholesky.name, "gone-1234"],
        parents=[FIRST, *map(str, old)],
    )
    newer = give(made, cholesky, ONES[7])
    made.promote(target, "better")
    assert aliases(made) == {
        "champion": target,
        "previous": FIRST,
        family_alias(cholesky.name): newer,
    }


def test_what_cannot_be_promoted_is_a_clear_error_and_moves_nothing(tmp_path: Path) -> None:
    made = operations(tmp_path)
    two_of_their_own(made)
    gone, damaged = (add(made, GENERALIST, ONES[n]) for n in (3, 4))
    made.library.remove(gone, "by hand")
    damage(made, damaged)
    before = aliases(made)
    for ref, message in (
        (gone, "has no 'generalist/v0002'"),
        (damaged, "generalist/v0003"),
        (FIRST, "is the champion already"),
        ("champion", "is the champion already"),
        ("challenger", "has no 'challenger'"),
        ("no such", "has no 'no such'"),
    ):
        with pytest.raises(LibraryError, match=message) as caught:
            made.promote(ref, "by hand")
        assert "\n" not in str(caught.value)
        assert aliases(made) == before
    assert events(made, PROMOTED) == []


# Back


def test_back_is_exactly_where_it_was(tmp_path: Path) -> None:
    made = operations(tmp_path)
    gemm, cholesky = (made.families[name] for name in two_of_their_own(made))
    before, weights = aliases(made), digest(made)
    target = add(
        made,
        GENERALIST,
        ONES[6],
        families=[gemm.name, cholesky.name],
        parents=[str(made.own(gemm)), str(made.own(cholesky))],
    )
    made.library.move({"challenger": target}, "on trial")
    assert made.goes_back is False
    made.promote(target, "better")
    assert made.own(gemm) is None
    assert made.goes_back
    outcome = made.roll_back("worse", {"gap": 0.1})
    assert (outcome.event, outcome.model) == (ROLLED_BACK, target)
    # But for the trial, which is over.
    assert aliases(made) == before
    assert digest(made) == weights
    (event,) = events(made, ROLLED_BACK)
    assert (event.what, event.why, event.parents) == (target, "worse", (FIRST,))
    assert aliases(operations(tmp_path)) == before


def test_what_has_moved_on_since_then_stays(tmp_path: Path) -> None:
    made = operations(tmp_path)
    gemm, cholesky = (made.families[name] for name in two_of_their_own(made))
    old = made.own(cholesky)
    target = add(
        made,
        GENERALIST,
        ONES[6],
        families=[gemm.name, cholesky.name],
        parents=[str(made.own(gemm)), str(old)],
    )
    made.promote(target, "better")
    newer = give(made, gemm, ONES[7])
    made.roll_back("worse")
    assert aliases(made) == {
        "champion": FIRST,
        family_alias(gemm.name): newer,
        family_alias(cholesky.name): old,
    }


def test_twice_goes_back_two_steps_and_then_no_further(tmp_path: Path) -> None:
    made = operations(tmp_path)
    tables = [aliases(made)]
    for number in range(3):
        made.promote(add(made, GENERALIST, ONES[number]), "better")
        tables.append(aliases(made))
    for table in reversed(tables[:-1]):
        made = operations(tmp_path)
        made.roll_back("worse")
        assert aliases(made) == table
    with pytest.raises(LibraryError, match=f"no champion before '{FIRST}' can be loaded"):
        made.roll_back("worse")
    assert aliases(made) == tables[0]
    assert len(events(made, ROLLED_BACK)) == 3


def test_to_a_champion_that_was_promoted_again_it_goes_back_once_more(tmp_path: Path) -> None:
    made = operations(tmp_path)
    second = add(made, GENERALIST, ONES[0])
    made.promote(second, "better")
    made.promote(FIRST, "by hand")
    assert aliases(made) == {"champion": FIRST, "previous": second}
    made.roll_back("worse")
    assert aliases(made) == {"champion": second, "previous": FIRST}
    made.roll_back("worse")
    assert aliases(made) == {"champion": FIRST}
    made.promote(second, "once more")
    made.roll_back("worse")
    assert aliases(made) == {"champion": FIRST}


def test_there_and_back_from_dasks_order(tmp_path: Path) -> None:
    made = operations(tmp_path)
    made.promote(BASELINE, "by hand")
    assert aliases(made) == {"champion": BASELINE, "previous": FIRST}
    second = add(made, GENERALIST, ONES[0])
    made.promote(second, "better")
    made.roll_back("worse")
    assert aliases(made) == {"champion": BASELINE, "previous": FIRST}
    made.roll_back("worse")
    assert aliases(made) == {"champion": FIRST}


def test_a_champion_before_that_is_damaged_is_passed_over(tmp_path: Path) -> None:
    made = operations(tmp_path)
    second, third = (add(made, GENERALIST, ONES[n]) for n in range(2))
    made.promote(second, "better")
    made.promote(third, "better")
    damage(made, second)
    made.roll_back("worse")
    assert aliases(made) == {"champion": FIRST}


def test_if_none_before_can_be_loaded_nothing_changes(tmp_path: Path) -> None:
    made = operations(tmp_path)
    second = add(made, GENERALIST, ONES[0])
    made.promote(second, "better")
    damage(made, FIRST)
    before, log = aliases(made), made.library.events()
    assert not made.goes_back
    with pytest.raises(LibraryError, match=f"no champion before '{second}' can be loaded; promote"):
        made.roll_back("worse")
    assert aliases(made) == before
    assert made.library.events() == log
    # One that may be removed, too.
    made.promote(BASELINE, "by hand")
    made.library.move({"previous": None}, "by hand")
    made.library.remove(second, "by hand")
    with pytest.raises(LibraryError, match="no champion before 'baseline'"):
        made.roll_back("worse")
    assert made.champion == BASELINE


def test_a_family_whose_own_model_is_damaged_by_then_is_served_by_the_generalist(
    tmp_path: Path,
) -> None:
    made = operations(tmp_path)
    gemm, cholesky = (made.families[name] for name in two_of_their_own(made))
    old = [str(made.own(each)) for each in (gemm, cholesky)]
    target = add(made, GENERALIST, ONES[6], families=[gemm.name, cholesky.name], parents=old)
    made.promote(target, "better")
    damage(made, old[0])
    made.roll_back("worse")
    assert aliases(made) == {"champion": FIRST, family_alias(cholesky.name): old[1]}


@given(st.lists(st.sampled_from("pprsb"), max_size=9))
@settings(
    max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_after_anything_back_undoes_the_last_promotion(
    tmp_path_factory: pytest.TempPathFactory, steps: list[str]
) -> None:
    """Promotions make a pile; what goes back takes the uppermost off."""
    made = operations(tmp_path_factory.mktemp("back"))
    family = known_family(made.families, "gemm", 4)
    pile: list[dict[str, str]] = []
    for number, step in enumerate(steps):
        if step == "p":
            pile.append(aliases(made))
            own = made.own(family)
            named = [family.name] if own else []
            parents = [own] if own else []
            target = add(made, GENERALIST, ONES[number % 8], families=named, parents=parents)
            made.promote(target, "better")
        elif step == "b" and made.champion != BASELINE:
            pile.append(aliases(made))
            made.promote(BASELINE, "by hand")
        elif step == "s":
            # Its own model is newer than all that is on the pile.
            ref = give(made, family, ONES[number % 8])
            pile = [{**table, family_alias(family.name): ref} for table in pile]
        elif step == "r" and pile:
            made.roll_back("worse")
            expected = pile.pop()
            assert aliases(made)["champion"] == expected["champion"]
            assert aliases(made).get("previous") == expected.get("previous")
            assert aliases(made).get(family_alias(family.name)) in (
                expected.get(family_alias(family.name)),
                *made.library.versions(family.name),
            )
        else:
            continue
        assert json.loads((made.library.path / "aliases.json").read_text())["aliases"] == aliases(
            made
        )
    assert made.goes_back == bool(pile)


# The same behaviour


def recorded_under(network: Network, run: Instance) -> Trace:
    """Record what a controller is told and says under a network."""
    parts: list[bytes] = []
    recorder = Recorder(
        Header("1", 0.0, "learned", "manage", run.settings), parts.append, limit=10**8
    )
    simulate(
        run.dag,
        run.machine,
        Learned(network),
        order=run.order,
        settings=run.settings,
        controller=lambda *made_of: RecordedController(*made_of, recorder),
    )
    recorder.close()
    trace = decode(b"".join(parts))
    assert trace.complete
    # Replays are given a network, and not the one that the trace has.
    entries = tuple(each for each in trace.entries if not isinstance(each, NetworkServed))
    return replace(trace, entries=entries)


def said_under(trace: Trace, network: Network) -> list[ev.Instruction] | None:
    """Replay a trace with a network; None if it says what the events cannot have come after."""
    try:
        return replay(trace, lambda *_: Learned(network))
    except ReplayError:
        return None


def test_after_the_way_back_a_recorded_run_is_decided_as_before_instruction_for_instruction(
    tmp_path: Path,
) -> None:
    made = operations(tmp_path)
    trace = recorded_under(made.network(made.champion), run_of("gemm", 5))
    assert len(trace.instructions()) > 50
    assert said_under(trace, made.network(made.champion)) == trace.instructions()
    target = add(made, GENERALIST, scored_by(missing=1.0))
    made.promote(target, "made bad on purpose")
    assert said_under(trace, made.network(made.champion)) != trace.instructions()
    made.roll_back("worse")
    again = operations(tmp_path)
    assert said_under(trace, again.network(again.champion)) == trace.instructions()
    for name, array in default_network()._asdict().items():
        np.testing.assert_array_equal(getattr(again.network(again.champion), name), array)


def test_thresholds_are_those_it_was_given(tmp_path: Path) -> None:
    assert operations(tmp_path, Thresholds(merge_loss=0.5)).thresholds.merge_loss == 0.5


def test_what_has_the_weights_of_a_version_is_that_version(tmp_path: Path) -> None:
    """A recorded run tells which network decided: two versions of one could not be told apart."""
    made = operations(tmp_path, ship=tiny_ship)
    names = two_of_their_own(made)
    (one, other) = (made.families[name] for name in names)
    ref = made.own(one)
    assert ref is not None
    before = made.library.versions(other.name)
    outcome = made.challenge(
        made.network(ref), made_by="merge", reason="as good", parents=[FIRST], figures={}
    )
    assert outcome.model == made.challenger == ref
    assert made.library.versions(other.name) == before
    assert not made.shares(ref)
    made.library.move({family_alias(other.name): ref}, "shared by hand")
    assert made.shares(ref)
