from __future__ import annotations

from typing import Any

import dask
import dask.array as da
import numpy as np
import pytest
import scipy.sparse

from dask_mlsched.benchmarks.problem import Problem, digest


def a_problem(**changes: Any) -> Problem:
    settings = {
        "workload": "test",
        "parameters": {},
        "seed": 0,
        "collections": (da.ones((4, 4), chunks=2), dask.delayed(1, name="one")),
        "working_set": 3000,
        "memory_ratio": 3.0,
        "bandwidth": 1e6,
        "check": lambda results: True,
    }
    return Problem(**{**settings, **changes})


def test_keys_are_those_of_the_results():
    problem = a_problem()
    name = problem.collections[0].name
    assert problem.keys() == [(name, 0, 0), (name, 0, 1), (name, 1, 0), (name, 1, 1), "one"]


def test_tasks_that_collections_share_count_once():
    base = da.ones((4,), chunks=2)
    assert a_problem(collections=(base + 1, base + 2)).tasks() == 6


def test_the_device_is_as_many_times_too_small_as_the_memory_ratio_says():
    assert a_problem().device_memory_limit() == 1000
    assert a_problem().device_memory_limit(memory_ratio=1.5) == 2000


def test_a_problem_without_arrays_has_a_device_all_the_same():
    assert a_problem(working_set=0).device_memory_limit() > 0


def test_equal_results_have_equal_digests_whatever_their_order():
    a, b = np.arange(4.0), np.ones((2, 2))
    assert digest({"a": a, "b": b}) == digest({"b": b.copy(), "a": a.copy()})


@pytest.mark.parametrize(
    "other",
    [
        {"a": np.nextafter(np.ones(4), 2)},
        {"a": np.ones(4, dtype="f4")},
        {"a": np.ones((2, 2))},
        {"b": np.ones(4)},
        {},
    ],
    ids=["last bit", "type", "shape", "key", "missing"],
)
def test_any_difference_changes_the_digest(other):
    assert digest(other) != digest({"a": np.ones(4)})


def test_sparse_results_have_digests_of_their_entries():
    matrix = scipy.sparse.csr_matrix(np.eye(3))
    moved = scipy.sparse.csr_matrix(np.eye(3)[::-1])
    assert digest({"a": matrix}) == digest({"a": matrix.copy()})
    assert digest({"a": matrix}) != digest({"a": moved})
