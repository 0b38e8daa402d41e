"""CuPy's own classes, which can be had without a GPU: what registries make of them.

Arrays cannot be made there. A sparse one without its constructor, with buffers of numpy, is enough
to be told from others and to be counted.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from dask.sizeof import sizeof

from dask_mlsched.extension import sparse
from dask_mlsched.extension.devices.cuda import CudaDevice

pytestmark = pytest.mark.dask_cuda  # the environment that has CuPy, too

pytest.importorskip("cupy", reason="CuPy is not installed")
classes: Any = pytest.importorskip("cupyx.scipy.sparse", reason="CuPy is not installed")

NAMES = [
    f"{layout}_{kind}"
    for layout in ("csr", "csc", "coo", "dia")
    for kind in ("matrix", "array")
    if hasattr(classes, f"{layout}_{kind}")
]


def without_device(name: str, count: int) -> Any:
    """Make a sparse array of 12 bytes an entry."""
    array = object.__new__(getattr(classes, name))
    array.data, array.indices = np.ones(count), np.ones(count, np.int32)
    array._shape = (count, count)
    return array


@pytest.fixture
def registered() -> Any:
    sparse.register()
    yield
    sparse.unregister()


@pytest.mark.parametrize("name", NAMES)
def test_sparse_arrays_and_collections_of_them_count_in_full(registered: None, name):
    arrays = [without_device(name, count) for count in (1000, *[1] * 20)]
    assert sizeof(arrays[0]) == 12_000
    for collection in (arrays, tuple(arrays), {"a": arrays}, dict(enumerate(arrays))):
        assert 12_240 <= sizeof(collection) < 14_500


@pytest.mark.parametrize("name", NAMES)
def test_dask_cuda_keeps_them_on_the_device(registered: None, name):
    module = pytest.importorskip("dask_cuda.is_device_object", reason="dask-cuda is not installed")
    sparse.register()
    x, is_device_object = without_device(name, 3), module.is_device_object
    for value in (x, [1, x], (x,), {"a": x}, {"a": [(1, x)]}):
        assert is_device_object(value) is True
    for value in (1, [1], {"a": (1,)}, np.ones(1)):
        assert is_device_object(value) is False


@pytest.mark.parametrize("name", NAMES)
def test_our_own_store_keeps_them_on_the_device(name):
    x = without_device(name, 3)
    owns = CudaDevice.owns
    device: Any = object.__new__(CudaDevice)
    for value in (x, [1, x], (x,), {"a": x}, {"a": [(1, x)]}):
        assert owns(device, value)
    assert not owns(device, {"a": (1, np.ones(1))})
