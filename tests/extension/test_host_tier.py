from __future__ import annotations

import gc
import logging
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse

from dask_mlsched.extension import host_tier
from dask_mlsched.extension.host_tier import HostTier
from fake_device import Gate, Unserializable
from store_books import check_host, files_of

#: Of each object below; three fit.
NBYTES = 800
LIMIT = 3 * NBYTES


def array(fill: float) -> np.ndarray:
    return np.full(NBYTES // 8, fill)


@pytest.fixture
def tier(tmp_path: Path) -> Iterator[HostTier]:
    tier = HostTier(LIMIT, str(tmp_path))
    yield tier
    check_host(tier)


@pytest.fixture
def full(tier: HostTier) -> HostTier:
    for number in range(3):
        tier.put(number, array(number))
    return tier


class Disk:
    """Stands in for the files' write: fails, or waits half-way."""

    def __init__(self, tier: HostTier, monkeypatch: pytest.MonkeyPatch) -> None:
        self.error: Exception | None = None
        self.gate: Gate | None = None
        self.tried = 0
        disk: Any = tier._disk
        self._write = disk.d.__class__.__setitem__
        monkeypatch.setattr(disk.d.__class__, "__setitem__", self)

    def __get__(self, files: Any, owner: type) -> Any:
        def write(key: Any, value: Any) -> None:
            self.tried += 1
            if self.error is not None:
                # As of a disk that is full: some of the file is there.
                (Path(files.directory) / files._safe_key(key)).write_bytes(b"some")
                raise self.error
            if self.gate is not None:
                self.gate.pass_through()
            self._write(files, key, value)

        return write


@pytest.fixture
def disk(tier: HostTier, monkeypatch: pytest.MonkeyPatch) -> Disk:
    return Disk(tier, monkeypatch)


def test_within_the_limit_all_stays_in_memory_as_it_is(tier: HostTier):
    value = array(1)
    tier.put(0, value)
    assert tier.get(0) is value
    assert tier.memory_bytes == NBYTES
    assert tier.in_memory(0)
    assert tier.numbers() == {0}
    assert tier.on_disk() == set()


def test_beyond_it_what_was_used_longest_ago_goes_to_disk(full: HostTier):
    full.get(0)
    full.put(3, array(3))
    assert full.on_disk() == {1}
    assert not full.in_memory(1)
    assert full.numbers() == {0, 1, 2, 3}
    assert full.memory_bytes == LIMIT


def test_what_is_on_disk_comes_back_and_stays_there(full: HostTier):
    full.put(3, array(3))
    for _ in range(2):
        np.testing.assert_array_equal(full.get(0), 0)
        assert full.on_disk() == {0}


@pytest.mark.parametrize(
    "value",
    ["text" * 1000, [array(1), "text"], {"a": array(2)}, None, scipy.sparse.eye_array(500)],
    ids=["text", "list", "dict", "none", "sparse"],
)
def test_whatever_distributed_can_send_can_go_to_disk(tmp_path: Path, value: Any):
    tier = HostTier(1, str(tmp_path))
    tier.put(0, value)
    assert tier.on_disk() == {0}
    back = tier.get(0)
    if scipy.sparse.issparse(value):
        assert (back != value).nnz == 0
    else:
        np.testing.assert_equal(back, value)


def test_what_is_larger_than_the_limit_goes_to_disk_and_pushes_nobody_out(full: HostTier):
    full.put(3, np.zeros(LIMIT))
    assert full.on_disk() == {3}


def test_room_is_what_is_left_in_memory(full: HostTier):
    assert not full.has_room(1)
    full.discard(1)
    assert full.has_room(NBYTES)
    assert not full.has_room(NBYTES + 1)


def test_without_a_limit_there_is_room_for_all_and_no_folder(tmp_path: Path):
    tier = HostTier(None, str(tmp_path))
    for number in range(10):
        tier.put(number, array(number))
    assert tier.has_room(2**60)
    assert tier.on_disk() == set()
    assert list(tmp_path.iterdir()) == []


def test_discarding_works_in_every_place_and_without_reading(
    full: HostTier, monkeypatch: pytest.MonkeyPatch
):
    full.put(3, array(3))

    def unread(_: object) -> None:
        raise AssertionError("a file was read to be removed")

    assert full._disk is not None
    with monkeypatch.context() as patch:
        patch.setattr(full._disk, "load", unread)
        for number in (0, 3, 99):
            full.discard(number)
    for number in (0, 3, 99):
        with pytest.raises(KeyError):
            full.get(number)
    assert full.numbers() == {1, 2}
    assert files_of(full) == []


def test_a_file_that_somebody_has_removed_can_be_discarded(full: HostTier):
    full.put(3, array(3))
    (file,) = files_of(full)
    file.unlink()
    with pytest.raises(FileNotFoundError):
        full.get(0)
    full.discard(0)
    assert full.numbers() == {1, 2, 3}


@pytest.mark.parametrize("error", [OSError(28, "disk full"), MemoryError()], ids=["disk", "memory"])
def test_a_disk_that_fails_loses_nothing_and_is_told_of_once(
    full: HostTier, disk: Disk, caplog: pytest.LogCaptureFixture, error: Exception
):
    disk.error = error
    with caplog.at_level(logging.WARNING, host_tier.__name__):
        for number in (3, 4):
            full.put(number, array(number))
    assert full.disk_failures == disk.tried == 2
    (record,) = caplog.records
    assert "make room there, or raise host_memory_limit" in record.getMessage()
    assert full.on_disk() == set()
    assert full.memory_bytes == 5 * NBYTES
    for number in range(5):
        np.testing.assert_array_equal(full.get(number), number)
    # When it works again, all goes there that should.
    disk.error = None
    full.put(5, array(5))
    assert full.on_disk() == {0, 1, 2}


def test_what_cannot_be_serialized_stays_and_keeps_nobody_else(tier: HostTier):
    refusing = array(0).view(Unserializable)
    tier.put(0, refusing)
    for number in range(1, 6):
        tier.put(number, array(number))
    assert tier.get(0) is refusing
    assert tier.in_memory(0)
    assert tier.on_disk() == {1, 2, 3}
    assert tier.memory_bytes == LIMIT
    # It was tried once: each attempt may cost as much as serializing all of it.
    assert tier.disk_failures == 1
    tier.discard(0)
    assert tier.memory_bytes == 2 * NBYTES
    assert tier.numbers() == {1, 2, 3, 4, 5}


def test_where_nothing_can_be_serialized_all_stays(tmp_path: Path):
    tier = HostTier(NBYTES, str(tmp_path))
    for number in range(3):
        tier.put(number, array(number).view(Unserializable))
    assert tier.disk_failures == 3
    assert tier.memory_bytes == 3 * NBYTES
    check_host(tier)


@pytest.mark.parametrize("refusing", [False, True])
def test_what_is_discarded_while_it_is_written_leaves_nothing(
    full: HostTier, disk: Disk, monkeypatch: pytest.MonkeyPatch, refusing: bool
):
    gate = Gate()
    if refusing:

        def refuse(_: object) -> None:
            gate.pass_through()
            raise TypeError

        assert full._disk is not None
        monkeypatch.setattr(full._disk, "dump", refuse)
    else:
        disk.gate = gate
    thread = threading.Thread(target=full.put, args=(3, array(3)))
    thread.start()
    gate.begun()
    np.testing.assert_array_equal(full.get(0), 0)  # it is there until it is written
    full.discard(0)
    gate.let_go()
    thread.join()
    assert full.numbers() == {1, 2, 3}
    assert files_of(full) == []


def test_one_who_reads_does_not_wait_for_one_who_writes(full: HostTier, disk: Disk):
    disk.gate = Gate()
    thread = threading.Thread(target=full.put, args=(3, array(3)))
    thread.start()
    disk.gate.begun()
    for number in range(4):
        np.testing.assert_array_equal(full.get(number), number)
    full.discard(2)
    disk.gate.let_go()
    thread.join()
    assert full.numbers() == {0, 1, 3}


def test_the_folder_goes_with_the_tier(tmp_path: Path):
    tier = HostTier(1, str(tmp_path))
    tier.put(0, array(0))
    (folder,) = tmp_path.iterdir()
    assert len(list(folder.iterdir())) == 1
    del tier
    gc.collect()
    assert list(tmp_path.iterdir()) == []
