"""`dask mlsched models report`, on what a short stream of runs has left."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from dask_mlsched.benchmarks.lifelong import experiment
from dask_mlsched.cli.models_report import report
from dask_mlsched.learning import generality
from tiny_lifelong import FEW_RUNS, TINY, size_of_png

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def left(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("training")
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(generality, "BEST_RUNS", FEW_RUNS)
        experiment(root, 1, TINY)
    return root


@pytest.fixture(autouse=True)
def _search_little(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(generality, "BEST_RUNS", FEW_RUNS)


@pytest.fixture
def damaged(left: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(left, tmp_path / "damaged"))


def call(*arguments: object) -> Result:
    return CliRunner().invoke(report, list(map(str, arguments)), prog_name="report", color=False)


def mistake(*arguments: object) -> str:
    result = call(*arguments)
    assert result.exit_code == 2, result.output
    lines = result.stderr.strip().split("\n")
    return lines[-1]


def test_report_tells_gaps_and_writes_a_picture(left: Path, tmp_path: Path):
    picture = tmp_path / "models.png"
    result = call(left, "--picture", picture)
    assert result.exit_code == 0, result.output
    for words in ("Closed gap", "Accuracy and generality", "Similarity", "champion", "baseline"):
        assert words in result.stdout
    assert size_of_png(picture.read_bytes())[0] > 800


def test_the_json_has_every_family_and_every_version(left: Path):
    result = call(left, "--all", "--json", "-")
    assert result.exit_code == 0, result.output
    content = json.loads(result.stdout)
    models = [each["model"] for each in content["models"]]
    # The champion that was bad on purpose is there, though no alias means it any more.
    assert {"baseline", "generalist/v0001", "generalist/v0002"} <= set(models)
    known = {each["family"] for each in content["families"]} | set(content["left_out"])
    assert known == set(content["known_families"])
    assert len(content["similarity"]) == len(known)
    for each in content["models"]:
        assert each["generality"] is None or 0 <= each["generality"] <= 1


def test_a_folder_without_a_library_is_one_clear_line(tmp_path: Path):
    assert str(tmp_path) in mistake(tmp_path)


def test_a_damaged_library_is_one_clear_line(damaged: Path):
    (damaged / "library" / "aliases.json").write_text("{")
    assert "aliases.json" in mistake(damaged)


def test_a_damaged_champion_is_one_clear_line(damaged: Path):
    aliases = json.loads((damaged / "library" / "aliases.json").read_text())
    champion = str(aliases["aliases"]["champion"] if "aliases" in aliases else "generalist/v0001")
    (damaged / "library" / champion / "model.safetensors").write_bytes(b"nothing")
    assert champion in mistake(damaged)


def test_all_versions_pass_over_one_that_is_damaged(damaged: Path):
    (damaged / "library" / "generalist" / "v0002" / "model.safetensors").write_bytes(b"nothing")
    result = call(damaged, "--all")
    assert result.exit_code == 0, result.output
    assert "generalist/v0002" in result.stdout.split("Similarity")[1]


def test_a_damaged_family_is_named_and_passed_over(damaged: Path):
    family = min((damaged / "families").iterdir())
    (family / "family.json").write_text("{}")
    result = call(damaged)
    assert result.exit_code == 0, result.output
    assert f"{family.name}/family.json" in result.stdout.replace("\n", "")
