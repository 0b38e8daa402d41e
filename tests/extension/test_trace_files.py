"""Where traces go: files that are all there or not, and files of which every byte stays."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest

from dask_mlsched.extension.trace_files import SUFFIX, FileStore, MemoryStore, write_at_once


@pytest.mark.parametrize("kind", ["memory", "file"])
def test_what_was_written_can_be_read_before_and_after_closing(kind: str, tmp_path: Path):
    store = MemoryStore() if kind == "memory" else FileStore(str(tmp_path))
    store.write(b"one ")
    store.write(b"two")
    assert store.read() == b"one two"
    store.close()
    assert store.read() == b"one two"


def test_a_file_is_made_with_its_directory_and_named_by_time(tmp_path: Path):
    store = FileStore(str(tmp_path / "a" / "b"))
    store.close()
    assert list((tmp_path / "a" / "b").iterdir()) == [store.path]
    assert store.where == str(store.path)
    assert store.path.name.startswith("20")
    assert store.path.name.endswith(SUFFIX)


def test_each_file_has_a_name_of_its_own(tmp_path: Path):
    stores = [FileStore(str(tmp_path)) for _ in range(3)]
    for store in stores:
        store.close()
    assert len(set(tmp_path.iterdir())) == 3


def test_a_home_directory_is_understood(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    store = FileStore("~/traces")
    store.close()
    assert store.path.parent == tmp_path / "traces"


def test_a_file_is_written_without_waiting_for_its_end(tmp_path: Path):
    store = FileStore(str(tmp_path))
    store.write(b"now")
    assert store.path.read_bytes() == b"now"
    store.close()


class Filling:
    """A file on a disk that becomes full after some bytes."""

    def __init__(self, file: Any, room: int) -> None:
        self._file = file
        self._room = room

    def write(self, data: memoryview) -> int:
        if not self._room:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        written: int = self._file.write(data[: self._room])
        self._room -= written
        return written

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


def test_of_what_does_not_fit_nothing_stays(tmp_path: Path):
    store = FileStore(str(tmp_path))
    store._file = Filling(store._file, room=10)  # type: ignore[assignment]
    store.write(b"123456")
    with pytest.raises(OSError, match="No space left"):
        store.write(b"abcdef")
    assert store.read() == b"123456"
    store._file._room = 100  # type: ignore[attr-defined]
    store.write(b"7")
    assert store.read() == b"1234567"
    store.close()


def test_a_short_write_goes_on_where_it_stopped(tmp_path: Path):
    store = FileStore(str(tmp_path))

    class Short(Filling):
        def write(self, data: memoryview) -> int:
            written: int = self._file.write(data[:2])
            return written

    store._file = Short(store._file, room=0)  # type: ignore[assignment]
    store.write(b"abcde")
    assert store.read() == b"abcde"
    store.close()


# Files that appear at once


def test_a_file_replaces_another_and_leaves_nothing_beside_it(tmp_path: Path):
    path = tmp_path / "run"
    path.write_bytes(b"old")
    write_at_once(path, b"new")
    assert path.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [path]


def test_others_may_read_it_as_any_other_file(tmp_path: Path):
    write_at_once(tmp_path / "run", b"")
    (tmp_path / "other").touch()
    modes = {path.stat().st_mode for path in tmp_path.iterdir()}
    assert len(modes) == 1


@pytest.mark.parametrize("fails", ["fsync", "replace"])
def test_if_it_cannot_be_written_what_was_there_stays(
    fails: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    path = tmp_path / "run"
    path.write_bytes(b"old")

    def fail(*_: Any) -> None:
        raise OSError(errno.EIO, "meant to fail")

    monkeypatch.setattr(*{"fsync": (os, "fsync"), "replace": (Path, "replace")}[fails], fail)
    with pytest.raises(OSError, match="meant to fail"):
        write_at_once(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_that_is_not_there_is_named(tmp_path: Path):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        write_at_once(tmp_path / "nowhere" / "run", b"")
