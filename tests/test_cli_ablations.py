"""`dask mlsched ablations`, as users and programs call it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from dask_mlsched.benchmarks.ablations import ARMS, MODEL
from dask_mlsched.cli import mlsched
from dask_mlsched.core import features
from dask_mlsched.core.scores import FEWEST_MISSING
from dask_mlsched.learning.model_file import Model, save

QUICK = ("--workload", "gemm,cholesky", "--quick", "--memory-ratio", "3")


def call(*arguments: object) -> Result:
    return CliRunner().invoke(
        mlsched, ["ablations", *map(str, arguments)], prog_name="dask mlsched", color=False
    )


def complaint(*arguments: object) -> str:
    result = call(*arguments)
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    # What stands before is how far it got.
    return result.stderr.strip().split("\n")[-1]


def test_programs_find_every_arm_of_every_workload(tmp_path: Path):
    model = tmp_path / "linear.safetensors"
    save(model, Model(FEWEST_MISSING, features.NAMES))
    result = call(*QUICK, "--model", model, "--json", "-")
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert [each["name"] for each in found["instances"]] == ["gemm", "cholesky"]
    for each in found["instances"]:
        assert list(each["arms"]) == list(ARMS)
        assert each["arms"][MODEL] == each["arms"]["linear score"]


def test_people_see_two_tables():
    result = call(*QUICK)
    assert result.exit_code == 0, result.output
    for text in ("HOLD: makespan over Dask alone", "bytes moved over Dask alone", "geomean"):
        assert text in result.stdout


def test_the_page_can_be_written(tmp_path: Path):
    page = tmp_path / "ablations.md"
    result = call(*QUICK, "--markdown", page)
    assert result.exit_code == 0
    assert "geomean" in result.stdout
    assert page.read_text().startswith("## What holding saves and costs\n")
    assert call(*QUICK, "--markdown", "-").stdout.startswith("## What holding")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--workload", "nothing"], "nothing"),
        (["--model", "nowhere"], "--model: "),
        (["--memory-ratio", "0"], "--memory-ratio"),
        (
            ["--workload", "gemm", "--quick", "--memory-ratio", "0.01"],
            "moves no bytes under Dask alone",
        ),
    ],
)
def test_mistakes_are_one_line(arguments: list[str], words: str):
    assert words in complaint(*arguments)


def test_it_explains_itself():
    assert "--workload" in call("--help").stdout
