"""Learning from what runs: what is collected, what is tried, what gets through, what is told."""

from __future__ import annotations

import io
import itertools
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dask_mlsched.core import features
from dask_mlsched.core.graph_message import FAILED, READY
from dask_mlsched.core.message_frame import Frame, FrameError, encode
from dask_mlsched.core.model_choice import BASELINE, CATALOGUE, Catalogue
from dask_mlsched.core.network import Network
from dask_mlsched.core.training_message import (
    COLLECTED,
    HAPPENED,
    LIBRARY,
    Collected,
    Happened,
    Look,
)
from dask_mlsched.learning import family_update, merging, training_folder
from dask_mlsched.learning.challengers import Challenger
from dask_mlsched.learning.families import Families
from dask_mlsched.learning.library import Library
from dask_mlsched.learning.library_log import Event
from dask_mlsched.learning.model_file import Model
from dask_mlsched.learning.online import Online, serve
from dask_mlsched.learning.replay import ReplayBuffer
from dask_mlsched.learning.replay_file import ReplayError
from dask_mlsched.learning.shipped import Shipped
from dask_mlsched.learning.training_folder import DECISIONS, FAMILIES
from learning.instances import NEAREST, factorization, product, scored_by
from learning.recorded_runs import leave, run_bytes

BAD = scored_by(missing=1.0)
SHIPPED = Shipped([factorization(6)], [factorization(5), product(4)])


def look(folder: Path, **changes: Any) -> Look:
    """Ask as a scheduler does; without an attempt at a generalist, if nothing else is said."""
    asked = Look(
        str(folder), update=False, capacity=500, update_after=1_000, seconds=5.0, thresholds={}
    )
    return replace(asked, **changes)


class Trainer:
    """Learns here, and keeps what it tells."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        self.folder = folder
        self.told: list[Frame] = []
        #: Each look at the clock is a tenth of a second.
        ticks = itertools.count()
        settings = {"clock": lambda: 0.1 * next(ticks), "now": lambda: 1.75e9, **settings}
        self.online = Online(self.told.append, lambda: SHIPPED, **settings)

    def look(self, **changes: Any) -> None:
        self.online.look(look(self.folder, **changes))

    def heard(self, kind: int) -> list[Frame]:
        return [frame for frame in self.told if frame.kind == kind]

    @property
    def collected(self) -> list[Collected]:
        return [Collected.from_frame(frame) for frame in self.heard(COLLECTED)]

    @property
    def happened(self) -> list[Happened]:
        return [Happened.from_frame(frame) for frame in self.heard(HAPPENED)]

    @property
    def catalogues(self) -> list[Catalogue]:
        return [Catalogue.from_frame(frame) for frame in self.heard(CATALOGUE)]

    @property
    def library(self) -> Library:
        return Library.open(self.folder / LIBRARY)

    @property
    def events(self) -> list[Event]:
        return self.library.events()

    @property
    def runs(self) -> list[Event]:
        return [each for each in self.events if each.kind in ("collected", "rejected run")]

    @property
    def families(self) -> Families:
        return Families(self.folder / FAMILIES)


@pytest.fixture
def trainer(tmp_path: Path) -> Any:
    made = Trainer(tmp_path / "training")
    yield made
    made.online.close()


@pytest.fixture
def search(monkeypatch: pytest.MonkeyPatch) -> Callable[[Network | None], None]:
    """Say what searches come to, and have the model that ships be a bad one."""
    monkeypatch.setattr(
        "dask_mlsched.learning.models_in_use.default_model",
        lambda: Model(scored_by(missing=0.5), features.NAMES),
    )

    def by(network: Network | None) -> None:
        found = None if network is None else Challenger(network, "search", -1.0)
        for module in (family_update, merging):
            monkeypatch.setattr(module, "challenger", lambda *_, **__: found)

    return by


# Collecting


def test_a_run_becomes_decisions_a_family_and_an_event(trainer: Trainer) -> None:
    (path,) = leave(trainer.folder, run_bytes())
    trainer.look()
    (found,) = trainer.collected
    assert found.added == found.decisions > 10
    assert found.rejected is None
    assert not path.exists()
    (event,) = trainer.runs
    (family,) = trainer.families
    assert (event.kind, event.fields["decisions"]) == ("collected", found.added)
    assert event.fields["family"] == family.name
    assert event.fields["error"] <= 0.1
    (run,) = family.runs
    # A policy decided that is no model.
    assert run.model is None
    assert run.known
    assert len(trainer.families.suite(family).frozen) == 1
    with ReplayBuffer.open(trainer.folder / DECISIONS) as buffer:
        assert buffer.info().labelled == found.added
        assert set(buffer.info().families) == {int(run.program, 16)}
    assert [each.event for each in trainer.happened] == ["new family"]


def test_a_run_of_dask_alone_is_one_of_the_baseline(trainer: Trainer) -> None:
    leave(trainer.folder, run_bytes(policy="stock"))
    trainer.look()
    (family,) = trainer.families
    (run,) = family.runs
    assert run.model == BASELINE
    assert run.measured
    assert run.gain == 0
    assert run.seconds == run.baseline_seconds > 0
    # What was learned of its DAG is that there is something to win.
    assert len(trainer.families.suite(family).frozen) == 1


def test_runs_come_oldest_first_and_a_program_is_kept_once(trainer: Trainer) -> None:
    leave(trainer.folder, run_bytes(started=1.0), run_bytes(started=2.0), run_bytes(5))
    trainer.look()
    assert [each.fields["run"][:4] for each in trainer.runs] == ["0000", "0001", "0002"]
    (family,) = trainer.families
    assert len(trainer.families.suite(family).frozen) == 2
    assert [run.time for run in family.runs] == [1.0, 2.0, 0.0]
    totals = [each.decisions for each in trainer.collected]
    assert totals == list(itertools.accumulate(each.added for each in trainer.collected))


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "nothing is left of it"),
        (b"no trace", "this is no trace"),
        (run_bytes()[:40], "nothing is left of it"),
        (run_bytes()[:400], "no task of this trace has ended"),
    ],
)
def test_a_damaged_run_is_thrown_away_and_the_next_one_taken(
    trainer: Trainer, data: bytes, reason: str
) -> None:
    leave(trainer.folder, data, run_bytes())
    trainer.look()
    first, second = trainer.collected
    assert reason in str(first.rejected)
    assert second.added > 0
    assert [each.kind for each in trainer.runs] == ["rejected run", "collected"]
    assert reason in trainer.runs[0].why
    assert training_folder.waiting_runs(trainer.folder) == []


def test_a_run_that_the_fidelity_gate_refuses_adds_nothing(
    trainer: Trainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dask_mlsched.core.judgement.TOLERANCE", -1.0)
    leave(trainer.folder, run_bytes())
    trainer.look()
    (found,) = trainer.collected
    assert (found.added, found.decisions) == (0, 0)
    assert "expected -100% at most" in str(found.rejected)
    # It is one of its family all the same; what Dask alone would have taken, nobody knows.
    (family,) = trainer.families
    assert [run.known for run in family.runs] == [False]
    assert not trainer.families.suite(family).instances


def test_what_nobody_has_foreseen_is_a_run_thrown_away(
    trainer: Trainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any, **__: Any) -> Any:
        raise ZeroDivisionError("odd")

    monkeypatch.setattr("dask_mlsched.learning.collected_run.calibrate", broken)
    leave(trainer.folder, run_bytes())
    trainer.look()
    assert trainer.collected[0].rejected == "ZeroDivisionError: odd"


def test_an_error_of_many_lines_is_a_run_thrown_away_too(
    trainer: Trainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any, **__: Any) -> Any:
        raise RuntimeError("first\nsecond " + "x" * 10_000)

    monkeypatch.setattr("dask_mlsched.learning.collected_run.calibrate", broken)
    (path,) = leave(trainer.folder, run_bytes())
    trainer.look()
    assert not path.exists()
    assert "\n" not in trainer.runs[0].why
    assert trainer.runs[0].why.startswith("RuntimeError: first")


def test_what_went_wrong_while_opening_does_not_lock_it_out(
    trainer: Trainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any, **__: Any) -> Any:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("dask_mlsched.learning.online.Lifelong", full)
        with pytest.raises(OSError, match="No space left"):
            trainer.look()
    trainer.look()
    assert len(trainer.catalogues) == 1


def test_the_same_run_again_is_not_added_again(trainer: Trainer) -> None:
    leave(trainer.folder, run_bytes())
    trainer.look()
    leave(trainer.folder, run_bytes())
    trainer.look()
    first, again = trainer.collected
    assert (again.added, again.decisions) == (0, first.added)
    assert again.rejected == "it is in the buffer already"
    (family,) = trainer.families
    assert len(family.runs) == 1


def test_a_long_run_is_judged_at_fewer_decisions(
    trainer: Trainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dask_mlsched.learning.collected_run.JUDGING_SECONDS", 1e-9)
    leave(trainer.folder, run_bytes())
    trainer.look()
    assert trainer.collected[0].added == 10


def test_when_nobody_listens_any_more_it_ends_and_the_run_waits(tmp_path: Path) -> None:
    trainer = Trainer(tmp_path, abandoned=lambda: True)
    (path,) = leave(trainer.folder, run_bytes())
    with pytest.raises(BrokenPipeError):
        trainer.look()
    trainer.online.close()
    assert path.exists()


# What there is to choose from


def test_what_a_run_means_is_told_before_its_decisions_are_judged(
    trainer: Trainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Judging takes long, and the next run may begin meanwhile."""

    def judged(*_: Any, **__: Any) -> Any:
        (family,) = trainer.catalogues[-1].families
        (known,) = trainer.families
        assert (known.name, len(known.runs)) == (family.name, 1)
        raise BrokenPipeError

    with monkeypatch.context() as patch:
        patch.setattr("dask_mlsched.learning.collected_run.add_run", judged)
        (path,) = leave(trainer.folder, run_bytes())
        with pytest.raises(BrokenPipeError):
            trainer.look()
    # It waits to be judged, and is not taken in twice.
    assert path.exists()
    trainer.look()
    assert trainer.collected[0].added > 10
    (family,) = trainer.families
    assert len(family.runs) == 1


def test_the_model_that_ships_is_told_of_first_and_once(trainer: Trainer) -> None:
    trainer.look()
    trainer.look()
    (told,) = trainer.catalogues
    assert (told.number, told.champion, told.families) == (1, "generalist/v0001", ())
    assert [belief.model for belief in told.unknown] == [BASELINE, "generalist/v0001"]
    assert trainer.library.card(told.champion).made_by == "shipped"


def test_a_family_that_was_seen_can_be_chosen_for(trainer: Trainer) -> None:
    leave(trainer.folder, run_bytes())
    trainer.look()
    told = trainer.catalogues[-1]
    (family,) = told.families
    assert family.arms[0].model == BASELINE
    assert told.number == 2


def test_what_somebody_does_by_command_is_told_of(trainer: Trainer) -> None:
    trainer.look()
    ref = trainer.library.add("generalist", NEAREST, made_by="hand", reason="a trial")
    trainer.library.move({"champion": ref}, "by hand")
    trainer.look()
    assert [each.champion for each in trainer.catalogues] == ["generalist/v0001", ref]
    np.testing.assert_array_equal(trainer.catalogues[-1].networks[ref].skip, NEAREST.skip)


def test_a_damaged_family_is_told_of_once_and_the_others_are_served(trainer: Trainer) -> None:
    folder = trainer.folder / FAMILIES / "odd-1234"
    folder.mkdir(parents=True)
    (folder / "family.json").write_bytes(b"nonsense")
    leave(trainer.folder, run_bytes())
    trainer.look()
    trainer.look()
    (failed,) = trainer.heard(FAILED)
    assert "odd-1234" in failed.text("error")
    assert len(trainer.catalogues[-1].families) == 1


@pytest.mark.parametrize("data", [b"", b"nonsense", b"\x80\x04." * 100])
def test_where_the_champion_is_damaged_dask_alone_decides_and_one_warning_says_why(
    trainer: Trainer, data: bytes
) -> None:
    trainer.look()
    trainer.online.close()
    file = trainer.folder / LIBRARY / "generalist/v0001/model.safetensors"
    file.write_bytes(data)
    again = Trainer(trainer.folder)
    again.look()
    told = again.catalogues[-1]
    assert (told.champion, [belief.model for belief in told.unknown]) == (BASELINE, [BASELINE])
    assert told.networks == {}
    leave(trainer.folder, run_bytes(policy="stock"))
    again.look()
    (failed,) = again.heard(FAILED)
    assert failed.text("error").startswith("champion cannot serve: ")
    assert "model.safetensors" in failed.text("error")
    assert "\n" not in failed.text("error")
    assert again.collected[0].rejected is None or again.collected[0].added == 0
    again.online.close()


# Models


def test_a_real_search_is_made_for_a_new_family(trainer: Trainer) -> None:
    leave(trainer.folder, run_bytes())
    trainer.look(update=True)
    _, made = trainer.happened
    assert made.event in ("split", "refused")
    assert made.family == trainer.catalogues[-1].families[0].name
    assert made.reason in trainer.events[-1].why


def test_nothing_is_tried_where_only_collecting_is_asked_for(trainer: Trainer) -> None:
    leave(trainer.folder, run_bytes())
    trainer.look(update=False, update_after=1)
    assert [each.event for each in trainer.happened] == ["new family"]


def test_what_is_clearly_better_is_the_family_s_own_model(trainer: Trainer, search: Any) -> None:
    search(NEAREST)
    leave(trainer.folder, run_bytes())
    trainer.look(update=True)
    made = trainer.happened[-1]
    assert made.event == "split", made.reason
    (family,) = trainer.catalogues[-1].families
    assert made.model in [arm.model for arm in family.arms]
    card = trainer.library.card(str(made.model))
    assert (card.parents, card.families) == (("generalist/v0001",), (family.name,))
    assert card.reason == made.reason
    assert trainer.library.resolve(f"family:{family.name}") == made.model


def test_what_is_no_better_is_refused_with_its_figures(trainer: Trainer, search: Any) -> None:
    search(BAD)
    leave(trainer.folder, run_bytes())
    trainer.look(update=True)
    made = trainer.happened[-1]
    assert (made.event, made.model) == ("refused", None)
    assert "saved" in made.figures
    assert trainer.events[-1].why == made.reason


def test_after_so_many_new_decisions_a_generalist_is_tried(trainer: Trainer, search: Any) -> None:
    search(NEAREST)
    leave(trainer.folder, run_bytes())
    trainer.look(update=True, update_after=10)
    made = trainer.happened[-1]
    assert made.event == "challenger", made.reason
    told = trainer.catalogues[-1]
    assert (told.trial, told.champion) == (made.model, "generalist/v0001")
    # While one is on trial, there is no other.
    leave(trainer.folder, run_bytes(started=1.0))
    trainer.look(update=True, update_after=1)
    assert [each.event for each in trainer.happened].count("challenger") == 1


def test_decisions_are_counted_from_the_last_attempt_on_also_after_a_restart(
    tmp_path: Path, search: Any
) -> None:
    search(BAD)
    first = Trainer(tmp_path)
    leave(tmp_path, run_bytes())
    first.look(update=True, update_after=10)
    leave(tmp_path, run_bytes(started=1.0))
    first.look(update=True)
    first.online.close()
    added = [each.added for each in first.collected]
    second = Trainer(tmp_path)
    tried = len([each for each in first.events if each.kind == "generalist tried"])
    assert tried == 1
    second.look(update=True, update_after=added[1] + 1)
    assert len([each for each in second.events if each.kind == "generalist tried"]) == tried
    second.look(update=True, update_after=added[1])
    assert len([each for each in second.events if each.kind == "generalist tried"]) == tried + 1
    second.online.close()


def test_a_search_that_fails_is_told_of_and_tried_again_with_the_next_run(
    trainer: Trainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any, **__: Any) -> Any:
        raise ZeroDivisionError("odd")

    monkeypatch.setattr(family_update, "challenger", broken)
    leave(trainer.folder, run_bytes())
    with pytest.raises(ZeroDivisionError):
        trainer.look(update=True)
    trainer.look(update=True)
    assert [each.reason for each in trainer.happened if each.event == "failed"] == [
        "ZeroDivisionError: odd"
    ]
    assert trainer.events[-1].kind == "failed"
    leave(trainer.folder, run_bytes(started=1.0))
    with pytest.raises(ZeroDivisionError):
        trainer.look(update=True)


def test_a_threshold_that_is_none_is_one_clear_problem(trainer: Trainer) -> None:
    with pytest.raises(ValueError, match="unknown threshold 'odd'"):
        trainer.look(thresholds={"odd": 1.0})


# The folder


def test_two_that_share_a_folder_are_one_clear_problem_and_no_damage(
    trainer: Trainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training_folder, "_LAST_BREATH", 0.3)
    trainer.look()
    second = Trainer(trainer.folder)
    (path,) = leave(trainer.folder, run_bytes())
    with pytest.raises(ReplayError, match="is writing to it; expected one writer"):
        second.look()
    assert path.exists()
    trainer.look()
    assert trainer.collected[0].added > 0
    trainer.online.close()
    second.look()
    second.online.close()


def test_decisions_that_cannot_be_used_are_one_clear_problem_and_runs_wait(
    trainer: Trainer,
) -> None:
    trainer.folder.mkdir()
    (trainer.folder / DECISIONS).write_bytes(b"nonsense" * 10_000)
    (path,) = leave(trainer.folder, run_bytes())
    with pytest.raises(ReplayError, match="no replay buffer"):
        trainer.look()
    assert path.exists()


def test_a_folder_that_went_away_is_a_problem_told_of(trainer: Trainer) -> None:
    trainer.look()
    shutil.rmtree(trainer.folder)
    trainer.look()  # there is nothing to do
    leave(trainer.folder, run_bytes())
    trainer.look()
    assert trainer.collected


# The stream


def served(*frames: Frame) -> list[Frame]:
    told: list[Frame] = []
    stream = io.BytesIO(b"".join(map(encode, frames)))
    serve(stream.read, told.append, lambda: SHIPPED)
    return told


def test_it_is_ready_before_it_is_asked_and_ends_with_its_input() -> None:
    assert [frame.kind for frame in served()] == [READY]


def test_each_look_is_answered_and_the_folder_given_back(tmp_path: Path) -> None:
    leave(tmp_path, run_bytes())
    told = served(look(tmp_path).frame(), look(tmp_path).frame())
    assert [frame.kind for frame in told] == [READY, CATALOGUE, HAPPENED, CATALOGUE, COLLECTED]
    ReplayBuffer.open(tmp_path / DECISIONS, mode="write").close()


def test_what_is_no_look_or_cannot_be_done_is_told_of_and_the_next_one_done(
    tmp_path: Path,
) -> None:
    (tmp_path / "file").touch()
    told = served(
        Frame(1),
        Frame(look(tmp_path).frame().kind, {}),
        look(tmp_path / "file").frame(),
        look(tmp_path / "folder").frame(),
    )
    assert [frame.kind for frame in told] == [READY, FAILED, FAILED, FAILED, CATALOGUE]
    assert "a frame of kind 1; expected 5" in told[1].text("error")
    assert "FileExistsError" in told[3].text("error")


def test_foreign_bytes_end_it() -> None:
    with pytest.raises(FrameError):
        serve(io.BytesIO(b"GET / HTTP/1.1\r\n\r\n").read, lambda _: None, lambda: SHIPPED)
