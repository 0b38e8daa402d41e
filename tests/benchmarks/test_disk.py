from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from dask_mlsched.benchmarks import disk
from dask_mlsched.benchmarks.disk import DiskError, file_system, require_disk

MOUNTS = """\
/dev/root / ext4 rw 0 0
tmpfs /run tmpfs rw 0 0
/dev/b /run/media/big\\040disk xfs rw 0 0
none /over tmpfs rw 0 0
/dev/c /over btrfs rw 0 0
"""


@pytest.fixture
def mounts(tmp_path: Path) -> Path:
    path = tmp_path / "mounts"
    path.write_text(MOUNTS)
    return path


@pytest.mark.parametrize(
    ("folder", "kind"),
    [
        ("/", "ext4"),
        ("/var/spool", "ext4"),
        ("/run/lock", "tmpfs"),
        ("/running", "ext4"),
        ("/run/media/big disk/x", "xfs"),
        ("/over/x", "btrfs"),
    ],
)
def test_a_folder_is_on_the_last_and_deepest_mount_above_it(mounts, folder, kind):
    assert file_system(Path(folder), mounts) == kind


def test_without_a_list_of_mounts_the_kind_is_unknown(tmp_path: Path):
    assert file_system(tmp_path, tmp_path / "none") is None


@pytest.fixture
def on_ext4(monkeypatch) -> None:
    monkeypatch.setattr(disk, "file_system", lambda folder: "ext4")


def test_a_folder_with_room_will_do(tmp_path: Path, on_ext4):
    require_disk(tmp_path, 1000)


def test_temporary_files_go_where_they_always_do(monkeypatch, tmp_path: Path, on_ext4):
    monkeypatch.setattr(disk.tempfile, "gettempdir", lambda: str(tmp_path / "gone"))
    with pytest.raises(DiskError, match="gone' is no folder"):
        require_disk(None, 1000)


def test_files_in_memory_are_no_disk(monkeypatch, tmp_path: Path):
    monkeypatch.setattr(disk, "file_system", lambda folder: "tmpfs")
    with pytest.raises(DiskError, match=r"in memory \(tmpfs\); name a folder on a disk") as info:
        require_disk(tmp_path, 1000)
    assert "\n" not in str(info.value)


def test_twice_the_bytes_must_be_free(monkeypatch, tmp_path: Path, on_ext4):
    monkeypatch.setattr(disk.shutil, "disk_usage", lambda folder: SimpleNamespace(free=2000))
    require_disk(tmp_path, 1000)
    with pytest.raises(DiskError, match=r"2,000 bytes free, and 2,002 are needed"):
        require_disk(tmp_path, 1001)


def test_a_file_is_no_folder(tmp_path: Path, on_ext4):
    path = tmp_path / "file"
    path.touch()
    with pytest.raises(DiskError, match="is no folder that can be written to"):
        require_disk(path, 0)
