"""What all tests on a GPU need; where there is none, they are skipped and say so."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest

from dask_mlsched.benchmarks.device_arrays import CUPY, MissingDeviceError, require_device
from dask_mlsched.benchmarks.optional import MissingDependencyError

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark every test of this folder, and skip it without a GPU."""
    ours = [item for item in items if item.path.is_relative_to(HERE)]
    if not ours:
        return
    with warnings.catch_warnings():
        warnings.simplefilter("default")  # CuPy warns of what it does not find at once
        reason = _missing()
    for item in ours:
        item.add_marker(pytest.mark.gpu)
        # dask-cuda's processes end without closing their sockets.
        item.add_marker(pytest.mark.filterwarnings("default"))
        if reason is not None:
            item.add_marker(pytest.mark.skip(reason=reason))


def _missing() -> str | None:
    try:
        require_device(CUPY)
        import dask_cuda  # noqa: F401
    except (MissingDependencyError, MissingDeviceError) as error:
        return str(error)
    except ImportError as error:
        return f"dask_cuda cannot be imported: {error}"
    return None
