"""The disk of a store's host tier, for tests: it fails while it is told to."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from dask_mlsched.extension.host_tier import HostTier


class FlakyDisk:
    """Stands between a host tier and its files."""

    def __init__(self, host: HostTier) -> None:
        #: What is begun to be written is then left half-way, as where a disk is full.
        self.unwritable = False
        self.unreadable = False
        disk: Any = host._disk
        self._files = disk.d
        disk.d = self

    def __setitem__(self, key: Any, value: Any) -> None:
        if self.unwritable:
            path = Path(self._files.directory) / self._files._safe_key(key)
            path.write_bytes(b"some")
            raise OSError(28, "disk full, on purpose")
        self._files[key] = value

    def __getitem__(self, key: Any) -> Any:
        if self.unreadable:
            raise OSError(5, "unreadable, on purpose")
        return self._files[key]

    def __delitem__(self, key: Any) -> None:
        del self._files[key]

    def __contains__(self, key: object) -> bool:
        return key in self._files

    def __iter__(self) -> Any:
        return iter(self._files)

    def __len__(self) -> int:
        return len(self._files)
