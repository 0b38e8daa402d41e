"""`dask mlsched training`, as users and programs call it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from dask_mlsched.learning.model_versions import ModelVersions

from core.networks import random_network
from dask_mlsched.cli import mlsched
from dask_mlsched.core import features
from dask_mlsched.core.training_message import MODELS
from dask_mlsched.learning.journal import Journal
from dask_mlsched.learning.replay import ReplayBuffer
from dask_mlsched.learning.training_folder import DECISIONS, EVENTS
from learning.recorded_runs import leave


def call(*arguments: object) -> Result:
    return CliRunner().invoke(
        mlsched, ["training", *map(str, arguments)], prog_name="dask mlsched", color=False
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    journal = Journal(tmp_path / EVENTS)
    journal.write("collected", 1.0, decisions=30)
    journal.write("rejected", 2.0, reason="12% off")
    figures = {"overall": 1.05, "own": 0.9}
    journal.write("refused", 3.0, reason="worse for 'lu'", figures=figures)
    journal.write("failed", 3.5, reason="odd")
    journal.write(
        "accepted", 1.75e9, version=1, reason="better", figures={**figures, "overall": 0.97}
    )
    network = random_network(np.random.default_rng(0), features.COUNT, (0, 0))
    ModelVersions(tmp_path / MODELS).add(1, network, {})
    ReplayBuffer.create(tmp_path / DECISIONS, features.NAMES, 8).close()
    leave(tmp_path, b"run")
    return tmp_path


def test_it_prints_what_there_is(folder: Path) -> None:
    result = call(folder)
    assert result.exit_code == 0, result.output
    text = result.stdout
    assert "runs: 1 collected, 1 rejected, 1 waiting; 0 decisions are there" in text
    assert "rejected last: 12% off" in text
    assert "version 1 serves; versions that are there: [1]" in text
    rows = [line.split() for line in text.splitlines() if "0.9000" in line]
    assert rows[0][2:] == ["refused", "1.0500", "0.9000", "worse", "for", "'lu'"]
    assert rows[1] == ["2025-06-15", "15:06", "version", "1", "0.9700", "0.9000", "better"]
    assert "failed" in text


def test_it_has_what_programs_rely_on(folder: Path) -> None:
    found = json.loads(call(folder, "--json", "-").stdout)
    assert found["runs"] == {"collected": 1, "rejected": 1, "waiting": 1}
    assert (found["version"], found["versions"], found["decisions"]) == (1, [1], 0)
    assert [each["event"] for each in found["updates"]] == ["refused", "failed", "accepted"]
    assert found["problems"] == []


def test_what_is_damaged_is_told_of(folder: Path) -> None:
    ModelVersions(folder / MODELS).path(1).write_bytes(b"nonsense")
    (folder / DECISIONS).write_bytes(b"nonsense")
    result = call(folder)
    assert "the model that ships serves" in result.stdout
    assert "v0001.safetensors" in result.stdout
    assert "None decisions" in result.stdout


def test_another_folder_is_one_clear_mistake(tmp_path: Path) -> None:
    result = call(tmp_path)
    assert result.exit_code == 2
    (line,) = result.stderr.strip().split("\n")
    assert "holds no events.jsonl; name the training.directory of a scheduler" in line
