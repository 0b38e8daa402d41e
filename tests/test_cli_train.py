"""`dask mlsched train` and `dask mlsched evaluate`, as users and programs call them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from dask_mlsched.benchmarks import graph_formats
from dask_mlsched.benchmarks.families.factorizations import cholesky
from dask_mlsched.cli import mlsched
from dask_mlsched.core import features
from dask_mlsched.core.network import hidden_of
from dask_mlsched.learning.model_file import load

pytest.importorskip("matplotlib")

QUICK = ("--workloads", "gemm", "--quick", "--search-rounds", 1, "--rounds", 1)


def call(*arguments: object) -> Result:
    return CliRunner().invoke(
        mlsched, [str(each) for each in arguments], prog_name="dask mlsched", color=False
    )


def one_line(*arguments: object) -> str:
    result = call(*arguments)
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    (line,) = result.stderr.strip().split("\n")
    return line


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    graph = folder / "mine.json"
    graph_formats.save(cholesky(tiles=5, size=16), graph)
    path = folder / "model.safetensors"
    result = call("train", *QUICK, "--graphs", graph, "--out", path)
    assert result.exit_code == 0, result.output
    assert "Held out:" in result.stdout
    assert "Report:" in result.stdout
    return path


def test_a_model_comes_with_its_report(model: Path):
    found = load(model, features.NAMES)
    assert json.loads(found.card["trained_on"]) == ["cholesky", "gemm"]
    report = model.with_suffix(".md").read_text()
    assert "gemm (2), cholesky (2)" in report
    assert hidden_of(load(model.with_suffix(".training") / "linear.safetensors").network) == (0, 0)
    assert "| refine | 1 |" in report
    assert model.with_suffix(".png").read_bytes().startswith(b"\x89PNG")


def test_a_training_that_is_over_can_be_resumed_and_stays(model: Path):
    before = load(model).network
    graph = model.with_name("mine.json")
    result = call("train", *QUICK, "--graphs", graph, "--out", model, "--resume", "--json", "-")
    assert result.exit_code == 0, result.output
    for array, kept in zip(load(model).network, before, strict=True):
        np.testing.assert_array_equal(array, kept)
    document = json.loads(result.stdout)
    assert document["ended"] == "rounds"
    assert [point["stage"] for point in document["curve"]] == ["search", "learn", "refine"]


def test_another_training_cannot_be_resumed(model: Path):
    line = one_line("train", *QUICK, "--out", model, "--resume")
    assert "of a fit with instances" in line
    assert "remove the file" in line


def test_the_default_model_can_be_fitted_to_a_replay_buffer(model: Path, tmp_path: Path):
    out = tmp_path / "fitted.safetensors"
    folder = model.with_suffix(".training")
    result = call("train", "--replay", folder, "--out", out)
    assert result.exit_code == 0, result.output
    load(out, features.NAMES)
    assert "labelled decisions of replay buffers" in out.with_suffix(".md").read_text()
    assert out.with_suffix(".png").exists()


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("--out", "-"), "--out=- is no file"),
        (("--out", "m", "--workloads", "knitting"), "unknown workload 'knitting'"),
        (("--out", "m", "--memory-ratios", "2,1"), "expected numbers above 1"),
        (("--out", "m", "--graphs", "nowhere.json"), "cannot be read"),
        (("--out", "m", "--replay", "nowhere"), "cannot be"),
        (("--out", "m", "--budget", "long"), "--budget is 'long'"),
        (("--out", "nowhere/m"), "cannot be written"),
        ((), "--out"),
    ],
)
def test_mistakes_are_one_line(
    arguments: tuple[str, ...], expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    assert expected in one_line("train", *arguments)
    assert list(tmp_path.glob("*.safetensors")) == []


def test_a_model_is_compared_with_dask_alone_and_with_its_parts(model: Path, tmp_path: Path):
    page = tmp_path / "figures.md"
    options = ("--splits", "unseen", "--only", "qr", "--markdown", page, "--json", "-")
    result = call("evaluate", "--model", model, *options)
    assert result.exit_code == 0, result.output
    (split,) = json.loads(result.stdout)["splits"].values()
    assert [each["instance"][:2] for each in split["instances"]] == ["qr"] * 3
    assert set(split["variants"]) == {"model", "never hold", "linear part only", "Dask's order"}
    assert "### unseen: 3 instances" in page.read_text()


def test_without_a_model_the_default_is_judged():
    result = call("evaluate", "--splits", "test", "--only", "cholesky")
    assert result.exit_code == 0, result.output
    assert "test: ratios to Dask alone" in result.stdout
    assert "geometric means" in result.stdout


def test_a_contest_has_every_baseline_and_who_is_best(tmp_path: Path):
    figures = tmp_path / "contest.json"
    options = ("--splits", "unseen", "--only", "qr", "--runs", "2", "--json", figures)
    result = call("contest", *options)
    assert result.exit_code == 0, result.output
    assert "unseen: makespan over Dask alone" in result.stdout
    (split,) = json.loads(figures.read_text())["splits"].values()
    assert [each["instance"][:2] for each in split["instances"]] == ["qr"] * 3
    assert {"hfp", "darts-luf", "dmdar"} <= set(split["instances"][0]["baselines"])


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("--model", "nowhere"), "cannot be read"),
        (("--splits", "train,exam"), "--splits='train,exam'; expected one or more of train"),
        (("--only", "knitting"), "--only='knitting' leaves nothing"),
    ],
)
def test_mistakes_in_judging_are_one_line(arguments: tuple[str, ...], expected: str):
    assert expected in one_line("evaluate", *arguments)
    assert expected in one_line("contest", *arguments)
