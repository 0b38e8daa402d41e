"""The spool: whole files in the order of time, and never more than so many."""

from __future__ import annotations

from pathlib import Path

import pytest

from dask_mlsched.core.training_message import LIBRARY, RUNS
from dask_mlsched.extension.spool import Spool


def written(folder: Path) -> list[bytes]:
    return [path.read_bytes() for path in sorted((folder / RUNS).iterdir())]


def test_runs_lie_in_the_order_in_which_they_came(tmp_path: Path) -> None:
    spool = Spool(str(tmp_path / "new"))
    runs = [str(number).encode() for number in range(20)]
    assert [spool.add(run) for run in runs] == [0] * 20
    assert written(tmp_path / "new") == runs


def test_for_one_too_many_the_oldest_goes(tmp_path: Path) -> None:
    spool = Spool(str(tmp_path), most=3)
    assert [spool.add(str(number).encode()) for number in range(5)] == [0, 0, 0, 1, 1]
    assert written(tmp_path) == [b"2", b"3", b"4"]
    assert Spool(str(tmp_path), most=1).add(b"5") == 3


def test_what_waits_and_what_was_learned_is_found(tmp_path: Path) -> None:
    for folder in (RUNS, LIBRARY):
        where = tmp_path / folder
        spool = Spool(str(where))
        assert not spool.anything()
        (where / folder).mkdir(parents=True)
        assert not spool.anything()
        (where / folder / "something").touch()
        assert spool.anything()


def test_a_folder_that_cannot_be_made_is_an_error_and_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="file"):
        Spool(str(tmp_path / "file")).add(b"run")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
