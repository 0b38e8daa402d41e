"""`dask mlsched training`, as users and programs call it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from dask_mlsched.cli import mlsched
from dask_mlsched.core import features
from dask_mlsched.core.training_message import LIBRARY
from dask_mlsched.learning.library import Library
from dask_mlsched.learning.operations import Operations
from dask_mlsched.learning.replay import ReplayBuffer
from dask_mlsched.learning.training_folder import DECISIONS
from learning.instances import NEAREST
from learning.recorded_runs import leave
from learning.trainings import a_training, own_model, seen


def call(*arguments: object) -> Result:
    return CliRunner().invoke(
        mlsched, ["training", *map(str, arguments)], prog_name="dask mlsched", color=False
    )


@pytest.fixture
def training(tmp_path: Path) -> Operations:
    made = a_training(tmp_path)
    first, second = made.families
    own_model(made, first, NEAREST)
    second.sent_back, second.runs_left = "generalist/v0001: too slow", 3
    made.families.save(second)
    library = Library.open(tmp_path / LIBRARY, now=lambda: 1.75e9)
    for kind, why in (("collected", ""), ("rejected run", "12% off")):
        library.note(kind, why=why, family=first.name, decisions=30)
    library.note("sent back", what="generalist/v0001", why="too [bold]slow[/]", family=second.name)
    library.note("new family", why="its first run: 9 tasks", family=second.name)
    ReplayBuffer.create(tmp_path / DECISIONS, features.NAMES, 8).close()
    leave(tmp_path, b"run")
    return made


def names(training: Operations) -> list[str]:
    return [family.name for family in training.families]


def test_it_prints_what_there_is(training: Operations, tmp_path: Path) -> None:
    result = call(tmp_path)
    assert result.exit_code == 0, result.output
    text = result.stdout
    first, second = names(training)
    assert "runs: 1 collected, 1 rejected, 1 waiting; 0 decisions are there" in text
    assert "rejected last: 12% off" in text
    assert "champion: generalist/v0001; families: 2" in text
    assert f"{second} is left to Dask alone" in text
    assert "generalist/v0001: too slow" in text
    rows = [line.split() for line in text.splitlines()]
    assert [first, "1", f"{first}/v0001", "generalist/v0001", "2.000"] in rows
    assert [second, "1", "-", "generalist/v0001", "2.000"] in rows


def test_it_prints_what_happened_as_it_is(training: Operations, tmp_path: Path) -> None:
    rows = [line.split() for line in call(tmp_path).stdout.splitlines()]
    when = ["2025-06-15", "15:06"]
    assert [*when, "sent", "back", "generalist/v0001", "too", "[bold]slow[/]"] in rows
    new = ["new", "family", "its", "first", "run:", "9", "tasks"]
    assert [*when, *new[:2], names(training)[1], *new[2:]] in rows
    # What is counted above, or told of by other events, is not repeated.
    assert not any("collected" in row or "moved" in row for row in rows if row[:2] == when)


def test_it_has_what_programs_rely_on(training: Operations, tmp_path: Path) -> None:
    found = json.loads(call(tmp_path, "--json", "-").stdout)
    first, second = names(training)
    assert found["runs"] == {"collected": 1, "rejected": 1, "waiting": 1}
    assert (found["champion"], found["decisions"]) == ("generalist/v0001", 0)
    assert found["last_rejection"] == "12% off"
    assert found["aliases"] == {
        "champion": "generalist/v0001",
        f"family:{first}": f"{first}/v0001",
    }
    one, other = found["families"]
    assert (one["family"], one["model"], one["sent_back"]) == (first, f"{first}/v0001", None)
    assert (other["family"], other["model"]) == (second, None)
    assert (other["sent_back"], other["runs_left"]) == ("generalist/v0001: too slow", 3)
    assert (one["last_model"], one["last_ratio"]) == ("generalist/v0001", pytest.approx(2.0))
    assert [each["event"] for each in found["events"]][-2:] == ["sent back", "new family"]
    assert found["problems"] == []


def test_a_family_whose_runs_nobody_can_compare(training: Operations, tmp_path: Path) -> None:
    third = seen(training.families, "other", None)
    third.runs[-1] = third.runs[-1].__class__(1.0, None, "0", 1.0, 0.0)
    training.families.save(third)
    rows = [line.split() for line in call(tmp_path).stdout.splitlines()]
    assert [third.name, "1", "-", *["several,", "or", "none"], "-"] in rows


def test_what_is_damaged_is_told_of(training: Operations, tmp_path: Path) -> None:
    first, second = names(training)
    (tmp_path / "families" / first / "family.json").write_bytes(b"nonsense")
    (tmp_path / DECISIONS).write_bytes(b"nonsense")
    result = call(tmp_path)
    assert result.exit_code == 0, result.output
    assert "the decisions cannot be read" in result.stdout
    (line,) = [line for line in result.stdout.splitlines() if "holds no family" in line]
    assert first in line
    assert second in result.stdout
    (tmp_path / LIBRARY / "aliases.json").write_bytes(b"nonsense")
    result = call(tmp_path)
    assert result.exit_code == 2
    (line,) = result.stderr.strip().split("\n")
    assert "aliases.json" in line


def test_another_folder_is_one_clear_mistake(tmp_path: Path) -> None:
    result = call(tmp_path)
    assert result.exit_code == 2
    (line,) = result.stderr.strip().split("\n")
    assert "holds no 'library'; name the training.directory of a scheduler" in line
    assert list(tmp_path.iterdir()) == []


def test_a_folder_with_a_library_alone_has_no_runs(tmp_path: Path) -> None:
    Library.open(tmp_path / LIBRARY).note("odd", why="to see")
    result = call(tmp_path)
    assert result.exit_code == 0, result.output
    assert "champion: None" not in result.stdout
    assert "champion: none yet; families: 0" in result.stdout
