"""A family's suite: the first two never change, the latest two rotate, and files are left alone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from dask_mlsched.core.machine import SimulationError
from dask_mlsched.learning import family_suite
from dask_mlsched.learning.family_suite import FamilySuite, recorded_instance
from dask_mlsched.learning.instance import Instance, InstanceError
from learning.recorded_runs import calibration

SUFFIX = ".mlsched-instance.json"


def an_instance(program: str = "p") -> Instance:
    return recorded_instance(calibration(), "mine", program)


def offered(suite: FamilySuite, programs: str) -> list[str]:
    return [suite.offer(each, an_instance(each)) for each in programs]


def names(suite: FamilySuite) -> str:
    return "".join(each.name.removeprefix("run ") for each in suite.instances)


def files(folder: Path) -> list[str]:
    return sorted(each.name.removesuffix(SUFFIX) for each in folder.iterdir())


def test_the_first_two_never_change_and_the_latest_two_rotate(tmp_path: Path) -> None:
    suite = FamilySuite(tmp_path / "f")
    assert (names(suite), suite.problems, (tmp_path / "f").exists()) == ("", (), False)
    assert offered(suite, "ab") == ["frozen", "frozen"]
    frozen = [path.read_bytes() for path in sorted((tmp_path / "f").iterdir())]
    assert offered(suite, "cde") == ["recent"] * 3
    assert names(suite) == "abde"
    assert [each.name for each in suite.frozen] == ["run a", "run b"]
    assert files(tmp_path / "f") == [
        *("frozen-000001-a", "frozen-000002-b"),
        *("recent-000002-d", "recent-000003-e"),
    ]
    # What has gone may come again, and is the latest then.
    assert offered(suite, "c") == ["recent"]
    assert names(suite) == "abec"
    assert names(FamilySuite(tmp_path / "f")) == "abec"
    assert [path.read_bytes() for path in sorted((tmp_path / "f").iterdir())][:2] == frozen


def test_a_program_that_is_known_stays_as_it_was(tmp_path: Path) -> None:
    suite = FamilySuite(tmp_path)
    offered(suite, "abc")
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    run = calibration()
    other = replace(an_instance("a"), machine=replace(run.machine, limit=90_000))
    for again in (suite, FamilySuite(tmp_path)):
        assert [again.offer(each, other) for each in "abc"] == ["known"] * 3
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_names_of_programs_may_have_dashes_and_points(tmp_path: Path) -> None:
    suite = FamilySuite(tmp_path)
    programs = ["a-b-c", "b-c", "c", "x.mlsched"]
    assert [suite.offer(each, an_instance(each)) for each in programs] == [
        *("frozen", "frozen"),
        *("recent", "recent"),
    ]
    assert [suite.offer(each, an_instance(each)) for each in programs] == ["known"] * 4


def test_what_is_too_large_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    suite, run = FamilySuite(tmp_path), an_instance()
    monkeypatch.setattr(family_suite, "MOST_TASKS", len(run.dag) - 1)
    assert suite.offer("a", run) == "too large"
    monkeypatch.setattr(family_suite, "MOST_TASKS", len(run.dag))
    assert suite.offer("a", run) == "frozen"


def test_a_damaged_file_is_told_of_left_alone_and_not_made_again(tmp_path: Path) -> None:
    offered(FamilySuite(tmp_path), "abc")
    damaged = tmp_path / f"frozen-000001-a{SUFFIX}"
    damaged.write_bytes(b"{")
    suite = FamilySuite(tmp_path)
    (problem,) = suite.problems
    assert "holds no instance" in problem
    assert names(suite) == "bc"
    assert offered(suite, "ade") == ["known", "recent", "recent"]
    assert names(suite) == "bde"
    assert damaged.read_bytes() == b"{"


def test_files_of_others_are_passed_over_and_left_alone(tmp_path: Path) -> None:
    others = ["notes.txt", f"frozen-x{SUFFIX}", f"recent--1-a{SUFFIX}", f"mine{SUFFIX}"]
    for name in others:
        (tmp_path / name).write_text("mine")
    suite = FamilySuite(tmp_path)
    assert suite.problems == ()
    offered(suite, "abcdefg")
    assert names(suite) == "abfg"
    assert {(tmp_path / name).read_text() for name in others} == {"mine"}


def test_a_disk_that_is_full_leaves_it_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    suite = FamilySuite(tmp_path)
    offered(suite, "abc")

    def full(*_: object) -> None:
        raise OSError(28, "disk full, on purpose")

    with monkeypatch.context() as patch:
        patch.setattr("dask_mlsched.learning.instance_file.save", full)
        with pytest.raises(OSError, match="disk full"):
            offered(suite, "d")
    assert names(suite) == names(FamilySuite(tmp_path)) == "abc"
    assert offered(suite, "d") == ["recent"]


def test_a_rule_that_compiled_runs_do_not_know_is_replaced() -> None:
    run = calibration()
    odd = replace(run, settings=replace(run.settings, eviction="belady"))
    assert recorded_instance(odd, "f", "p").settings.eviction == "next-use"
    assert recorded_instance(run, "f", "p").settings == run.settings


def test_a_run_in_which_nothing_can_be_won_is_none() -> None:
    run = calibration()
    with pytest.raises(InstanceError, match="nothing can be won"):
        recorded_instance(replace(run, machine=replace(run.machine, limit=10**9)), "f", "p")
    with pytest.raises(SimulationError):
        recorded_instance(replace(run, machine=replace(run.machine, limit=1_000)), "f", "p")
