"""A model file gives back what was saved, and says what is wrong with one that does not."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given, settings
from hypothesis import strategies as st

from core.networks import random_network
from dask_mlsched.core.network import Network, linear
from dask_mlsched.learning import model_file, whole_file
from dask_mlsched.learning.model_file import Model, ModelFileError, load, save

NAMES = ("missing bytes", "age", "rank")


@pytest.fixture
def model() -> Model:
    network = random_network(np.random.default_rng(0), 3, (5, 4))
    return Model(network, NAMES, {"family": "product", "note": "größer\nals"})


@pytest.fixture
def path(tmp_path: Path, model: Model) -> Path:
    path = tmp_path / "model.safetensors"
    save(path, model)
    return path


def same(a: Network, b: Network) -> bool:
    return all(np.array_equal(x, y) and x.dtype == y.dtype for x, y in zip(a, b, strict=True))


def rewrite(path: Path, *, without: str = "", arrays: Any = (), **metadata: Any) -> None:
    """Write the file again with other arrays and other metadata, which None takes out."""
    data = path.read_bytes()
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])["__metadata__"]
    merged = {k: v for k, v in (header | metadata).items() if v is not None}
    tensors = safetensors.numpy.load(data) | dict(arrays)
    tensors.pop(without, None)
    path.write_bytes(safetensors.numpy.save(tensors, merged))


def complaint(path: Path, names: Any = None) -> str:
    with pytest.raises(ModelFileError) as error:
        load(path, names)
    message = str(error.value)
    assert "\n" not in message
    assert repr(str(path)) in message
    assert "; expected " in message
    return message


def test_what_is_saved_is_loaded(path: Path, model: Model):
    found = load(path, NAMES)
    assert same(found.network, model.network)
    assert (found.names, found.card) == (model.names, model.card)


def test_a_linear_score_can_be_saved(tmp_path: Path):
    save(tmp_path / "m", Model(linear([1.0, 2.0]), ("a", "b")))
    assert load(tmp_path / "m").network.skip.tolist() == [1.0, 2.0]


def test_what_is_loaded_can_be_served_and_written_to(path: Path):
    for array in load(path).network:
        assert array.flags.c_contiguous
        assert array.flags.aligned
        assert array.flags.writeable


def test_torch_is_not_needed(path: Path):
    code = (
        "import sys; from pathlib import Path; from dask_mlsched.learning.model_file import load; "
        "load(Path(sys.argv[1])); sys.exit('torch' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code, str(path)], check=True, timeout=60)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"format": None}, ["format None", "'mlsched-model'"]),
        ({"format": "other"}, ["format 'other'", "'mlsched-model'"]),
        ({"version": "2"}, ["version '2'", "expected 1", "use a dask_mlsched"]),
        ({"features": None}, ["features", "None", "JSON"]),
        ({"features": "["}, ["features", "'['", "JSON"]),
        ({"features": "[1, 2, 3]"}, ["features", "[1, 2, 3]", "a list of names"]),
        ({"features": '["a"]'}, ["array mean", "(3,)", "(1,)"]),
        ({"hidden": "[5]"}, ["hidden", "[5]", "two numbers"]),
        ({"hidden": "[5, -4]"}, ["hidden", "-4", "0 or more"]),
        ({"hidden": "[true, 4]"}, ["hidden", "True", "numbers"]),
        ({"hidden": "[5, 5]"}, ["array w2", "(5, 4)", "(5, 5)"]),
        ({"card": "[]"}, ["card", "[]", "texts under texts"]),
        ({"card": '{"a": 1}'}, ["card", "texts under texts"]),
        ({"without": "w2"}, ["missing or too many: w2"]),
        ({"arrays": [("w4", np.zeros(1, np.float32))]}, ["missing or too many: w4"]),
        ({"arrays": [("b1", np.zeros(5))]}, ["array b1", "F64", "F32 (5,)"]),
        ({"arrays": [("b1", np.full(5, np.nan, np.float32))]}, ["b1 holds nan", "finite"]),
        ({"arrays": [("scale", np.zeros(3, np.float32))]}, ["scale holds 0.0", "above 0"]),
    ],
    ids=str,
)
def test_every_problem_is_one_line_with_the_cure(path: Path, change: Any, words: list[str]):
    rewrite(path, **change)
    message = complaint(path)
    assert [word for word in words if word not in message] == []


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (("missing bytes", "rank", "age"), "feature 1 is age, not rank"),
        (("missing bytes", "age"), "3 features, not 2"),
    ],
)
def test_other_features_are_refused(path: Path, names: tuple[str, ...], words: str):
    assert words in complaint(path, names)


@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_a_damaged_file_is_refused_or_is_a_model(tmp_path_factory, data: st.DataObject):
    path = tmp_path_factory.mktemp("model") / "m"
    save(path, Model(random_network(np.random.default_rng(0), 3, (5, 4)), NAMES, {}))
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(content[: data.draw(st.integers(0, len(content)))])
    with contextlib.suppress(ModelFileError):
        assert all(np.isfinite(array).all() for array in load(path).network)


def test_a_file_that_is_not_there_is_one_line(tmp_path: Path):
    assert "No such file" in complaint(tmp_path / "none")
    assert "Is a directory" in complaint(tmp_path)


def test_a_file_that_is_too_large_is_not_read(tmp_path: Path):
    path = tmp_path / "large"
    with path.open("wb") as file:
        file.truncate(10**12)
    assert "1000000000000 bytes; expected 16000000 at most" in complaint(path)


def test_what_could_not_be_loaded_is_not_saved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = tmp_path / "m"
    network = linear([1.0, 2.0])
    for model, words in [
        (Model(network, ("a",)), "1 names of features; expected the 2"),
        (Model(network, ("a", "b"), {"n": 1}), "texts under texts"),
        (Model(network._replace(b3=np.full(2, np.inf, np.float32)), ("a", "b")), "b3 holds inf"),
    ]:
        with pytest.raises(ModelFileError, match=words):
            save(path, model)
    monkeypatch.setattr(model_file, "SIZE_LIMIT", 100)
    with pytest.raises(ModelFileError, match="expected 100 at most"):
        save(path, Model(network, ("a", "b")))
    assert list(tmp_path.iterdir()) == []


def test_a_failed_write_leaves_the_file_as_it_was(
    path: Path, model: Model, monkeypatch: pytest.MonkeyPatch
):
    before = path.read_bytes()

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        save(path, Model(model.network, NAMES, {"other": "card"}))
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


def test_a_file_is_on_disk_before_it_has_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = tmp_path / "file"
    seen = []
    fsync = os.fsync
    monkeypatch.setattr(os, "fsync", lambda fd: (seen.append(path.exists()), fsync(fd)))
    whole_file.write_whole(path, b"data")
    # First the bytes, then the folder with the new name.
    assert seen == [False, True]
    assert path.read_bytes() == b"data"
