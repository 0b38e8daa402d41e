"""Sizes of sparse arrays: exact for buffers, close for Python objects, and cheap."""

from __future__ import annotations

import timeit
from sys import getsizeof
from typing import Any

import numpy as np
import pytest
import scipy.sparse
import sparse
from dask.sizeof import sizeof
from dask.utils import Dispatch

from dask_mlsched.extension.sparse import register_sizeof

BUFFERS = {
    "csr": ("data", "indices", "indptr"),
    "csc": ("data", "indices", "indptr"),
    "bsr": ("data", "indices", "indptr"),
    "coo": ("data", "row", "col"),
    "dia": ("data", "offsets"),
}
KINDS = ("array", "matrix")


@pytest.fixture
def registry() -> Dispatch:
    """A registry that knows what Dask's knows of Python and numpy, and sparse arrays."""
    fresh = Dispatch("sizeof")
    fresh.register(object, getsizeof)
    fresh.register(np.ndarray, sizeof)
    register_sizeof(fresh)
    return fresh


def random(layout: str, shape: tuple[int, int] = (3000, 4000), density: float = 0.002) -> Any:
    rng = np.random.default_rng(0)
    return scipy.sparse.random(*shape, density=density, format=layout, rng=rng)


def nbytes_of_objects(*roots: Any) -> int:
    """Every distinct object within dictionaries, lists, tuples and object arrays, measured."""
    seen: dict[int, Any] = {}
    todo = list(roots)
    while todo:
        value = todo.pop()
        if id(value) not in seen:
            seen[id(value)] = value
            if isinstance(value, dict):
                todo += [*value.keys(), *value.values()]
            elif isinstance(value, (list, tuple)):
                todo += value
            elif isinstance(value, np.ndarray):
                todo += value.tolist()
    return sum(map(getsizeof, seen.values()))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("layout", BUFFERS)
def test_scipy_formats_with_buffers_weigh_their_buffers(
    registry: Dispatch, layout: str, kind: str
) -> None:
    band = scipy.sparse.diags_array(np.ones(5), offsets=[-2, 0, 1, 3, 9], shape=(3000, 3000))
    x = getattr(scipy.sparse, f"{layout}_{kind}")(band.asformat(layout))
    assert registry(x) == sum(getattr(x, name).nbytes for name in BUFFERS[layout]) > 50_000


def test_a_three_dimensional_coo_array_counts_each_coordinate(registry: Dispatch) -> None:
    x = scipy.sparse.coo_array((np.ones(9), np.ones((3, 9), dtype=np.int64)), shape=(2, 3, 4))
    assert registry(x) == 4 * 9 * 8


def test_sparse_coo_and_gcxs_weigh_their_buffers(registry: Dispatch) -> None:
    coo = sparse.COO.from_scipy_sparse(random("coo"))
    gcxs = sparse.GCXS(coo)
    assert registry(coo) == coo.data.nbytes + coo.coords.nbytes
    assert registry(gcxs) == gcxs.data.nbytes + gcxs.indices.nbytes + gcxs.indptr.nbytes


def test_a_broadcast_buffer_weighs_what_it_holds(registry: Dispatch) -> None:
    x = sparse.COO(np.arange(1000)[None], 1.0, shape=(1000,), has_duplicates=False, sorted=True)
    assert x.data.strides == (0,)
    assert registry(x) == x.coords.nbytes + 8


def test_a_subclass_is_counted_with_its_own_buffers(registry: Dispatch) -> None:
    class Weighted(scipy.sparse.csr_array):
        pass

    x = Weighted(random("csr"))
    without = registry(x)
    x.weights = np.ones(1000)
    assert registry(x) == without + 8000


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", ["float64", "int16", "complex64"])
def test_scipy_dok_is_estimated(registry: Dispatch, kind: str, dtype: str) -> None:
    x = getattr(scipy.sparse, f"dok_{kind}")(random("coo").astype(dtype))
    actual = nbytes_of_objects(x._dict)
    assert 1.0 <= registry(x) / actual < 1.25


@pytest.mark.parametrize("ndim", [1, 2, 3])
def test_sparse_dok_is_estimated(registry: Dispatch, ndim: int) -> None:
    x = sparse.DOK.from_coo(sparse.random((5000,) * ndim, nnz=3000, random_state=0))
    assert registry(x) == pytest.approx(nbytes_of_objects(x.data), rel=0.05)


def test_sparse_dok_with_assigned_entries_is_estimated(registry: Dispatch) -> None:
    x = sparse.DOK((300_000, 2))
    for i in range(2000):
        x[i * 100, 1] = i
    assert 1.0 <= registry(x) / nbytes_of_objects(x.data) < 1.35  # ones are shared, and counted


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", ["float64", "complex64"])
def test_lil_is_estimated(registry: Dispatch, kind: str, dtype: str) -> None:
    x = getattr(scipy.sparse, f"lil_{kind}")(random("csr").astype(dtype))
    actual = nbytes_of_objects(x.rows, x.data)
    assert 0.95 <= registry(x) / actual < 1.25


def test_a_short_lil_is_measured_row_by_row(registry: Dispatch) -> None:
    x = scipy.sparse.lil_array((200, 100_000))
    x[7, 1000:90_000] = 1.5
    assert registry(x) == pytest.approx(nbytes_of_objects(x.rows, x.data), rel=0.01)


@pytest.mark.parametrize(
    "empty",
    [
        sparse.DOK((3, 4)),
        scipy.sparse.dok_array((3, 4)),
        scipy.sparse.lil_array((0, 4)),
        scipy.sparse.lil_array((3, 4)),
        scipy.sparse.csr_array((0, 0)),
        scipy.sparse.coo_array((5,)),
        sparse.GCXS.from_numpy(np.zeros((3, 0))),
        sparse.COO.from_numpy(np.array(0.0)),
    ],
    ids=lambda x: f"{type(x).__module__.partition('.')[0]}.{type(x).__name__}{x.shape}",
)
def test_empty_arrays_weigh_little(registry: Dispatch, empty: Any) -> None:
    assert 0 <= registry(empty) < 1000


def test_estimates_take_as_long_for_many_entries_as_for_few(registry: Dispatch) -> None:
    rng = np.random.default_rng(0)
    dok = sparse.DOK((1_000_000,))
    dok.data = dict.fromkeys(((i,) for i in range(300_000)), 1.0)
    lil = scipy.sparse.lil_array((300_000, 5))
    lil.data[:] = [[1.0] * n for n in rng.integers(0, 5, 300_000)]
    for x in (dok, lil):
        assert min(timeit.repeat(lambda x=x: registry(x), number=1, repeat=20)) < 1e-3
