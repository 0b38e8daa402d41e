"""`dask mlsched models merge|split|generalise|promote|rollback`, as they are called."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dask
import pytest
from click.testing import CliRunner, Result

from dask_mlsched.cli import mlsched
from dask_mlsched.core import features
from dask_mlsched.core.network import Network
from dask_mlsched.core.training_message import LIBRARY
from dask_mlsched.learning import family_update, merging
from dask_mlsched.learning.challengers import Challenger
from dask_mlsched.learning.library import Library
from dask_mlsched.learning.operations import Operations
from dask_mlsched.learning.replay import ReplayBuffer
from dask_mlsched.learning.training_folder import DECISIONS
from learning.instances import NEAREST, scored_by
from learning.trainings import SHIPPED, a_training, own_model, seen

BAD = scored_by(missing=1.0)
FIRST = "generalist/v0001"


@pytest.fixture(autouse=True)
def few_instances(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dask_mlsched.benchmarks.shipped_instances.ship", lambda: SHIPPED)


@pytest.fixture
def training(tmp_path: Path) -> Operations:
    return a_training(tmp_path / "training")


@pytest.fixture
def folder(training: Operations) -> Path:
    return training.library.path.parent


def call(*arguments: object) -> Result:
    return CliRunner().invoke(
        mlsched, ["models", *map(str, arguments)], prog_name="dask mlsched", color=False
    )


def done(*arguments: object) -> dict[str, Any]:
    """Call with success, for machines."""
    result = call(*arguments, "--json", "-")
    assert result.exit_code == 0, result.output
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def refused(*arguments: object) -> str:
    """Call something that a gate refuses; return what people are told."""
    result = call(*arguments)
    assert result.exit_code == 1, result.output
    assert result.stderr == ""
    return result.stdout


def mistake(*arguments: object) -> str:
    result = call(*arguments)
    assert result.exit_code == 2, result.output
    (line,) = result.stderr.strip().split("\n")
    return line


def names(training: Operations) -> list[str]:
    return [family.name for family in training.families]


def searched(monkeypatch: pytest.MonkeyPatch, network: Network) -> None:
    """Say what searches come to."""
    found = Challenger(network, "search", -1.0)
    for module in (family_update, merging):
        monkeypatch.setattr(module, "challenger", lambda *_, **__: found)


def contents(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*"))


# Families


def test_a_family_is_split_off_with_a_real_search(training: Operations, folder: Path) -> None:
    _, family = names(training)
    found = done("split", folder, family, "--seconds", 0.5)
    assert (found["event"], found["family"]) == ("split", family)
    assert found["model"] == f"{family}/v0001"
    assert found["figures"]["saved"] > 0.05
    assert found["directory"] == str(folder)
    assert Library.reading(folder / LIBRARY).resolve(f"family:{family}") == found["model"]


def test_people_are_told_in_two_lines(training: Operations, folder: Path, monkeypatch: Any) -> None:
    searched(monkeypatch, NEAREST)
    family = names(training)[1]
    result = call("split", folder, family, "--seconds", 0)
    assert result.exit_code == 0, result.output
    told, figures = result.stdout.splitlines()
    assert told.startswith(f"split: {family}/v0001 {family}: 0.")
    assert "of Dask's time on variants of its runs" in told
    assert figures.startswith("figures: makespan 0.")


def test_a_split_that_its_gate_refuses(
    training: Operations, folder: Path, monkeypatch: Any
) -> None:
    searched(monkeypatch, BAD)
    family = names(training)[0]
    told, figures = refused("split", folder, family, "--seconds", 0).splitlines()
    assert told.startswith(f"refused: {family}: split of {family}: ")
    assert "of Dask's time; expected less than Dask alone takes" in told
    assert "saved" in figures
    assert Library.reading(folder / LIBRARY).events()[-1].kind == "refused"
    # For machines, too.
    result = call("split", folder, family, "--seconds", 0, "--json", "-")
    assert (result.exit_code, json.loads(result.stdout)["event"]) == (1, "refused")


@pytest.mark.parametrize("command", ["split", "merge"])
def test_a_family_that_is_not_known_is_one_clear_mistake(
    training: Operations, folder: Path, command: str
) -> None:
    line = mistake(command, folder, "odd")
    known = ", ".join(names(training))
    assert line == f"Error: family 'odd' is not known; expected one of: {known}"


def test_a_family_whose_runs_could_not_be_simulated_is_one_clear_mistake(
    training: Operations, folder: Path
) -> None:
    family = seen(training.families, "none", None)
    assert f"family {family.name!r} has no runs to judge by" in mistake(
        "split", folder, family.name
    )
    assert "has no run" in mistake("merge", folder, family.name, names(training)[0])


def test_a_damaged_family_is_told_of_and_the_others_serve(
    training: Operations, folder: Path, monkeypatch: Any
) -> None:
    searched(monkeypatch, NEAREST)
    odd, family = names(training)
    (folder / "families" / odd / "family.json").write_bytes(b"nonsense")
    result = call("split", folder, family, "--seconds", 0)
    assert result.exit_code == 0, result.output
    assert "holds no family" in result.stderr


# Several


def test_models_are_merged(training: Operations, folder: Path) -> None:
    own = [own_model(training, family, NEAREST) for family in training.families]
    both = names(training)
    found = done("merge", folder, *both, *both, "--seconds", 0)
    assert found["event"] == "merge"
    library = Library.reading(folder / LIBRARY)
    assert {library.resolve(f"family:{name}") for name in both} == {found["model"]}
    assert sorted(library.card(found["model"]).parents) == sorted(own)
    assert set(found["figures"]) == {f"ratio of {name}" for name in both}


def test_a_merge_that_its_gate_refuses(
    training: Operations, folder: Path, monkeypatch: Any
) -> None:
    searched(monkeypatch, BAD)
    for family in training.families:
        own_model(training, family, NEAREST)
    before = training.library.aliases()
    told, figures = refused("merge", folder, *names(training), "--seconds", 0).splitlines()
    assert "own model; expected 1.02 at most" in told
    assert "ratio of" in figures
    assert Library.reading(folder / LIBRARY).aliases() == before


def test_there_must_be_two_models_to_merge(training: Operations, folder: Path) -> None:
    first, second = names(training)
    line = mistake("merge", folder, first, second)
    assert "have 0 models of their own; expected 2 or more to merge" in line
    own_model(training, training.families[first], NEAREST)
    assert "have 1 models" in mistake("merge", folder, first, second)


def test_a_generalist_goes_on_trial(training: Operations, folder: Path, monkeypatch: Any) -> None:
    searched(monkeypatch, NEAREST)
    found = done("generalise", folder, "--seconds", 0)
    assert found["event"] == "challenger"
    library = Library.reading(folder / LIBRARY)
    assert library.aliases()["challenger"] == found["model"] == "generalist/v0002"
    assert library.aliases()["champion"] == FIRST


def test_a_generalist_that_its_gate_refuses(
    training: Operations, folder: Path, monkeypatch: Any
) -> None:
    searched(monkeypatch, BAD)
    told, figures = refused("generalise", folder, "--seconds", 0).splitlines()
    assert told.startswith("refused: generalist of 2 families: ")
    assert "overall" in figures


def test_a_generalist_is_really_searched_for(training: Operations, folder: Path) -> None:
    result = call("generalise", folder, "--seconds", 0.5)
    assert result.exit_code in (0, 1), result.output
    assert result.stdout.split(":")[0] in ("challenger", "refused")


def test_without_any_runs_there_is_nothing_to_make_a_generalist_of(tmp_path: Path) -> None:
    Library.open(tmp_path / LIBRARY)
    assert "nothing could be won in any run so far" in refused("generalise", tmp_path)


# The champion


def generalist(training: Operations, network: Network) -> str:
    return str(training.library.add("generalist", network, made_by="hand", reason="a trial"))


def test_a_better_generalist_is_promoted_and_rolled_back(
    training: Operations, folder: Path
) -> None:
    own = own_model(training, training.families[names(training)[0]], NEAREST)
    better = training.library.add(
        "generalist",
        NEAREST,
        made_by="hand",
        reason="of all",
        parents=[FIRST, own],
        families=[names(training)[0]],
    )
    before = training.library.aliases()
    found = done("promote", folder, "generalist", "--reason", "by hand")
    assert (found["event"], found["model"], found["reason"]) == ("promoted", better, "by hand")
    assert found["figures"]["overall"] < 1
    library = Library.reading(folder / LIBRARY)
    assert library.aliases() == {"champion": better, "previous": FIRST}
    found = done("rollback", folder, "--reason", "worse after all")
    assert (found["event"], found["model"]) == ("rolled back", better)
    # What it stood for serves again.
    assert library.aliases() == before
    last = library.events()[-1]
    assert (last.kind, last.what, last.why) == ("rolled back", better, "worse after all")


def test_a_worse_generalist_is_promoted_only_by_force(training: Operations, folder: Path) -> None:
    ref = generalist(training, BAD)
    before = training.library.aliases()
    told, figures = refused("promote", folder, ref, "--reason", "to see").splitlines()
    assert told.startswith(f"refused: promotion of {ref}: 1.")
    assert told.endswith("--force does it all the same")
    assert figures.startswith("figures: overall 1")
    library = Library.reading(folder / LIBRARY)
    assert library.aliases() == before
    assert "--force" not in library.events()[-1].why
    found = done("promote", folder, ref, "--reason", "to see", "--force")
    assert found["figures"]["overall"] >= 1
    assert library.aliases() == {"champion": ref, "previous": FIRST}


@pytest.mark.parametrize("force", [[], ["--force"]])
def test_what_cannot_be_promoted_is_one_clear_mistake(
    training: Operations, folder: Path, force: list[str]
) -> None:
    because = ["--reason", "x", *force]
    before = training.library.events()
    assert "is the champion already" in mistake("promote", folder, "champion", *because)
    assert "has no 'odd'" in mistake("promote", folder, "odd", *because)
    assert "Missing option '--reason'" in mistake("promote", folder, FIRST)
    assert training.library.events() == before


def test_dask_alone_can_be_champion(training: Operations, folder: Path) -> None:
    """Its gate compares with Dask's order under our controller."""
    done("promote", folder, "baseline", "--reason", "to see", "--force")
    assert training.champion == "baseline"
    done("rollback", folder, "--reason", "seen")
    assert training.champion == FIRST


def test_a_damaged_champion_gives_way_by_force(training: Operations, folder: Path) -> None:
    ref = generalist(training, NEAREST)
    (folder / LIBRARY / FIRST / "model.safetensors").write_bytes(b"nonsense")
    assert "no safetensors file" in mistake("promote", folder, ref, "--reason", "x")
    assert done("promote", folder, ref, "--reason", "x", "--force")["figures"] == {}


def test_there_must_be_a_champion_before_to_go_back_to(folder: Path) -> None:
    line = mistake("rollback", folder, "--reason", "x")
    assert f"{FIRST} is the first champion; there is none to go back to" in line


# The folder


@pytest.mark.parametrize(
    "arguments",
    [
        ["merge", "a", "b"],
        ["split", "a"],
        ["generalise"],
        ["promote", "a", "--reason=x"],
        ["rollback", "--reason=x"],
    ],
    ids=lambda arguments: arguments[0],
)
def test_a_folder_of_no_training_is_one_clear_mistake(tmp_path: Path, arguments: list[str]) -> None:
    command, *rest = arguments
    (tmp_path / "empty" / LIBRARY).mkdir(parents=True)
    before = contents(tmp_path)
    for folder in (tmp_path, tmp_path / "none"):
        line = mistake(command, folder, *rest)
        assert "holds no 'library'; name the training.directory of a scheduler" in line
    assert "holds no library of models" in mistake(command, tmp_path / "empty", *rest)
    assert contents(tmp_path) == before


def test_the_library_of_a_training_can_be_named_as_well(
    training: Operations, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    generalist(training, NEAREST)
    found = done("promote", folder / LIBRARY, "generalist", "--reason", "x")
    assert found["directory"] == str(folder)
    monkeypatch.chdir(folder / LIBRARY)
    assert done("rollback", ".", "--reason", "x")["directory"] == str(folder)


def test_a_setting_that_cannot_be_is_one_clear_mistake(folder: Path) -> None:
    with dask.config.set({"mlsched.models.bad-run": "odd"}):
        assert "mlsched.models.bad-run" in mistake("rollback", folder, "--reason", "x")


HOLDER = """
import sys
from pathlib import Path
from dask_mlsched.learning.training_folder import TrainingFolder

with open(sys.argv[1] + ".there", "w"):
    folder = TrainingFolder.open(Path(sys.argv[1]), 8)
    print("open", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def learning(folder: Path) -> Iterator[None]:
    """Have another process learn in the folder."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "open\n"
        yield
        assert process.stdin is not None
        process.stdin.close()
        assert process.wait() == 0


@pytest.mark.usefixtures("learning")
def test_it_goes_on_beside_a_process_that_learns_in_the_folder(
    training: Operations, folder: Path, monkeypatch: Any
) -> None:
    assert (folder / DECISIONS).exists()
    with pytest.raises(ValueError, match="is writing to it"):
        ReplayBuffer.open(folder / DECISIONS, features.NAMES, "write")
    searched(monkeypatch, NEAREST)
    for name in names(training):
        assert done("split", folder, name, "--seconds", 0)["event"] == "split"
    assert done("generalise", folder, "--seconds", 0)["event"] == "challenger"
    assert done("promote", folder, "challenger", "--reason", "x")["event"] == "promoted"
    assert done("rollback", folder, "--reason", "x")["event"] == "rolled back"
