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

from core.networks import random_network
from dask_mlsched.core import features
from dask_mlsched.core.graph_message import FAILED, READY
from dask_mlsched.core.message_frame import Frame, FrameError, encode
from dask_mlsched.core.network import Network
from dask_mlsched.core.training_message import (
    COLLECTED,
    MODELS,
    UPDATED,
    VERSION,
    Collected,
    Look,
    Updated,
    Version,
)
from dask_mlsched.learning import training_folder, update
from dask_mlsched.learning.challengers import Challenger
from dask_mlsched.learning.journal import Journal
from dask_mlsched.learning.model_file import load
from dask_mlsched.learning.model_versions import ModelVersions
from dask_mlsched.learning.online import Online, serve
from dask_mlsched.learning.replay import ReplayBuffer
from dask_mlsched.learning.replay_file import ReplayError
from dask_mlsched.learning.training_folder import DECISIONS, EVENTS, TrainingFolder
from dask_mlsched.learning.shipped import Shipped
from learning.instances import NEAREST, factorization, product, scored_by
from learning.recorded_runs import leave, run_bytes

BAD = scored_by(missing=1.0)
SHIPPED = Shipped([factorization(6)], [factorization(5), product(4)])


def look(folder: Path, **changes: Any) -> Look:
    asked = Look(str(folder), update=False, capacity=500, update_after=10, seconds=5.0)
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
    def updates(self) -> list[Updated]:
        return [Updated.from_frame(frame) for frame in self.heard(UPDATED)]

    @property
    def versions(self) -> list[int]:
        return [Version.from_frame(frame).number for frame in self.heard(VERSION)]

    @property
    def events(self) -> list[dict[str, Any]]:
        return Journal(self.folder / EVENTS).read()


@pytest.fixture
def trainer(tmp_path: Path) -> Any:
    made = Trainer(tmp_path / "training")
    yield made
    made.online.close()


@pytest.fixture
def challenge(monkeypatch: pytest.MonkeyPatch) -> Callable[[Network | None], None]:
    """Say what a challenge comes to, and have the model that ships be a bad one."""
    monkeypatch.setattr(
        "dask_mlsched.learning.model_versions.default_network", lambda: scored_by(missing=0.5)
    )

    def by(network: Network | None) -> None:
        found = None if network is None else Challenger(network, "search", -1.0)
        monkeypatch.setattr(update, "challenger", lambda *_, **__: found)

    return by


# Collecting


def test_a_run_becomes_decisions_a_program_of_the_suite_and_an_event(trainer: Trainer) -> None:
    (path,) = leave(trainer.folder, run_bytes())
    trainer.look()
    (found,) = trainer.collected
    assert found.added == found.decisions > 10
    assert found.rejected is None
    assert not path.exists()
    assert len(list((trainer.folder / "suite").iterdir())) == 1
    (event,) = trainer.events
    assert (event["event"], event["decisions"], event["suite"]) == (
        "collected",
        found.added,
        "kept",
    )
    assert event["error"] <= 0.1
    with ReplayBuffer.open(trainer.folder / DECISIONS) as buffer:
        assert buffer.info().labelled == found.added
        assert set(buffer.info().families) == {int(event["program"], 16)}
    assert trainer.updates == []


def test_runs_come_oldest_first_and_a_program_is_kept_once(trainer: Trainer) -> None:
    leave(trainer.folder, run_bytes(started=1.0), run_bytes(started=2.0), run_bytes(5))
    trainer.look()
    assert [each["suite"] for each in trainer.events] == ["kept", "known", "kept"]
    assert [each["run"][:4] for each in trainer.events] == ["0000", "0001", "0002"]
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
    assert [each["event"] for each in trainer.events] == ["rejected", "collected"]
    assert reason in trainer.events[0]["reason"]
    assert TrainingFolder.runs(trainer.online._opened(look(trainer.folder))) == []


def test_a_run_that_the_fidelity_gate_refuses_adds_nothing(
    trainer: Trainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dask_mlsched.core.judgement.TOLERANCE", -1.0)
    leave(trainer.folder, run_bytes())
    trainer.look()
    (found,) = trainer.collected
    assert (found.added, found.decisions) == (0, 0)
    assert "expected -100% at most" in str(found.rejected)
    assert not (trainer.folder / "suite").exists()


def test_what_nobody_has_foreseen_is_a_run_thrown_away(
    trainer: Trainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any, **__: Any) -> Any:
        raise ZeroDivisionError("odd")

    monkeypatch.setattr("dask_mlsched.learning.collected_run.calibrate", broken)
    leave(trainer.folder, run_bytes())
    trainer.look()
    assert trainer.collected[0].rejected == "ZeroDivisionError: odd"


def test_the_same_run_again_is_not_added_again(trainer: Trainer) -> None:
    leave(trainer.folder, run_bytes())
    trainer.look()
    leave(trainer.folder, run_bytes())
    trainer.look()
    first, again = trainer.collected
    assert (again.added, again.decisions) == (0, first.added)
    assert again.rejected == "it is in the buffer already"


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


# Versions


def test_the_model_that_ships_is_told_of_first_and_once(trainer: Trainer) -> None:
    trainer.look()
    trainer.look()
    assert trainer.versions == [0]


def test_the_newest_version_serves_after_a_restart_and_goes_when_it_is_taken_away(
    trainer: Trainer,
) -> None:
    versions = ModelVersions(trainer.folder / MODELS)
    for number in (1, 2):
        versions.add(number, random_network(np.random.default_rng(0), features.COUNT), {})
    trainer.look()
    versions.path(2).unlink()
    trainer.look()
    assert trainer.versions == [2, 1]


def test_a_damaged_version_is_told_of_once_and_the_one_before_serves(trainer: Trainer) -> None:
    versions = ModelVersions(trainer.folder / MODELS)
    versions.add(1, random_network(np.random.default_rng(0), features.COUNT), {})
    versions.path(2).write_bytes(b"nonsense")
    trainer.look()
    trainer.look()
    assert trainer.versions == [1]
    (failed,) = trainer.heard(FAILED)
    assert "v0002.safetensors" in failed.text("error")
    assert failed.text("error").endswith("; version 1 is used")


# Updates


def test_a_real_update_is_tried_when_there_are_enough_new_decisions(trainer: Trainer) -> None:
    leave(trainer.folder, run_bytes())
    trainer.look(update=True, update_after=1_000)
    assert trainer.updates == []
    leave(trainer.folder, run_bytes(started=1.0))
    added = trainer.collected[0].added
    trainer.look(update=True, update_after=added + 1)
    (made,) = trainer.updates
    assert made.figures["decisions"] == sum(each.added for each in trainer.collected)
    assert made.figures["own_runs"] == 1
    assert made.figures["instances"] == 2
    event = trainer.events[-1]
    assert event["event"] == ("accepted" if made.accepted else "refused")
    assert event["reason"] == made.reason
    assert event["figures"] == dict(made.figures)


def test_nothing_is_tried_where_only_collecting_is_asked_for(trainer: Trainer) -> None:
    leave(trainer.folder, run_bytes())
    trainer.look(update=False, update_after=1)
    assert trainer.updates == []


def test_what_is_better_is_the_next_version(trainer: Trainer, challenge: Any) -> None:
    challenge(NEAREST)
    leave(trainer.folder, run_bytes())
    trainer.look(update=True)
    (made,) = trainer.updates
    assert made.accepted, made.reason
    assert trainer.versions == [0, 1]
    model = load(trainer.folder / MODELS / "v0001.safetensors", features.NAMES)
    np.testing.assert_array_equal(model.network.skip, NEAREST.skip)
    assert (model.card["parent"], model.card["made_by"]) == ("0", "search")
    assert model.card["reason"] == made.reason
    assert model.card["date"] == "2025-06-15T15:06:40Z"
    assert '"overall"' in model.card["figures"]
    event = trainer.events[-1]
    assert (event["event"], event["version"], event["parent"]) == ("accepted", 1, 0)


def test_what_is_worse_is_refused_with_its_figures(trainer: Trainer, challenge: Any) -> None:
    challenge(NEAREST)
    leave(trainer.folder, run_bytes())
    trainer.look(update=True)
    challenge(BAD)
    leave(trainer.folder, run_bytes(started=1.0))
    trainer.look(update=True)
    made = trainer.updates[-1]
    assert not made.accepted
    assert made.figures["overall"] > 1
    assert f"{made.figures['overall']:.4f} of the makespan over the suite" in made.reason
    assert trainer.versions == [0, 1]
    assert trainer.events[-1]["event"] == "refused"
    assert trainer.events[-1]["made_by"] == "search"


def test_where_nothing_is_found_that_is_said(trainer: Trainer, challenge: Any) -> None:
    challenge(None)
    leave(trainer.folder, run_bytes())
    trainer.look(update=True)
    assert trainer.updates[0].reason == "nothing better was found on what was searched with"
    assert trainer.events[-1]["made_by"] is None


def test_one_that_is_refused_is_tried_again_nearer_to_the_champion(
    trainer: Trainer, challenge: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    challenge(NEAREST)
    real, asked = update.compare, itertools.count()

    def compare(*arguments: Any) -> Any:
        found = real(*arguments)
        return replace(found, worst=2.0) if next(asked) < 2 else found

    monkeypatch.setattr(update, "compare", compare)
    leave(trainer.folder, run_bytes())
    trainer.look(update=True)
    (made,) = trainer.updates
    assert (made.accepted, made.figures["share"]) == (True, 0.5)


def test_decisions_are_counted_from_the_last_attempt_on_also_after_a_restart(
    tmp_path: Path, challenge: Any
) -> None:
    challenge(BAD)
    first = Trainer(tmp_path)
    leave(tmp_path, run_bytes())
    first.look(update=True)
    leave(tmp_path, run_bytes(started=1.0))
    first.look(update=True, update_after=1_000)
    first.online.close()
    added = [each.added for each in first.collected]
    second = Trainer(tmp_path)
    second.look(update=True, update_after=added[1] + 1)
    assert second.updates == []
    second.look(update=True, update_after=added[1])
    assert [each.figures["decisions"] for each in second.updates] == [added[1]]
    second.online.close()


def test_an_update_that_fails_is_told_of_and_tried_again_after_as_many_decisions(
    trainer: Trainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any, **__: Any) -> Any:
        raise ZeroDivisionError("odd")

    monkeypatch.setattr(update, "challenger", broken)
    leave(trainer.folder, run_bytes())
    with pytest.raises(ZeroDivisionError):
        trainer.look(update=True)
    trainer.look(update=True)
    assert [each.reason for each in trainer.updates] == [
        "the update failed: ZeroDivisionError: odd"
    ]
    assert trainer.events[-1]["event"] == "failed"


def test_the_number_of_a_version_that_was_taken_away_is_not_used_again(
    trainer: Trainer, challenge: Any
) -> None:
    challenge(NEAREST)
    leave(trainer.folder, run_bytes())
    trainer.look(update=True)
    (trainer.folder / MODELS / "v0001.safetensors").unlink()
    leave(trainer.folder, run_bytes(started=1.0))
    trainer.look(update=True)
    assert trainer.versions == [0, 1, 0, 2]


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
    assert [frame.kind for frame in told] == [READY, VERSION, COLLECTED]
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
    assert [frame.kind for frame in told] == [READY, FAILED, FAILED, FAILED, VERSION]
    assert "a frame of kind 1; expected 5" in told[1].text("error")
    assert "FileExistsError" in told[3].text("error")


def test_foreign_bytes_end_it() -> None:
    with pytest.raises(FrameError):
        serve(io.BytesIO(b"GET / HTTP/1.1\r\n\r\n").read, lambda _: None, lambda: SHIPPED)
