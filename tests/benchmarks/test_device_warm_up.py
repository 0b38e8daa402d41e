from __future__ import annotations

import sys

import pytest

from dask_mlsched.benchmarks.device_warm_up import warm_up


@pytest.mark.parametrize("library", ["numpy", "stand_in_device"])
def test_only_cupy_is_warmed_up(library, monkeypatch):
    monkeypatch.setitem(sys.modules, "cupy", None)
    warm_up(library)


def test_cupy_is_needed_to_warm_it_up(monkeypatch):
    monkeypatch.setitem(sys.modules, "cupy", None)
    with pytest.raises(ImportError):
        warm_up("cupy")
