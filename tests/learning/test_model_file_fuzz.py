"""Files that are no models, or pretend to be: refused, at once, and nothing of them is run."""

from __future__ import annotations

import contextlib
import io
import json
import os
import pickle
import resource
import socket
import time
import tracemalloc
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dask_mlsched.core import features
from dask_mlsched.learning import model_file
from dask_mlsched.learning.library import Library
from dask_mlsched.learning.model_file import Model, ModelFileError, load, save
from dask_mlsched.learning.model_ref import LibraryError
from learning.libraries import small_network, version

REF = "gemm/v0001"


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Library:
    library = Library.open(tmp_path_factory.mktemp("fuzz") / "library")
    version(library)
    version(library)
    return library


@pytest.fixture
def path(library: Library) -> Iterator[Path]:
    """The model file of a version, which is put back after the test."""
    path = library.path / REF / "model.safetensors"
    data = path.read_bytes()
    yield path
    with contextlib.suppress(OSError):
        path.unlink()
    if path.is_dir():
        path.rmdir()
    path.write_bytes(data)


def refused(library: Library, path: Path) -> str:
    """Both readers say what is wrong, on one short line, and the other version is not touched."""
    with pytest.raises(ModelFileError) as first:
        load(path, features.NAMES)
    with pytest.raises(LibraryError) as second:
        library.network(REF)
    for error in (first, second):
        assert "\n" not in str(error.value)
        assert str(error.value).isprintable()
        assert len(str(error.value)) < 1500
    assert library.network("gemm/v0002") is not None
    (listed, other) = library.survey()
    assert (listed.problem is not None, other.problem) == (True, None)
    return str(first.value)


def whole(path: Path) -> None:
    """If it can be loaded at all, it is a network that can be served."""
    with contextlib.suppress(ModelFileError):
        assert all(np.isfinite(array).all() for array in load(path).network)


def split(data: bytes) -> tuple[dict[str, Any], bytes]:
    length = int.from_bytes(data[:8], "little")
    return json.loads(data[8 : 8 + length]), data[8 + length :]


def joined(header: dict[str, Any] | bytes, body: bytes) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + body


def test_a_file_that_was_cut_anywhere(library: Library, path: Path) -> None:
    data = path.read_bytes()
    for length in range(len(data)):
        path.write_bytes(data[:length])
        with pytest.raises(ModelFileError):
            load(path)
    refused(library, path)


def test_a_file_with_more_behind_it(library: Library, path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"\0")
    refused(library, path)


@given(data=st.binary(max_size=300), header=st.booleans())
@settings(
    max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_random_bytes(library: Library, path: Path, data: bytes, header: bool) -> None:
    path.write_bytes(joined(data, b"") if header else data)
    with pytest.raises(ModelFileError):
        load(path)


@given(
    changes=st.lists(st.tuples(st.integers(0, 10**6), st.integers(1, 255)), min_size=1, max_size=5)
)
@settings(
    max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_flipped_bytes(library: Library, path: Path, changes: list[tuple[int, int]]) -> None:
    original = path.read_bytes()
    data = bytearray(original)
    for place, flip in changes:
        data[place % len(data)] ^= flip
    path.write_bytes(data)
    try:
        whole(path)
        # The card knows its network by every bit: one that is changed is not taken for it.
        _, before = split(original)
        if bytes(data[-len(before) :]) != before:
            with pytest.raises(LibraryError):
                library.network(REF)
    finally:
        path.write_bytes(original)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=6),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(data=st.data())
@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_headers_that_say_anything(library: Library, path: Path, data: st.DataObject) -> None:
    original = path.read_bytes()
    header, body = split(original)
    name = data.draw(st.sampled_from([*header, "__metadata__", "other"]))
    inner = header.get(name)
    value = data.draw(json_values)
    if isinstance(inner, dict) and data.draw(st.booleans()):
        key = data.draw(st.sampled_from(sorted(inner)))
        text = data.draw(st.booleans())
        header[name] = inner | {key: json.dumps(value) if text else value}
    else:
        header[name] = value
    path.write_bytes(joined(header, body))
    try:
        whole(path)
    finally:
        path.write_bytes(original)


def of_type(dtype: str, width: int) -> Callable[[bytes], bytes]:
    """Say that all arrays are of another type, and of as many bytes as that takes."""

    def change(data: bytes) -> bytes:
        header, _ = split(data)
        end = 0
        for name, entry in header.items():
            if name != "__metadata__":
                nbytes = int(np.prod(entry["shape"])) * width
                entry |= {"dtype": dtype, "data_offsets": [end, end + nbytes]}
                end += nbytes
        return joined(header, bytes(end))

    return change


def entry(**changes: Any) -> Callable[[bytes], bytes]:
    def change(data: bytes) -> bytes:
        header, body = split(data)
        header["skip"] |= changes
        return joined(header, body)

    return change


def transposed(data: bytes) -> bytes:
    header, body = split(data)
    header["w1"]["shape"].reverse()
    return joined(header, body)


def overlapping(data: bytes) -> bytes:
    header, body = split(data)
    header["skip"]["data_offsets"] = header["mean"]["data_offsets"]
    return joined(header, body)


def twice(data: bytes) -> bytes:
    header, body = split(data)
    text = json.dumps(header)
    return joined(f'{text[:-1]}, "skip": {json.dumps(header["skip"])}}}'.encode(), body)


def metadata(**changes: Any) -> Callable[[bytes], bytes]:
    def change(data: bytes) -> bytes:
        header, body = split(data)
        header["__metadata__"] |= changes
        return joined(header, body)

    return change


def many_arrays(data: bytes) -> bytes:
    none = {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]}
    return joined({f"{n}": none for n in range(200_000)}, b"")


def zipped(data: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps({"w1": [1.0]}))
    return file.getvalue()


DEEP = "[" * 400_000


@pytest.mark.parametrize(
    "change",
    [
        *(
            pytest.param(of_type(*each), id=each[0])
            for each in [
                ("F16", 2),
                ("BF16", 2),
                ("F64", 8),
                ("I8", 1),
                ("I32", 4),
                ("BOOL", 1),
                ("F8_E4M3", 1),
            ]
        ),
        pytest.param(transposed, id="transposed"),
        pytest.param(overlapping, id="overlapping"),
        pytest.param(many_arrays, id="many arrays"),
        pytest.param(zipped, id="zip"),
        pytest.param(lambda data: pickle.dumps({"w1": [1.0]}), id="pickle"),
        pytest.param(lambda data: b"", id="empty"),
        pytest.param(lambda data: (2**63).to_bytes(8, "little") + data[8:], id="huge header"),
        pytest.param(lambda data: b"\xff" * 8 + data[8:], id="hugest header"),
        pytest.param(lambda data: (99_000_000).to_bytes(8, "little") + data[8:], id="long header"),
        pytest.param(lambda data: joined(b" " * 15_000_000, b""), id="blank header"),
        pytest.param(lambda data: joined(DEEP.encode(), b""), id="deep header"),
        pytest.param(entry(shape=[2**62, 2**62]), id="overflow"),
        pytest.param(entry(shape=[10**30]), id="huger than numbers"),
        pytest.param(entry(shape=[2**40], data_offsets=[0, 2**42]), id="huge array"),
        pytest.param(entry(shape=[-1]), id="negative"),
        pytest.param(entry(data_offsets=[8, 4]), id="backwards"),
        pytest.param(entry(dtype="F99"), id="unknown type"),
        pytest.param(metadata(features=DEEP), id="deep features"),
        pytest.param(metadata(card=DEEP), id="deep card"),
        pytest.param(metadata(hidden="[1e999, 2]"), id="infinite hidden"),
        pytest.param(metadata(hidden=f"[{10**400}, 2]"), id="huge hidden"),
        pytest.param(metadata(hidden="[" + "9" * 5000 + ", 2]"), id="hugest hidden"),
        pytest.param(metadata(features='["\\ud800\\n\\u001b[2J"]'), id="odd names"),
        pytest.param(metadata(features=json.dumps(["x" * 500_000] * 1)), id="long names"),
        pytest.param(metadata(format="mlsched-model\n\x1b[2J"), id="odd format"),
    ],
)
def test_what_is_no_model(library: Library, path: Path, change: Callable[[bytes], bytes]) -> None:
    path.write_bytes(change(path.read_bytes()))
    tracemalloc.start()
    began, peak = time.monotonic(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    refused(library, path)
    assert time.monotonic() - began < 5
    assert tracemalloc.get_traced_memory()[1] < 100e6
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - peak < 300_000  # kilobytes
    tracemalloc.stop()


def test_an_array_that_is_there_twice_is_refused_or_harmless(library: Library, path: Path) -> None:
    original = path.read_bytes()
    path.write_bytes(twice(original))
    whole(path)
    with contextlib.suppress(LibraryError):
        assert library.network(REF) is not None


class Evil:
    """A pickle that would leave a trace."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.trace),)


def test_nothing_of_a_pickle_is_run(library: Library, path: Path, tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    evil = pickle.dumps(Evil(trace))
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("archive/data.pkl", evil)
    for data in (evil, archive.getvalue(), joined(evil, b""), path.read_bytes() + evil):
        path.write_bytes(data)
        refused(library, path)
    assert not trace.exists()
    pickle.loads(evil)
    assert trace.exists(), "it would have"


def test_what_is_no_file_is_not_waited_for(library: Library, path: Path) -> None:
    path.unlink()
    assert "No such file" in refused(library, path)
    os.mkfifo(path)
    assert "no regular file" in refused(library, path)
    path.unlink()
    with socket.socket(socket.AF_UNIX) as server, contextlib.chdir(path.parent):
        server.bind(path.name)
        refused(library, path)
    path.unlink()
    path.mkdir()
    assert "Is a directory" in refused(library, path)
    path.rmdir()
    for device in ("/dev/zero", "/dev/null"):
        path.symlink_to(device)
        assert "no regular file" in refused(library, path)
        path.unlink()
    path.symlink_to(path)
    refused(library, path)


def test_a_name_that_no_file_can_have() -> None:
    with pytest.raises(ModelFileError, match="cannot be read"):
        load(Path("a\0b"))


def test_a_header_that_would_not_be_read_is_not_written(tmp_path: Path) -> None:
    model = Model(small_network(), features.NAMES, {"note": "x" * 1_200_000})
    with pytest.raises(ModelFileError, match="header of 12"):
        save(tmp_path / "model", model)
    assert list(tmp_path.iterdir()) == []
    assert model_file.HEADER_LIMIT == 1_000_000
