"""`dask mlsched models`, as users and programs call it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from dask_mlsched.cli import mlsched
from dask_mlsched.core import features
from dask_mlsched.core.network import linear
from dask_mlsched.learning.library import Library
from learning.libraries import small_network

#: 15 June 2025, 15:06:40 UTC
NOW = 1.75e9


def call(*arguments: object) -> Result:
    return CliRunner().invoke(
        mlsched, ["models", *map(str, arguments)], prog_name="dask mlsched", color=False
    )


def mistake(*arguments: object) -> str:
    result = call(*arguments)
    assert result.exit_code == 2, result.output
    (line,) = result.stderr.strip().split("\n")
    return line


@pytest.fixture
def path(tmp_path: Path) -> Path:
    library = Library.open(tmp_path / "library", now=lambda: NOW)
    network = small_network()
    skip = np.zeros(features.COUNT, np.float32)
    skip[features.NAMES.index("age")] = 9.0
    first = library.add(
        "gemm",
        network._replace(skip=skip),
        made_by="fit",
        reason="the first [bold]one[/]",
        families=["gemm", "gemm-tree"],
        figures={"gap": 0.5},
    )
    skip = skip.copy()
    skip[features.NAMES.index("rank")] = -5.0
    second = library.add(
        "gemm", network._replace(skip=skip), made_by="update", reason="more runs", parents=[first]
    )
    library.add("lu", linear(np.ones(features.COUNT)), made_by="search", reason="for lu")
    library.move({"champion": first}, "there is no other")
    library.move({"champion": second, "previous": first}, "it is better", {"gap": 0.75})
    return library.path


def test_list_shows_versions_and_what_means_them(path: Path) -> None:
    result = call("list", path)
    assert result.exit_code == 0, result.output
    rows = {line.split()[0]: line for line in result.stdout.splitlines() if line.strip()}
    for words in ("previous", "fit", "gemm, gemm-tree", "[bold]one[/]"):
        assert words in rows["gemm/v0001"]
    assert "champion" in rows["gemm/v0002"]
    assert "2025-06-15" in rows["lu/v0001"]
    assert "Dask's own order" in rows["baseline"]


def test_list_has_what_programs_rely_on(path: Path) -> None:
    found = json.loads(call("list", path, "--json", "-").stdout)
    assert [each["version"] for each in found["versions"]] == [
        "gemm/v0001",
        "gemm/v0002",
        "lu/v0001",
    ]
    assert found["aliases"] == {"champion": "gemm/v0002", "previous": "gemm/v0001"}
    first = found["versions"][0]
    assert (first["aliases"], first["problem"]) == (["previous"], None)
    assert first["card"]["figures"] == {"gap": 0.5}
    assert found["problems"] == []


def test_list_shows_what_is_damaged_beside_what_is_not(path: Path, tmp_path: Path) -> None:
    (path / "gemm/v0002/model.safetensors").write_bytes(b"nonsense")
    (path / "lu/v0001/card.json").write_text("[")
    (path / "link").symlink_to(tmp_path)
    result = call("list", path)
    assert result.exit_code == 0, result.output
    words = " ".join(result.stdout.split())
    assert "no safetensors file" in words
    assert "no JSON" in words
    found = json.loads(call("list", path, "--json", "-").stdout)
    problems = {each["version"]: each["problem"] for each in found["versions"]}
    assert "a link" in problems.pop("link")
    assert [ref for ref, problem in problems.items() if problem] == ["gemm/v0002", "lu/v0001"]


def test_list_without_aliases_that_can_be_read(path: Path) -> None:
    (path / "aliases.json").write_text("{}")
    result = call("list", path)
    assert result.exit_code == 0, result.output
    assert "gemm/v0001" in result.stdout
    assert "take the file away" in result.stdout


def test_list_tells_of_an_alias_that_means_nothing(path: Path) -> None:
    (path / "gemm/v0002").rename(path / "elsewhere")
    assert "alias 'champion' means 'gemm/v0002', which is not there" in call("list", path).stdout


@pytest.mark.parametrize("name", ["previous", "gemm/v0001"])
def test_show_tells_the_card_and_the_weights(path: Path, name: str) -> None:
    result = call("show", path, name)
    assert result.exit_code == 0, result.output
    assert "gemm/v0001: previous" in result.stdout
    assert "made by: fit" in result.stdout
    assert "figures: gap 0.5" in result.stdout
    assert "layers: 32 - 2 - 2 - 2" in result.stdout
    heaviest = [line for line in result.stdout.splitlines() if "+9.0000" in line]
    assert heaviest[0].split()[0] == "age"


def test_show_has_what_programs_rely_on(path: Path, tmp_path: Path) -> None:
    file = tmp_path / "figures.json"
    assert call("show", path, "gemm", "--json", file).exit_code == 0
    found = json.loads(file.read_text())
    assert (found["version"], found["aliases"]) == ("gemm/v0002", ["champion"])
    assert found["card"]["parents"] == ["gemm/v0001"]
    assert found["network"]["hidden"] == [2, 2]
    assert found["network"]["by_feature"][0]["feature"] == "age"
    assert len(found["network"]["by_feature"]) == features.COUNT


def test_show_tells_what_baseline_is(path: Path) -> None:
    assert "Dask's own order" in call("show", path, "baseline").stdout
    assert json.loads(call("show", path, "baseline", "--json", "-").stdout)["network"] is None


def test_diff_tells_what_changed(path: Path) -> None:
    result = call("diff", path, "previous", "champion")
    assert result.exit_code == 0, result.output
    assert "distance of the networks: 5.0000" in result.stdout
    (row,) = [line for line in result.stdout.splitlines() if "-5.0000" in line]
    assert row.split()[0] == "rank"
    assert any("fit" in line and "update" in line for line in result.stdout.splitlines())
    found = json.loads(call("diff", path, "previous", "champion", "--json", "-").stdout)
    assert found["cards"]["made_by"] == ["fit", "update"]
    assert found["networks"]["by_array"]["skip"] == 5.0
    assert found["networks"]["by_array"]["w1"] == 0.0


def test_diff_of_other_shapes_compares_what_it_can(path: Path) -> None:
    assert "only the linear parts" in call("diff", path, "gemm", "lu").stdout
    assert "baseline has no network" in call("diff", path, "gemm", "baseline").stdout


def test_log_tells_what_happened(path: Path) -> None:
    result = call("log", path)
    assert result.exit_code == 0, result.output
    words = " ".join(result.stdout.split())
    for each in ("created", "gemm/v0001", "it is better", "gap 0.75", "2025-06-15"):
        assert each in words
    found = json.loads(call("log", path, "-n", 2, "--json", "-").stdout)
    assert [event["sequence"] for event in found["events"]] == [4, 5]
    assert found["events"][1]["moves"]["previous"] == [None, "gemm/v0001"]


def test_log_shows_any_text_as_it_is(path: Path) -> None:
    library = Library.open(path)
    library.note("odd[red]", what="\x1b[2J", more="\ud800")
    result = call("log", path)
    assert result.exit_code == 0, result.output
    assert "odd[red]" in result.stdout
    assert "\x1b" not in result.stdout
    assert "\\x1b[2J" in "".join(result.stdout.split())


def test_remove_takes_a_version_away_and_says_why(path: Path) -> None:
    assert "lu/v0001 is removed" in call("remove", path, "lu/v0001", "--reason", "old").stdout
    assert Library.reading(path).versions("lu") == []
    assert Library.reading(path).events()[-1].why == "old"
    assert "Missing option '--reason'" in mistake("remove", path, "gemm/v0001")
    assert "champion means" in mistake("remove", path, "gemm/v0002", "--reason", "no")
    assert "always there" in mistake("remove", path, "baseline", "--reason", "no")
    assert "is not in the library" in mistake("remove", path, "lu/v0001", "--reason", "again")


@pytest.mark.parametrize(
    "arguments",
    [["list"], ["show", "gemm"], ["diff", "a", "b"], ["log"], ["remove", "a/v0001", "--reason=x"]],
    ids=lambda arguments: arguments[0],
)
def test_a_folder_that_is_no_library_is_one_clear_mistake(
    tmp_path: Path, arguments: list[str]
) -> None:
    command, *rest = arguments
    for folder in (tmp_path, tmp_path / "none"):
        assert "holds no library of models" in mistake(command, folder, *rest)
    assert list(tmp_path.iterdir()) == []


def test_a_version_that_is_not_there_is_one_clear_mistake(path: Path) -> None:
    line = mistake("show", path, "cholesky")
    assert "has no 'cholesky'" in line
    assert "baseline, gemm, lu" in line
