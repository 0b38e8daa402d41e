from __future__ import annotations

import time
from collections import namedtuple
from sys import getsizeof
from typing import Any

import dask.sizeof
import numpy as np
import pytest
import scipy.sparse
from dask.utils import Dispatch

from dask_mlsched.extension import collection_sizes
from dask_mlsched.extension.collection_sizes import register_collections
from dask_mlsched.extension.sparse import register_sizeof

Pair = namedtuple("Pair", "a b")  # noqa: PYI024  without types, as users write them


@pytest.fixture
def sizeof() -> Dispatch:
    """Return Dask's own registry: what it has for collections asks that one for their members."""
    register_sizeof(dask.sizeof.sizeof)
    register_collections(dask.sizeof.sizeof)
    return dask.sizeof.sizeof


@pytest.fixture
def one_is_large() -> list[np.ndarray]:
    return [np.zeros(10, np.uint8) for _ in range(30)] + [np.zeros(1_000_000, np.uint8)]


@pytest.mark.parametrize("kind", [list, tuple])
def test_every_array_of_a_collection_counts(sizeof: Dispatch, one_is_large, kind):
    members = kind(one_is_large)
    assert {sizeof(members) for _ in range(20)} == {getsizeof(members) + 1_000_300}


def test_dask_alone_would_guess(one_is_large):
    # If it counts them one day, ours can go.
    found = {dask.sizeof.sizeof_python_collection(one_is_large) for _ in range(100)}
    assert max(found) - min(found) > 1_000_000


def test_sparse_arrays_count_by_their_buffers(sizeof: Dispatch):
    arrays = [scipy.sparse.csr_array(np.eye(n)) for n in range(1, 20)]
    expected = sum(a.data.nbytes + a.indices.nbytes + a.indptr.nbytes for a in arrays)
    assert sizeof(arrays) == getsizeof(arrays) + expected


def test_arrays_are_found_within_other_collections(sizeof: Dispatch, one_is_large):
    nested: list[Any] = [f"{number}" for number in range(20)] + [[{"x": (one_is_large,)}]]
    found = {sizeof(nested) for _ in range(20)}
    assert len(found) == 1


def test_other_collections_are_left_to_dask(monkeypatch, one_is_large):
    registry = Dispatch("sizeof")
    asked: list[Any] = []
    for kind in (list, tuple, set, frozenset):
        registry.register(kind, lambda members: asked.append(members) or 7)
    register_collections(registry)
    few, numbers = one_is_large[:10], list(range(100))
    scalars = [np.float64(number) for number in range(100)]
    texts = {str(number) for number in range(100)}
    for members in (few, numbers, scalars, texts, []):
        assert registry(members) == 7
    assert asked == [few, numbers, scalars, texts, []]
    monkeypatch.setattr(collection_sizes, "_MANY", 30)
    assert registry(one_is_large) == 7


def test_subclasses_count_likewise(sizeof: Dispatch):
    class Arrays(list):
        """A user's own."""

    members = Arrays(np.zeros(n) for n in range(100))
    assert sizeof(members) == getsizeof(members) + 8 * sum(range(100))
    pair = Pair(np.zeros(1000), 1)
    assert sizeof(pair) >= 8000


def test_registering_again_changes_nothing(sizeof: Dispatch, one_is_large):
    before = sizeof.dispatch(list)
    register_collections(sizeof)
    assert sizeof.dispatch(list) is before


@pytest.mark.slow
def test_long_lists_of_numbers_take_about_as_long_as_before(sizeof: Dispatch):
    numbers = list(range(10_000_000))
    started = time.perf_counter()
    sizeof(numbers)
    assert time.perf_counter() - started < 0.01
