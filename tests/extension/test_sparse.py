"""Sparse arrays are counted, spilled and sent, and nothing is imported for it."""

from __future__ import annotations

import subprocess
import sys
import tomllib
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse
import sparse
from dask.sizeof import sizeof
from dask.utils import Dispatch
from distributed.protocol import deserialize, serialize

from dask_mlsched.extension import sparse as our_sparse

ROOT = Path(__file__).parents[2]
ENTRY_POINT = "dask_mlsched.extension.sparse:register_sizeof"

#: The start of a script that sees our entry point, and no other, with the argument "with".
#: Dask looks with the standard library or, on older Pythons, with the package it came from.
WITH_OR_WITHOUT = f"""
import contextlib, importlib, sys
for name in ("importlib.metadata", "importlib_metadata"):
    with contextlib.suppress(ImportError):
        metadata = importlib.import_module(name)
        entry = metadata.EntryPoint("mlsched-sparse", {ENTRY_POINT!r}, "dask.sizeof")
        def entry_points(*, entry=entry, find=metadata.entry_points, **asked):
            if asked.get("group") == "dask.sizeof":
                return [entry][: sys.argv[1] == "with"]
            return find(**asked)
        metadata.entry_points = entry_points
"""


def run(script: str, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", WITH_OR_WITHOUT + script, *arguments],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout.strip()


@pytest.fixture
def registered() -> Iterator[None]:
    our_sparse.register()
    yield
    our_sparse.unregister()


def test_the_entry_point_is_declared() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert ENTRY_POINT in project["entry-points"]["dask.sizeof"].values()


def test_importing_dask_with_the_entry_point_imports_nothing_heavy() -> None:
    script = """
import dask.sizeof
assert "dask_mlsched.extension.sparse" in sys.modules
print(*{"distributed", "scipy", "sparse", "numba", "torch", "cupy"} & set(sys.modules))
"""
    assert run(script, "with") == ""


def test_importing_the_module_registers_nothing() -> None:
    script = """
import sparse, scipy.sparse, distributed
from dask.sizeof import sizeof
from distributed.protocol.serialize import dask_deserialize, dask_serialize
registries = (sizeof, dask_serialize, dask_deserialize)
before = [(dict(r._lookup), dict(r._lazy)) for r in registries]
import dask_mlsched.extension.sparse
import dask_mlsched.extension.sparse_frames
assert before == [(r._lookup, r._lazy) for r in registries]
dask_mlsched.extension.sparse.register()
assert all(b != (r._lookup, r._lazy) for b, r in zip(before, registries))
"""
    run(script, "without")


SPILL = """
import tempfile, scipy.sparse, sparse
from distributed.spill import SpillBuffer
matrices = [scipy.sparse.random(2000, 2000, 0.0125, "csr", rng=i) for i in range(5)]
arrays = [CONVERT(m) for m in matrices]
with tempfile.TemporaryDirectory() as directory:
    buffer = SpillBuffer(directory, target=1_000_000)
    for i, x in enumerate(arrays):
        buffer[f"x-{i}"] = x
    print(len(buffer.slow))
    del arrays, x
    for i, m in enumerate(matrices):
        assert (buffer[f"x-{i}"].data == m.data).all()
"""


@pytest.mark.parametrize("convert", ["sparse.GCXS.from_scipy_sparse", "scipy.sparse.csr_array"])
def test_chunks_spill_with_the_entry_point_and_not_without(convert: str) -> None:
    script = SPILL.replace("CONVERT", convert)
    assert run(script, "with") == "4"
    assert run(script, "without") == "0"


def test_registering_late_replaces_what_dask_has_remembered() -> None:
    script = """
import numpy, scipy.sparse, sparse
from dask.sizeof import sizeof
x = sparse.GCXS.from_numpy(numpy.eye(1000))
y = scipy.sparse.csr_array(numpy.eye(1000))
print(sizeof(x) < 100, sizeof(y) < 100)
import dask_mlsched.extension.sparse
dask_mlsched.extension.sparse.register()
print(sizeof(x) > 16_000, sizeof(y) > 12_000)
"""
    assert run(script, "without").split() == ["True"] * 4


def test_registering_twice_changes_nothing(registered: None) -> None:
    from distributed.protocol.serialize import dask_deserialize, dask_serialize

    x = sparse.COO.from_numpy(np.eye(4), fill_value=1)
    arrays = [x, sparse.GCXS(x), sparse.DOK.from_coo(x), scipy.sparse.dok_array(np.eye(4))]
    sizes = [sizeof(a) for a in arrays]
    families = [serialize(a)[0]["serializer"] for a in arrays]
    known = [set(r._lookup) for r in (sizeof, dask_serialize, dask_deserialize)]
    our_sparse.register()
    assert [sizeof(a) for a in arrays] == sizes
    assert [serialize(a)[0]["serializer"] for a in arrays] == families
    assert [set(r._lookup) for r in (sizeof, dask_serialize, dask_deserialize)] == known


def test_a_back_end_of_sparse_without_our_classes_is_left_alone(monkeypatch: Any) -> None:
    monkeypatch.setitem(sys.modules, "sparse", types.ModuleType("sparse"))
    registry = Dispatch("sizeof")
    registry.register(object, lambda _: 56)
    our_sparse.register_sizeof(registry)
    assert registry(object()) == 56


@pytest.mark.integration
def test_arrays_sent_between_workers_arrive_whole(registered: None) -> None:
    from distributed import Client, LocalCluster

    x = sparse.COO.from_numpy(np.array([[1.0, 2.0], [1.0, 3.0]]), fill_value=1)
    arrays = [
        x,
        sparse.GCXS(x, compressed_axes=(1,)),
        sparse.DOK.from_coo(x),
        scipy.sparse.csr_array(x.todense()),
        scipy.sparse.dok_array(x.todense()),
        scipy.sparse.lil_matrix(x.todense()),
    ]
    with (
        LocalCluster(
            n_workers=2,
            threads_per_worker=1,
            processes=False,
            protocol="tcp://",
            dashboard_address=":0",
        ) as cluster,
        Client(cluster) as client,
    ):
        a, b = sorted(client.scheduler_info()["workers"])
        for array in arrays:
            # Made on one worker, used on the other: over a socket, though in one process.
            made = client.submit(_copy, array, workers=[a], pure=False)
            used = client.submit(_describe, made, workers=[b], pure=False).result()
            assert used == _describe(array)


def _copy(x: Any) -> Any:
    return x.copy()


def _describe(x: Any) -> tuple[Any, ...]:
    compressed = getattr(x, "compressed_axes", None)
    return type(x), str(x.dtype), compressed, np.asarray(x.todense()).tolist()


class FakeMatrix:
    """A stand-in for cupyx's matrices: buffers in attributes, nothing that tells of a device."""

    __module__ = "cupyx.scipy.sparse._base"

    def __init__(self, n: int) -> None:
        self.data, self.indices = np.ones(n), np.arange(n, dtype=np.int32)
        self.indptr = np.array([0, n], dtype=np.int32)
        self._shape = (1, n)
        self._has_sorted_indices = True


@pytest.fixture
def cupyx(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stand-ins for cupyx, and for the module of distributed that cannot be imported without."""
    names = ("cupyx", "cupyx.scipy", "cupyx.scipy.sparse", "cupyx.scipy.sparse._base")
    modules = {name: types.ModuleType(name) for name in (*names, "distributed.protocol.cupy")}
    modules["cupyx"].scipy = modules["cupyx.scipy"]  # type: ignore[attr-defined]
    modules["cupyx.scipy"].sparse = modules["cupyx.scipy.sparse"]  # type: ignore[attr-defined]
    matrix, array = (
        type(name, (base,), {"__module__": "cupyx.scipy.sparse._base"})
        for name, base in (("spmatrix", FakeMatrix), ("sparray", FakeMatrix))
    )
    for module in (modules["cupyx.scipy.sparse"], modules["cupyx.scipy.sparse._base"]):
        module.spmatrix, module.sparray = matrix, array  # type: ignore[attr-defined]
    for name, module in modules.items():
        monkeypatch.setitem(sys.modules, name, module)


def test_cupyx_arrays_weigh_their_buffers(cupyx: None) -> None:
    import cupyx.scipy.sparse

    registry = Dispatch("sizeof")
    our_sparse.register_sizeof(registry)
    assert registry(cupyx.scipy.sparse.spmatrix(100)) == 100 * 12 + 8
    assert registry(cupyx.scipy.sparse.sparray(100)) == 100 * 12 + 8


def test_cupyx_without_arrays_is_fine(cupyx: None) -> None:
    import cupyx.scipy.sparse

    del cupyx.scipy.sparse.sparray
    registry = Dispatch("sizeof")
    our_sparse.register_sizeof(registry)
    assert registry(cupyx.scipy.sparse.spmatrix(100)) == 100 * 12 + 8


def test_cupyx_is_looked_for_only_when_it_is_used(monkeypatch: Any) -> None:
    monkeypatch.delitem(sys.modules, "cupyx.scipy.sparse", raising=False)
    monkeypatch.setitem(sys.modules, "cupyx", None)  # importing it would raise
    registry = Dispatch("sizeof")
    registry.register(object, lambda _: 56)
    our_sparse.register_sizeof(registry)
    our_sparse.register_serialization()
    our_sparse.unregister()
    assert registry("anything") == 56


def test_cupyx_arrays_are_sent_between_devices(cupyx: None, registered: None) -> None:
    import cupyx.scipy.sparse

    x = cupyx.scipy.sparse.sparray(100)
    header, frames = serialize(x, serializers=("cuda", "error"))
    assert header["serializer"] == "cuda"
    y = deserialize(header, frames)
    assert type(y) is type(x)
    assert vars(y).keys() == vars(x).keys()
    assert (y.data == x.data).all()
    our_sparse.unregister()
    assert serialize(x, serializers=("cuda", "pickle"))[0]["serializer"] == "pickle"


def test_dask_cuda_learns_that_cupyx_lives_on_the_device(cupyx: None, monkeypatch: Any) -> None:
    import cupyx.scipy.sparse

    module = types.ModuleType("dask_cuda.is_device_object")
    module.is_device_object = Dispatch("is_device_object")  # type: ignore[attr-defined]
    module.is_device_object.register(object, lambda _: False)
    monkeypatch.setitem(sys.modules, module.__name__, module)
    our_sparse.register()
    our_sparse.unregister()
    assert module.is_device_object(cupyx.scipy.sparse.spmatrix(3)) is True
    assert module.is_device_object(cupyx.scipy.sparse.sparray(3)) is True
    assert module.is_device_object(scipy.sparse.csr_array((3, 3))) is False


@pytest.mark.dask_cuda
def test_the_store_of_dask_cuda_evicts_cupyx_arrays(cupyx: None, tmp_path: Path) -> None:
    pytest.importorskip("dask_cuda", reason="dask-cuda is not installed")
    import cupyx.scipy.sparse
    from dask_cuda.device_host_file import DeviceHostFile

    our_sparse.register()
    our_sparse.unregister()
    store = DeviceHostFile(str(tmp_path), device_memory_limit=10_000, memory_limit=None)
    for i in range(5):
        store[f"x-{i}"] = cupyx.scipy.sparse.sparray(500 + i)
    assert len(store.device) == 1
    assert len(store.host) == 4
    assert [len(store[f"x-{i}"].data) for i in range(5)] == [500, 501, 502, 503, 504]


def test_cupyx_arrays_on_a_device_are_counted_and_sent(registered: None) -> None:
    cupy = pytest.importorskip("cupy", reason="CuPy is not installed")
    try:
        cupy.cuda.runtime.getDeviceCount()
    except cupy.cuda.runtime.CUDARuntimeError as error:
        pytest.skip(f"no device: {error}")
    import cupyx.scipy.sparse

    matrix = scipy.sparse.random(200, 300, density=0.1, format="csr", rng=0)
    for layout in ("csr", "csc", "coo", "dia"):
        for kind in ("matrix", "array"):
            cls = getattr(cupyx.scipy.sparse, f"{layout}_{kind}", None)
            if cls is None:
                continue
            x = cls(matrix.asformat(layout))
            expected = sum(v.nbytes for v in vars(x).values() if isinstance(v, cupy.ndarray))
            assert sizeof(x) == expected > 10_000
            for family in ("cuda", "dask", "pickle"):
                y = deserialize(*serialize(x, serializers=(family, "pickle")))
                assert type(y) is type(x)
                assert (y.get() != x.get()).nnz == 0
