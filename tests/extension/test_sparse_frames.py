"""Round trips of sparse arrays through distributed's protocol."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse
import sparse
from distributed.protocol import (
    deserialize,
    deserialize_bytes,
    serialize,
    serialize_bytes,
)
from distributed.protocol.serialize import dask_deserialize, dask_serialize
from distributed.protocol.sparse import deserialize_sparse, serialize_sparse
from hypothesis import given, settings
from hypothesis import strategies as st

from dask_mlsched.extension import sparse as our_sparse

DTYPES = ("bool", "uint8", "int64", "float32", "complex128")
LAYOUTS = ("csr", "csc", "coo", "bsr", "dia", "lil", "dok")


@pytest.fixture(autouse=True)
def registered() -> Iterator[None]:
    our_sparse.register()
    yield
    our_sparse.unregister()


@st.composite
def dense_arrays(draw: st.DrawFn, min_ndim: int = 0, max_ndim: int = 3) -> Any:
    shape = draw(st.lists(st.integers(0, 4), min_size=min_ndim, max_size=max_ndim))
    dtype = np.dtype(draw(st.sampled_from(DTYPES)))
    rng = np.random.default_rng(draw(st.integers(0, 5)))
    return rng.integers(0, 3, shape).astype(dtype)


def bits(value: Any) -> tuple[Any, ...]:
    array = np.asarray(value)
    return array.dtype.str, array.shape, array.tobytes()


def state(x: Any) -> dict[str, Any]:
    """Everything an array is, bit by bit and comparable."""
    result: dict[str, Any] = {"type": type(x)}
    for name, value in vars(x).items():
        if isinstance(value, dict):
            result[name] = {k: bits(np.asarray(v, x.dtype)) for k, v in value.items()}
        elif isinstance(value, np.ndarray) and value.dtype == object:
            result[name] = value.tolist()
        elif isinstance(value, (np.ndarray, np.generic)):
            result[name] = bits(value)
        elif isinstance(value, tuple):
            result[name] = tuple(map(bits, value))
        else:
            result[name] = value
    return result


def round_trips(x: Any) -> list[Any]:
    header, frames = serialize(x)
    return [deserialize(header, frames), deserialize_bytes(serialize_bytes(x))]


def fill_values(dtype: np.dtype) -> list[Any]:
    values = [0, 1]
    if dtype.kind in "fc":
        values += [-0.0, np.nan, np.inf]
    return [np.asarray(value, dtype)[()] for value in values]


@settings(deadline=None, max_examples=150)
@given(dense=dense_arrays(), data=st.data())
def test_sparse_arrays_come_back_bit_by_bit(dense: Any, data: st.DataObject) -> None:
    fill_value = data.draw(st.sampled_from(fill_values(dense.dtype)))
    coo = sparse.COO.from_numpy(dense, fill_value=fill_value)
    x = coo.asformat(data.draw(st.sampled_from(["coo", "gcxs", "dok"])))
    if isinstance(x, sparse.GCXS) and x.ndim > 1:
        x = x.change_compressed_axes((data.draw(st.integers(0, x.ndim - 1)),))
    for y in round_trips(x):
        assert state(y) == state(x)
        assert bits(y.todense()) == bits(x.todense())


@settings(deadline=None, max_examples=150)
@given(
    dense=dense_arrays(2, 2),
    layout=st.sampled_from(LAYOUTS),
    kind=st.sampled_from(["array", "matrix"]),
)
def test_scipy_arrays_come_back_bit_by_bit(dense: Any, layout: str, kind: str) -> None:
    x = getattr(scipy.sparse, f"{layout}_{kind}")(scipy.sparse.coo_array(dense))
    for y in round_trips(x):
        assert state(y) == state(x)
        assert (y.toarray() == dense).all()


@settings(deadline=None, max_examples=50)
@given(dense=dense_arrays(1, 1), layout=st.sampled_from(["coo", "csr", "dok"]))
def test_one_dimensional_scipy_arrays_come_back(dense: Any, layout: str) -> None:
    x = scipy.sparse.coo_array(dense).asformat(layout)
    for y in round_trips(x):
        assert state(y) == state(x)


def test_three_dimensional_scipy_arrays_come_back() -> None:
    x = scipy.sparse.coo_array(np.arange(24).reshape(2, 3, 4))
    for y in round_trips(x):
        assert state(y) == state(x)


def test_what_scipy_knows_about_order_and_duplicates_is_kept() -> None:
    x = scipy.sparse.csr_array((np.ones(3), np.array([2, 0, 0]), np.array([0, 3])), shape=(1, 3))
    assert not x.has_sorted_indices
    assert not x.has_canonical_format
    y = scipy.sparse.coo_array((np.ones(2), ([0, 0], [1, 1])), shape=(2, 2))
    y.has_canonical_format = False
    for z in (*round_trips(x), *round_trips(y)):
        assert not z.has_canonical_format
        assert z.nnz == len(z.data) > 1


@pytest.mark.parametrize("name", ["csr_array", "csr_matrix", "GCXS", "COO"])
def test_frames_are_the_buffers_themselves_on_both_sides(name: str) -> None:
    matrix = scipy.sparse.random(200, 300, density=0.1, format="csr", rng=0)
    if name in {"GCXS", "COO"}:
        x = getattr(sparse, name).from_scipy_sparse(matrix)
    else:
        x = getattr(scipy.sparse, name)(matrix)
    header, frames = serialize(x)
    y = deserialize(header, frames)
    buffers = [value for value in vars(x).values() if isinstance(value, np.ndarray)]
    assert len(buffers) >= 2
    for a in buffers:
        assert any(np.shares_memory(a, np.frombuffer(f, "u1")) for f in frames if len(f))
    for name_of, a in vars(x).items():
        if isinstance(a, np.ndarray):
            assert np.shares_memory(a, getattr(y, name_of))


def test_a_fill_value_survives_which_distributed_alone_loses() -> None:
    x = sparse.COO.from_numpy(np.array([[1.0, 2.0], [1.0, 3.0]]), fill_value=1)
    stock = deserialize_sparse(*serialize_sparse(x))
    assert (stock.todense() == [[0, 2], [0, 3]]).all()  # wrong, and why we are here
    for y in round_trips(x):
        assert (y.todense() == x.todense()).all()
        assert y.fill_value == 1


def test_coo_frames_are_those_of_distributed_in_both_directions() -> None:
    x = sparse.random((20, 30), nnz=50, random_state=0)
    header, frames = dask_serialize(x)
    assert state(deserialize_sparse(header, frames)) == state(x)
    assert state(dask_deserialize.dispatch(sparse.COO)(*serialize_sparse(x))) == state(x)


def test_coo_frames_of_a_later_distributed_are_left_to_it() -> None:
    header, frames = serialize_sparse(sparse.random((20, 30), nnz=50, random_state=0))
    header["shape"], header["fill-value"] = (40, 50), 7
    assert dask_deserialize.dispatch(sparse.COO)(header, frames).shape == (40, 50)


class TaggedCOO(sparse.COO):
    pass


class TaggedGCXS(sparse.GCXS):
    pass


class TaggedDOK(sparse.DOK):
    pass


class TaggedArray(scipy.sparse.csr_array):
    pass


class TaggedKeys(scipy.sparse.dok_array):
    pass


@pytest.mark.parametrize("cls", [TaggedCOO, TaggedGCXS, TaggedDOK])
def test_subclasses_of_sparse_come_back_as_what_they_were(cls: Any) -> None:
    x = sparse.random((6, 7), nnz=9, random_state=0).asformat(cls.__base__.__name__.lower())
    x.__class__ = cls
    for y in round_trips(x):
        assert state(y) == state(x)


@pytest.mark.parametrize("cls", [TaggedArray, TaggedKeys])
def test_subclasses_of_scipy_come_back_as_what_they_were(cls: Any) -> None:
    x = cls(scipy.sparse.random_array((6, 7), density=0.3, rng=0))
    x.tag = "kept"
    for y in round_trips(x):
        assert state(y) == state(x)


def test_dok_entries_travel_as_two_arrays() -> None:
    coo = sparse.random((400, 500), nnz=2000, random_state=0)
    for x in (sparse.DOK.from_coo(coo), scipy.sparse.dok_array(coo.tocsr())):
        header, frames = serialize(x)
        assert header["serializer"] == "dask"
        assert sum(memoryview(f).nbytes for f in frames) <= 2000 * 24 + 8


def test_unregistered_dok_is_pickled_and_earlier_frames_can_still_be_read() -> None:
    x = sparse.DOK.from_coo(sparse.random((4, 5), nnz=6, random_state=0))
    earlier = serialize(x)
    our_sparse.unregister()
    assert serialize(x)[0]["serializer"] == "pickle"
    assert state(deserialize(*earlier)) == state(x)


@pytest.mark.parametrize("n", [0, 1, 3])
def test_arrays_in_a_list_come_back(n: int) -> None:
    x = sparse.COO.from_numpy(np.eye(3), fill_value=1)
    values = [x, sparse.GCXS(x), sparse.DOK.from_coo(x)][:n]
    assert list(map(state, deserialize_bytes(serialize_bytes(values)))) == list(map(state, values))


READ = """
import pathlib, sys
from distributed.protocol import deserialize_bytes
for path in sys.argv[1:]:
    x = deserialize_bytes(pathlib.Path(path).read_bytes())
    print(type(x).__name__, x.todense().sum())
assert "dask_mlsched.extension.sparse_frames" not in sys.modules
"""


def test_a_process_that_registered_nothing_reads_what_this_one_writes(tmp_path: Path) -> None:
    dense = np.array([[1.0, 2.0], [1.0, 3.0]])
    coo = sparse.COO.from_numpy(dense, fill_value=1)
    scipy_classes = [scipy.sparse.csr_array, scipy.sparse.lil_array, scipy.sparse.dok_matrix]
    arrays = [coo, sparse.COO.from_numpy(dense), sparse.GCXS(coo)]
    arrays += [cls(dense) for cls in scipy_classes]
    frames = [serialize_bytes(x) for x in arrays]
    our_sparse.unregister()
    arrays += [sparse.DOK.from_coo(coo), scipy.sparse.dok_array(dense)]
    frames += [serialize_bytes(x) for x in arrays[len(frames) :]]

    paths = [tmp_path / str(i) for i in range(len(frames))]
    for path, content in zip(paths, frames, strict=True):
        path.write_bytes(content)
    done = subprocess.run(
        [sys.executable, "-c", READ, *map(str, paths)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [w for x in arrays for w in (type(x).__name__, "7.0")]
