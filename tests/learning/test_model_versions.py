"""Versions of a model: the newest that can be used serves, and none is ever changed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from core.networks import random_network
from dask_mlsched.core import features
from dask_mlsched.core.network import Network
from dask_mlsched.learning.default_model import default_network
from dask_mlsched.learning.model_file import Model, load, save
from dask_mlsched.learning.model_versions import ModelVersions


def a_network(seed: int) -> Network:
    return random_network(np.random.default_rng(seed), features.COUNT, (2, 2))


@pytest.fixture
def versions(tmp_path: Path) -> ModelVersions:
    versions = ModelVersions(tmp_path / "models")
    for number in (1, 2):
        versions.add(number, a_network(number), {"parent": str(number - 1)})
    return versions


def test_without_any_the_one_that_ships_serves(tmp_path: Path) -> None:
    newest = ModelVersions(tmp_path / "models").newest()
    assert newest.number == 0
    assert newest.network is default_network()
    assert newest.problems == ()


def test_the_newest_serves(versions: ModelVersions) -> None:
    newest = versions.newest()
    assert (newest.number, newest.problems) == (2, ())
    np.testing.assert_array_equal(newest.network.w1, a_network(2).w1)
    assert load(versions.path(2)).card == {"parent": "1"}


def test_where_the_newest_is_taken_away_the_one_before_serves(versions: ModelVersions) -> None:
    versions.path(2).unlink()
    assert (versions.numbers(), versions.newest().number) == ([1], 1)


@pytest.mark.parametrize("data", [b"", b"no model"])
def test_a_damaged_one_is_told_of_and_the_one_before_serves(
    versions: ModelVersions, data: bytes
) -> None:
    versions.path(2).write_bytes(data)
    newest = versions.newest()
    assert newest.number == 1
    (problem,) = newest.problems
    assert "v0002.safetensors" in problem


def test_one_for_other_features_is_passed_over(versions: ModelVersions) -> None:
    names = [f"f{i}" for i in range(5)]
    save(versions.path(3), Model(random_network(np.random.default_rng(0), 5), tuple(names)))
    assert versions.newest().number == 2


def test_a_version_is_never_changed(versions: ModelVersions) -> None:
    with pytest.raises(AssertionError, match="never change"):
        versions.add(2, a_network(9), {})


def test_other_files_are_no_versions(versions: ModelVersions) -> None:
    for name in ("v3.safetensors", "notes.md", "v0009.safetensors.bak", ".v0009.safetensors-1-2"):
        (versions.path(1).parent / name).touch()
    assert versions.numbers() == [1, 2]
