"""Families: each graph finds its own, and one that is damaged leaves the others be."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from dask_mlsched.core.thresholds import Thresholds
from dask_mlsched.learning import families as module
from dask_mlsched.learning.families import Families
from dask_mlsched.learning.family import Family
from dask_mlsched.learning.fingerprint import Fingerprint, fingerprint, similarity
from dask_mlsched.learning.model_ref import check_alias, check_name
from dask_mlsched.learning.models_in_use import family_alias
from learning.instances import factorization, product
from learning.recorded_runs import calibration

DEFAULT = Thresholds()


def looks(tiles: int, kind: str = "product") -> Fingerprint:
    return fingerprint((product if kind == "product" else factorization)(tiles).dag)


def of(families: Families, seen: Fingerprint, program: str = "p", word: str = "gemm") -> Family:
    found = families.of(seen, program, word, DEFAULT)
    assert found is not None
    return found


def made(number: int) -> Fingerprint:
    """Make a graph that is like no other."""
    label = (number + 1, 1.0)
    one = looks(3)
    return replace(one, family=f"{number:016x}", rounds=((label,),) * len(one.rounds))


def test_a_program_of_another_size_is_of_the_same_family_and_others_are_not(tmp_path: Path) -> None:
    families = Families(tmp_path)
    first = of(families, looks(4), "p4", "gemm")
    assert first.name == f"gemm-{looks(4).family[:4]}"
    assert of(families, looks(6), "p6", "other") is first
    assert list(first.fingerprints) == ["p4", "p6"]
    second = of(families, looks(5, "factorization"), "q5", "POTRF (lower)")
    assert second is not first
    assert second.name.startswith("potrf-lower-")
    assert families.find(looks(5))[0] is first
    found, how = families.find(looks(6, "factorization"))
    assert found is second
    assert how == similarity(looks(6, "factorization"), second.prototype) > 0.9
    assert [each.name for each in families] == sorted([first.name, second.name])


def test_of_none_none_is_found(tmp_path: Path) -> None:
    families = Families(tmp_path / "not there")
    assert families.find(looks(4)) == (None, 0.0)
    assert (len(families), list(families), families.problems) == (0, [], ())
    assert not (tmp_path / "not there").exists()


def test_the_threshold_counts_exactly(tmp_path: Path) -> None:
    families = Families(tmp_path)
    one = of(families, looks(4, "factorization"))
    how = similarity(looks(6, "factorization"), one.prototype)
    assert 0.9 < how < 1
    other = families.of(
        looks(6, "factorization"), "q", "potrf", replace(DEFAULT, same_family=how + 1e-9)
    )
    assert other is not one
    families = Families(tmp_path)
    one = of(families, looks(4, "factorization"))
    assert (
        families.of(looks(6, "factorization"), "q", "x", replace(DEFAULT, same_family=how)) is one
    )


@pytest.mark.parametrize("word", ["", "!!!", "Ärger\n", "a" * 300, "../..", "baseline", "-x-"])
def test_a_name_is_one_for_a_folder_a_model_and_an_alias(tmp_path: Path, word: str) -> None:
    family = of(Families(tmp_path), looks(4), word=word)
    check_name(family.name)
    check_alias(family_alias(family.name))
    assert "/" not in family.name


def test_names_are_unique_and_no_more_than_so_many_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOST", 5)
    families = Families(tmp_path)
    for number in range(5):
        families.save(of(families, made(number), word="same"))
    names = [each.name for each in families]
    assert names == ["same-0000", *(f"same-0000-{n}" for n in range(2, 6))]
    assert families.of(made(7), "p", "same", DEFAULT) is None
    assert of(families, made(3), "p").name in names
    assert len(Families(tmp_path)) == 5


def test_what_is_saved_is_there_again(tmp_path: Path) -> None:
    families = Families(tmp_path)
    one = of(families, looks(4))
    one.banned["m/v0001"] = "slow"
    assert len(Families(tmp_path)) == 0
    families.save(one)
    again = Families(tmp_path)
    assert list(again) == [one]
    assert one.name in again
    assert again[one.name].banned == {"m/v0001": "slow"}
    assert again.problems == ()


def test_one_that_is_damaged_is_told_of_and_the_others_are_served(tmp_path: Path) -> None:
    families = Families(tmp_path)
    one, two = of(families, looks(4)), of(families, looks(5, "factorization"), "q", "potrf")
    families.save(one)
    families.save(two)
    file = tmp_path / one.name / "family.json"
    file.write_bytes(file.read_bytes()[:-9])
    again = Families(tmp_path)
    assert list(again) == [two]
    (problem,) = again.problems
    assert str(file) in problem
    assert "holds no family" in problem
    # Its name is not given to another one, which would write over it.
    before = file.read_bytes()
    new = of(again, looks(4))
    assert new.name == f"{one.name}-2"
    again.save(new)
    assert file.read_bytes() == before
    assert len(Families(tmp_path)) == 2


def test_however_many_folders_are_damaged_there_is_a_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOST", 3)
    name = f"gemm-{looks(4).family[:4]}"
    for each in (name, *(f"{name}-{number}" for number in range(2, 9))):
        (tmp_path / each).mkdir()
        (tmp_path / each / "family.json").write_bytes(b"{")
    families = Families(tmp_path)
    assert len(families.problems) == 8
    assert of(families, looks(4)).name == f"{name}-9"


def test_a_folder_that_was_renamed_is_the_family_of_that_name(tmp_path: Path) -> None:
    families = Families(tmp_path)
    one = of(families, looks(4))
    families.save(one)
    (tmp_path / one.name).rename(tmp_path / "mine")
    (found,) = Families(tmp_path)
    assert found.name == "mine"


def test_problems_of_its_runs_are_told_too(tmp_path: Path) -> None:
    families = Families(tmp_path)
    one = of(families, looks(4))
    families.save(one)
    (tmp_path / one.name / "frozen-000001-x.mlsched-instance.json").write_bytes(b"{")
    again = Families(tmp_path)
    assert list(again) == [one]
    assert "holds no instance" in again.problems[0]
    assert again.suite(again[one.name]) is again.suite(again[one.name])
    assert calibration(4) is not None


def test_near_ones_are_the_others_from_a_threshold_on_the_nearest_first(tmp_path: Path) -> None:
    families = Families(tmp_path)
    base = looks(3)

    def between(share: float, number: int) -> Fingerprint:
        weights = ((1, share**0.5), (number, (1 - share) ** 0.5))
        return replace(base, rounds=(weights,) * len(base.rounds))

    same = replace(DEFAULT, same_family=2.0)
    alone = replace(base, rounds=(((1, 1.0),),) * len(base.rounds))
    own = families.of(alone, "p", "own", same)
    assert own is not None
    for number, share in enumerate((0.4, 0.9, 0.25, 0.65, 0.5), 2):
        families.of(between(share, number), f"p{number}", f"share-{round(100 * share)}", same)
    found = [each.name.rsplit("-", 1)[0] for each in families.near(own, DEFAULT)]
    assert [name[:8] for name in found] == ["share-90", "share-65", "share-50"]
    assert len(families.near(own, DEFAULT, 10)) == 4
    assert families.near(own, replace(DEFAULT, near_family=1.0)) == []
