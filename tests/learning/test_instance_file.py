"""An instance's file: what is written is what is read, and what is none is one clear error."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from dask_mlsched.core.chooser import Settings
from dask_mlsched.learning import instance_file
from dask_mlsched.learning.instance import Instance, InstanceError
from dask_mlsched.learning.instance_file import InstanceFileError
from learning.instances import NEAREST
from learning.recorded_runs import calibration


def an_instance(tiles: int = 4) -> Instance:
    run = calibration(tiles)
    return Instance.recorded("a run", "mine", run.taken.dag, run.machine, run.settings)


def test_an_instance_is_read_as_it_was_written(tmp_path: Path) -> None:
    made, path = an_instance(), tmp_path / "i"
    instance_file.save(path, made)
    got = instance_file.load(path)
    assert (got.name, got.family, got.machine, got.settings) == (
        *(made.name, made.family),
        *(made.machine, made.settings),
    )
    assert (got.stock_makespan, got.stock_bytes) == (made.stock_makespan, made.stock_bytes)
    assert got.dag.keys == made.dag.keys
    for name in ("sources", "starts", "nbytes", "seconds", "wanted", "given", "prefix"):
        np.testing.assert_array_equal(getattr(got.dag, name), getattr(made.dag, name))
    assert got.run(NEAREST) == made.run(NEAREST)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": "other"}, "is of 'other', version 1"),
        ({"version": 2}, "version 2; expected 'mlsched-instance', version 1"),
        ({"stock_bytes": 0}, "moved 0 bytes"),
        ({"stock_bytes": float("inf")}, "OverflowError"),
        ({"stock_makespan": float("nan")}, "took nan s"),
        ({"machine": {}}, "KeyError"),
        ({"settings": None}, "AttributeError"),
        ({"graph": {"format": "mlsched-graph", "version": 1, "tasks": []}}, "at least one task"),
    ],
)
def test_what_is_no_instance_is_one_clear_error(
    tmp_path: Path, change: dict[str, object], message: str
) -> None:
    path = tmp_path / "i"
    instance_file.save(path, an_instance())
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(InstanceFileError, match=message) as caught:
        instance_file.load(path)
    assert "\n" not in str(caught.value)


def test_settings_that_came_or_went_since_it_was_written_do_not_matter(tmp_path: Path) -> None:
    path = tmp_path / "i"
    instance_file.save(path, an_instance())
    document = json.loads(path.read_text())
    settings = {**document["settings"], "seed": 7, "from_the_future": 5}
    del settings["hold_limit"]
    path.write_text(json.dumps({**document, "settings": settings}))
    found = instance_file.load(path).settings
    assert (found.seed, found.hold_limit) == (7, Settings().hold_limit)


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"\xff\xfe", b"[" * 100_000])
def test_what_is_no_json_is_one_clear_error(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "i").write_bytes(data)
    with pytest.raises(InstanceFileError, match="holds no instance"):
        instance_file.load(tmp_path / "i")
    with pytest.raises(InstanceFileError, match="cannot be read"):
        instance_file.load(tmp_path / "none")


def test_a_recorded_run_in_which_nothing_moves_is_no_instance() -> None:
    run = calibration()
    roomy = replace(run.machine, limit=10**9)
    with pytest.raises(InstanceError, match="have to be moved; expected more"):
        Instance.recorded("x", "y", run.taken.dag, roomy, run.settings)
