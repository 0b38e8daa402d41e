"""`dask mlsched replay add`: from traces to a buffer."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from click.testing import CliRunner, Result

from core.recorded_simulations import COSTS, block_product, recorded_bytes
from dask_mlsched.cli import mlsched
from dask_mlsched.core import features, judgement
from dask_mlsched.core.machine import Machine
from dask_mlsched.learning.replay import ReplayBuffer
from learning.decisions import NAMES


def call(*arguments: object) -> Result:
    return CliRunner().invoke(
        mlsched, ["replay", "add", *map(str, arguments)], prog_name="dask mlsched", color=False
    )


def figures(*arguments: object) -> dict[str, Any]:
    result = call(*arguments, "--json", "-")
    assert result.exit_code == 0, result.output
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def one_line(*arguments: object) -> str:
    result = call(*arguments)
    assert result.exit_code == 2, result.output
    (line,) = result.stderr.strip().split("\n")
    return line


@pytest.fixture
def traces(tmp_path: Path) -> tuple[Path, Path]:
    paths = tmp_path / "one.mlsched-trace", tmp_path / "two.mlsched-trace"
    for path, policy in zip(paths, ("random", "greedy"), strict=True):
        path.write_bytes(recorded_bytes(block_product(3), Machine(600_000, costs=COSTS), policy)[1])
    return paths


@pytest.fixture
def buffer(tmp_path: Path) -> Path:
    return tmp_path / "here.mlsched-replay"


def test_runs_are_added_to_a_buffer_that_is_made_for_them(buffer: Path, traces: tuple[Path, Path]):
    options = ("--trace", traces[0], "--trace", traces[1], "--decisions", 7, "--capacity", 50)
    found = figures(buffer, *options)
    assert (found["added"], found["records"], found["rejected"]) == (14, 14, 0)
    assert [each["trace"] for each in found["runs"]] == [str(path) for path in traces]
    assert [each["added"] for each in found["runs"]] == [7, 7]
    assert all(each["error"] < 0.1 for each in found["runs"])
    assert found["runs"][0]["decisions"]["beside"] > 0
    with ReplayBuffer.open(buffer, features.NAMES) as opened:
        info = opened.info()
    assert (info.labelled, info.live, info.runs, info.capacity) == (14, 14, 2, 50)


def test_what_is_there_stays_and_nothing_is_added_twice(buffer: Path, traces: tuple[Path, Path]):
    figures(buffer, "--trace", traces[0], "--decisions", 7, "--capacity", 50)
    options = ("--trace", traces[0], "--trace", traces[1], "--trace", traces[1])
    found = figures(buffer, *options, "--decisions", 5)
    assert (found["added"], found["records"], found["rejected"]) == (5, 12, 1)
    assert found["runs"][0]["rejected"] == "it is in the buffer already"
    assert len(found["runs"]) == 2


def test_people_see_what_was_added_and_what_was_not(buffer: Path, traces: tuple[Path, Path]):
    result = call(buffer, "--trace", traces[0], "--decisions", 3, "--capacity", 9)
    assert result.stdout == "3 decisions of 1 runs added, 0 runs left out; 3 decisions are there\n"
    with mock.patch.object(judgement, "TOLERANCE", 0.0):
        result = call(buffer, "--trace", traces[1])
    assert result.exit_code == 0
    first, last = result.stdout.splitlines()
    assert first.startswith(f"{traces[1]} is left out: ")
    assert first.endswith("expected 0% at most")
    assert last == "0 decisions of 0 runs added, 1 runs left out; 3 decisions are there"


def test_a_trace_without_a_task_is_left_out(buffer: Path, traces: tuple[Path, Path]):
    empty = traces[0].with_name("empty")
    data = traces[0].read_bytes()
    # The header and the first events: nothing has ended yet.
    for length in range(200, len(data), 50):
        empty.write_bytes(data[:length])
        result = call(buffer, "--trace", empty, "--capacity", 9, "--json", "-")
        if result.exit_code == 0:
            break
    found = json.loads(result.stdout)
    assert (found["added"], found["rejected"]) == (0, 1)
    assert "no task of this trace has ended" in found["runs"][0]["rejected"]
    assert found["runs"][0]["error"] is None


def test_other_features_are_refused(tmp_path: Path, traces: tuple[Path, Path]):
    path = tmp_path / "other"
    with ReplayBuffer.create(path, NAMES, 8):
        pass
    assert str(path) in one_line(path, "--trace", traces[0])


def test_a_trace_that_is_not_there_leaves_no_buffer(buffer: Path, traces: tuple[Path, Path]):
    assert "'nowhere' is no file" in one_line(buffer, "--trace", traces[0], "--trace", "nowhere")
    assert not buffer.exists()


@pytest.mark.parametrize(
    ("options", "words"),
    [([], "--trace"), (["--decisions", "0"], "--decisions"), (["--model", "none"], "--model: ")],
)
def test_mistakes_are_one_line(
    buffer: Path, traces: tuple[Path, Path], options: list[str], words: str
):
    given = ["--trace", traces[0], *options] if options else []
    assert words in one_line(buffer, *given)


def test_it_explains_itself():
    result = call("--help")
    assert result.exit_code == 0
    assert result.stdout.startswith("Usage: dask mlsched replay add")
