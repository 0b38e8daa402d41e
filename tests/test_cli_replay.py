"""`dask mlsched replay`, as users and programs call it."""

from __future__ import annotations

import json
import time
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from dask_mlsched.cli import mlsched
from dask_mlsched.learning.replay import ReplayBuffer
from learning.decisions import NAMES, decision

DAY = 86_400.0


def call(*arguments: object) -> Result:
    return CliRunner().invoke(
        mlsched, ["replay", *map(str, arguments)], prog_name="dask mlsched", color=False
    )


def one_line(*arguments: object) -> str:
    result = call(*arguments)
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    (line,) = result.stderr.strip().split("\n")
    return line


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "here.mlsched-replay"
    with ReplayBuffer.create(path, NAMES, 8) as buffer:
        for number in range(6):
            buffer.add(decision(number, time=time.time() - (5.5 - number) * DAY))
        buffer.label(2, [0.0, 3.0])
    return path


def test_info_prints_what_there_is(path: Path):
    result = call("info", path)
    assert result.exit_code == 0, result.output
    rows = {line.strip().rsplit("  ", 1)[0].strip(): line for line in result.stdout.splitlines()}
    assert "6 of 8" in rows["decisions"]
    assert rows["labelled"].split()[-1] == "1"
    assert rows["simulated"].split()[-1] == "3"
    assert rows["family 0000000000000002"].split()[-1] == "2"


def test_info_has_what_programs_rely_on(path: Path):
    found = json.loads(call("info", path, "--json", "-").stdout)
    assert found["path"] == str(path)
    assert found["names"] == list(NAMES)
    assert (found["records"], found["capacity"], found["labelled"], found["torn"]) == (6, 8, 1, 0)
    assert (found["live"], found["simulated"], found["runs"]) == (3, 3, 6)
    assert found["families"] == {f"{family:016x}": 2 for family in range(3)}
    assert found["newest"] - found["oldest"] == pytest.approx(5 * DAY, abs=9)
    assert found["nbytes"] == path.stat().st_size


def test_info_of_an_empty_buffer(tmp_path: Path):
    with ReplayBuffer.create(tmp_path / "b", NAMES, 8):
        pass
    result = call("info", tmp_path / "b")
    assert result.exit_code == 0, result.output
    assert "0 of 8" in result.stdout
    assert json.loads(call("info", tmp_path / "b", "--json", "-").stdout)["oldest"] is None


def test_a_folder_stands_for_the_buffer_in_it(path: Path, tmp_path: Path):
    assert call("info", tmp_path).stdout == call("info", path).stdout
    with ReplayBuffer.create(tmp_path / "other.mlsched-replay", NAMES, 8):
        pass
    line = one_line("info", tmp_path)
    assert "2 replay buffers (here.mlsched-replay, other.mlsched-replay); name one file" in line
    (tmp_path / "empty").mkdir()
    assert "0 replay buffers (none)" in one_line("info", tmp_path / "empty")


def test_info_can_be_had_while_another_writes(path: Path):
    with ReplayBuffer.open(path, mode="write"):
        assert call("info", path).exit_code == 0
        assert "is writing to it" in one_line("prune", path, "--keep", 1)


def test_export_writes_arrays(path: Path, tmp_path: Path):
    out = tmp_path / "all.npz"
    result = call("export", path, "--out", out)
    assert result.stdout == f"6 decisions written to {out}\n"
    with np.load(out) as arrays:
        assert arrays["features"].shape == (6, 33, 3)
    found = json.loads(call("export", path, "--out", out, "--json", "-").stdout)
    assert found == {"records": 6, "out": str(out)}


def test_an_export_that_cannot_be_written_is_one_line(path: Path, tmp_path: Path):
    line = one_line("export", path, "--out", tmp_path / "none" / "all.npz")
    assert "--out=" in line
    assert "No such file" in line
    assert "--out" in one_line("export", path)


@pytest.mark.parametrize(
    ("options", "left"),
    [
        (["--keep", "2"], [4, 5]),
        (["--family", "0000000000000001"], [0, 2, 3, 5]),
        (["--older-than", "2d"], [4, 5]),
        (["--older-than", "3 days"], [3, 4, 5]),
    ],
)
def test_prune_removes(path: Path, options: list[str], left: list[int]):
    found = json.loads(call("prune", path, *options, "--json", "-").stdout)
    assert found == {"removed": 6 - len(left), "records": len(left)}
    with ReplayBuffer.open(path) as buffer:
        assert buffer.records()["worker"].tolist() == left


def test_prune_says_what_it_did(path: Path):
    assert call("prune", path, "--keep", 2).stdout == "4 decisions removed, 2 left\n"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["prune"], "0 criteria; give one of --keep, --family and --older-than"),
        (["prune", "--keep", "1", "--family", "1"], "2 criteria"),
        (["prune", "--keep", "-1"], "--keep"),
        (["prune", "--family", "xyz"], "--family='xyz' is no family; expected up to 16"),
        (["prune", "--older-than", "soon"], "--older-than"),
        (["info", "--wat"], "--wat"),
    ],
)
def test_mistakes_are_one_line(path: Path, arguments: list[str], words: str):
    assert words in one_line(arguments[0], path, *arguments[1:])


def test_what_is_no_buffer_is_one_line(tmp_path: Path):
    file = tmp_path / "file"
    assert "No such file" in one_line("info", file)
    file.write_text("text")
    assert "no replay buffer; expected a file that begins with" in one_line("info", file)


@pytest.mark.parametrize("command", [[], ["info"], ["export"], ["prune"]])
def test_every_command_explains_itself(command: list[str]):
    result = call(*command, "--help")
    assert result.exit_code == 0
    assert result.stdout.startswith("Usage: dask mlsched replay")
