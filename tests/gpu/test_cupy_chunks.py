"""Chunks of CuPy and cupyx on a GPU: counted, kept on the device, spilled by both stores, sent."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse
from dask.sizeof import sizeof
from distributed.protocol import deserialize, serialize

from dask_mlsched.benchmarks.device_arrays import to_device, to_host
from dask_mlsched.extension import sparse
from dask_mlsched.extension.device_store import DeviceStore

FORMATS = ("csr_matrix", "csc_matrix", "coo_matrix", "csr_array", "csc_array", "coo_array")


def make(kind: str) -> Any:
    """Make a chunk of about 100 kB on the device."""
    import cupyx.scipy.sparse

    if kind in {"float32", "float64"}:
        return to_device(np.arange(100_000 // np.dtype(kind).itemsize, dtype=kind), "cupy")
    if kind == "list":
        return [make("float32"), make("csr_matrix")]
    if kind == "dict":
        return {"a": (1, make("float64"))}
    if not hasattr(cupyx.scipy.sparse, kind):
        pytest.skip(f"this CuPy has no {kind}")
    host = scipy.sparse.random(500, 500, density=0.03, format=kind[:3], rng=0)
    return getattr(cupyx.scipy.sparse, kind)(host)


KINDS = ("float32", "float64", *FORMATS, "list", "dict")


def flat(value: Any) -> list[np.ndarray[Any, Any]]:
    """Copy to the host and take apart, to compare."""
    if isinstance(value, dict):
        return [array for member in value.values() for array in flat(member)]
    if isinstance(value, list | tuple):
        return [array for member in value for array in flat(member)]
    host = to_host(value)
    return [np.asarray(host.todense() if scipy.sparse.issparse(host) else host)]


def assert_equal(value: Any, expected: Any) -> None:
    assert type(value) is type(expected)
    for one, other in zip(flat(value), flat(expected), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.fixture(autouse=True)
def registered() -> Iterator[None]:
    import dask_cuda.is_device_object  # noqa: F401  as in its workers, before the plugin

    sparse.register()
    yield
    sparse.unregister()


@pytest.mark.parametrize("kind", KINDS)
def test_chunks_are_device_objects_of_their_full_size(kind: str) -> None:
    from dask_cuda.is_device_object import is_device_object

    chunk = make(kind)
    assert is_device_object(chunk) is True
    assert sizeof(chunk) > 80_000


@pytest.mark.parametrize("family", ["cuda", "dask"])
@pytest.mark.parametrize("kind", KINDS)
def test_chunks_survive_being_sent(kind: str, family: str) -> None:
    chunk = make(kind)
    frames = serialize(chunk, serializers=(family, "pickle"), on_error="raise")
    assert_equal(deserialize(*frames), chunk)


@pytest.mark.parametrize("kind", KINDS)
def test_the_store_of_dask_cuda_spills_and_brings_back(kind: str, tmp_path: Path) -> None:
    from dask_cuda.device_host_file import DeviceHostFile

    chunks = {f"x-{n}": make(kind) for n in range(4)}
    limit = 2 * sizeof(chunks["x-0"]) + 1000
    store = DeviceHostFile(str(tmp_path), device_memory_limit=limit, memory_limit=None)
    store.update(chunks)
    assert len(store.device) == 2
    for key, chunk in chunks.items():
        assert_equal(store[key], chunk)


@pytest.mark.parametrize("kind", KINDS)
def test_our_own_store_spills_and_brings_back(kind: str) -> None:
    chunks = {f"x-{n}": make(kind) for n in range(4)}
    limit = 2 * sizeof(chunks["x-0"]) + 1000
    store = DeviceStore(device_memory_limit=limit, device="cuda", loads_ahead=False)
    store.update(chunks)
    assert len(store.resident()) == 2
    for key, chunk in chunks.items():
        assert_equal(store[key], chunk)
    assert store.statistics.loads >= 2
