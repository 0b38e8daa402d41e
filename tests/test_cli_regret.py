"""`dask mlsched regret`, as users and programs call it."""

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
from dask_mlsched.core.scores import FEWEST_MISSING
from dask_mlsched.learning.model_file import Model, save

DAG = block_product(3)


def call(*arguments: object) -> Result:
    return CliRunner().invoke(
        mlsched, ["regret", *map(str, arguments)], prog_name="dask mlsched", color=False
    )


def figures(*arguments: object) -> dict[str, Any]:
    result = call(*arguments, "--json", "-")
    assert result.exit_code == 0, result.output
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def one_line(*arguments: object) -> str:
    result = call(*arguments)
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    (line,) = result.stderr.strip().split("\n")
    return line


def written(path: Path, policy: str, limit: int = 600_000) -> Path:
    path.write_bytes(recorded_bytes(DAG, Machine(limit, costs=COSTS), policy)[1])
    return path


@pytest.fixture
def trace(tmp_path: Path) -> Path:
    return written(tmp_path / "run.mlsched-trace", "random")


def test_programs_find_the_costliest_decisions_first(trace: Path):
    found = figures("--trace", trace, "--top", 4)
    costliest = found["costliest"]
    assert 1 <= len(costliest) <= 4
    # A simulation does not name its tasks.
    keys = set(map(str, range(len(DAG))))
    regrets = [each["regret"] for each in costliest]
    assert regrets == sorted(regrets, reverse=True)
    assert regrets[-1] > 0
    for each in costliest:
        assert each["chosen"] in keys
        assert each["right"] in {*keys, "HOLD"}
        assert each["right"] != each["chosen"]
        assert each["worker"] == 0
        assert 0 <= each["time"] <= found["makespan"]
        assert each["share"] == pytest.approx(each["regret"] / found["gate"]["compiled"])
        assert each["actions"] >= 2


def test_what_was_looked_at_is_counted(trace: Path):
    found = figures("--trace", trace, "--decisions", 9)
    decisions = found["decisions"]
    assert decisions["judged"] == 9
    assert decisions["regretted"] <= 9
    assert decisions["recorded"] > 9
    assert decisions["beside"] > 0
    assert found["total_regret"] >= sum(each["regret"] for each in found["costliest"]) - 1e-12
    assert found["gate"]["passed"]
    assert found["gate"]["live"] == found["makespan"]
    assert found["gate"]["error"] < 0.1


def test_people_see_a_table_and_how_far_to_trust_it(trace: Path):
    result = call("--trace", trace, "--top", 3)
    assert result.exit_code == 0, result.output
    for text in (
        "run.mlsched-trace: what cost most",
        "of makespan",
        "decisions cost something",
        "% off",
        "could not be taken again: left out",
    ):
        assert text in result.stdout


def test_with_figures_in_a_file_people_see_the_table_as_well(trace: Path, tmp_path: Path):
    out = tmp_path / "out.json"
    result = call("--trace", trace, "--decisions", 3, "--json", out)
    assert "what cost most" in result.stdout
    assert json.loads(out.read_text())["trace"] == "run.mlsched-trace"


def test_a_model_file_goes_on_instead_of_the_one_that_ships(trace: Path, tmp_path: Path):
    model = tmp_path / "here.safetensors"
    save(model, Model(FEWEST_MISSING, features.NAMES))
    assert (
        figures("--trace", trace, "--model", model)["total_regret"]
        != figures("--trace", trace)["total_regret"]
    )


def test_a_run_that_the_simulation_does_not_explain_is_not_judged(trace: Path):
    with mock.patch.object(judgement, "TOLERANCE", 0.0):
        result = call("--trace", trace)
        assert result.exit_code == 1
        assert result.stdout == ""
        assert "run.mlsched-trace cannot be judged: " in result.stderr
        assert "expected 0% at most" in result.stderr
        machine = call("--trace", trace, "--json", "-")
        assert machine.exit_code == 1
        found = json.loads(machine.stdout)
    assert not found["gate"]["passed"]
    assert (found["costliest"], found["decisions"]["judged"]) == ([], 0)


def test_where_everything_fits_little_is_regretted(tmp_path: Path):
    found = figures("--trace", written(tmp_path / "t", "greedy", 10**9))
    assert found["decisions"]["judged"] < 5
    assert found["total_regret"] < 0.1 * found["makespan"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--trace", "nowhere"], "--trace='nowhere' cannot be read (No such file"),
        (["--trace", "{trace}", "--model", "nowhere"], "--model: "),
        (["--trace", "{trace}", "--decisions", "0"], "--decisions"),
        (["--trace", "{trace}", "--top", "x"], "--top"),
        ([], "--trace"),
    ],
)
def test_mistakes_are_one_line(trace: Path, arguments: list[str], words: str):
    assert words in one_line(*(each.format(trace=trace) for each in arguments))


def test_what_is_no_trace_is_one_line(tmp_path: Path):
    file = tmp_path / "file"
    file.write_text("text")
    assert "--trace=" in one_line("--trace", file)


def test_it_explains_itself():
    result = call("--help")
    assert result.exit_code == 0
    assert "what would have been right" in " ".join(result.stdout.split())
