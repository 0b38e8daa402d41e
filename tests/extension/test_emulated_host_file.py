from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest
import scipy.sparse
import sparse
from dask.sizeof import sizeof

from dask_mlsched.extension import device_copy
from dask_mlsched.extension.emulated_host_file import EmulatedHostFile

FAST = {"bandwidth": "1000GB/s", "latency": "1ns"}


def store_of(limit: int | str) -> EmulatedHostFile:
    return EmulatedHostFile(limit, **FAST)


def array(*values: float) -> np.ndarray:
    return np.array(values)


def test_an_array_enters_the_device_and_costs_nothing():
    store = store_of(16)
    store["a"] = array(1, 2)
    assert list(store.device) == ["a"]
    assert not store.host
    assert store.statistics.loads == store.statistics.evictions == 0


def test_the_least_recently_used_array_leaves_when_the_device_is_over_its_limit():
    store = store_of(24)
    for key in "abc":
        store[key] = array(1)
    store["a"]
    store["d"] = array(1)
    assert set(store.device) == {"a", "c", "d"}
    assert list(store.host) == ["b"]
    assert (store.statistics.evictions, store.statistics.bytes_evicted) == (1, 8)


def test_arrays_leave_until_the_device_is_within_its_limit():
    store = store_of(24)
    for key in "abc":
        store[key] = array(1)
    store["d"] = array(1, 2)
    assert set(store.device) == {"c", "d"}
    assert store.buffer.fast.total_weight == 24


def test_reading_an_array_on_the_host_brings_it_back_and_drops_the_copy_there():
    store = store_of(16)
    for key in "abc":
        store[key] = array(ord(key))
    assert store["a"] == ord("a")
    assert set(store.device) == {"a", "c"}
    assert list(store.host) == ["b"]
    assert (store.statistics.loads, store.statistics.evictions) == (1, 2)


def test_an_array_larger_than_the_device_stays_on_the_host_and_pushes_nobody_out():
    store = store_of(16)
    store["a"] = array(1)
    store["big"] = array(1, 2, 3)
    assert list(store.device) == ["a"]
    for loads in (1, 2):
        np.testing.assert_array_equal(store["big"], [1, 2, 3])
        assert store.statistics.loads == loads
        assert list(store.device) == ["a"]


def test_what_a_task_gets_shares_no_memory_with_the_tier_it_came_from():
    store = store_of(16)
    original = array(1, 2)
    store["a"] = original
    store["b"] = array(3, 4)
    on_host = store.host["a"]
    assert not np.shares_memory(on_host, original)
    assert not np.shares_memory(store["a"], on_host)


def test_what_is_no_array_is_kept_on_the_host_as_it_is_and_never_counts():
    store = store_of(16)
    frame = {"not": "an array"}
    store["a"] = array(1, 2)
    store["b"] = frame
    store["c"] = np.array([frame] * 100, dtype=object)
    assert store["b"] is frame
    assert list(store.device) == ["a"]
    assert store.statistics.evictions == 0
    assert store.buffer.fast.total_weight == 16


@pytest.mark.parametrize(
    "chunk",
    [
        scipy.sparse.eye_array(100, format="csr"),
        scipy.sparse.eye_array(100, format="coo"),
        sparse.COO.from_numpy(np.eye(100)),
        sparse.GCXS.from_numpy(np.eye(100)),
    ],
    ids=lambda chunk: type(chunk).__name__,
)
def test_sparse_arrays_are_counted_moved_and_brought_back(chunk: Any):
    store = store_of(sizeof(chunk) + 1)
    assert sizeof(chunk) > 1000
    store["a"] = chunk
    store["b"] = chunk.copy()
    assert list(store.host) == ["a"]
    back = store["a"]
    assert type(back) is type(chunk)
    assert (back != chunk).nnz == 0
    assert store.statistics.bytes_loaded == sizeof(chunk)


def test_replacing_an_array_by_a_plain_object_and_back_keeps_one_of_them():
    store = store_of(16)
    store["a"] = array(1)
    store["a"] = "text"
    assert store["a"] == "text"
    assert len(store) == 1
    assert not store.device
    store["a"] = array(2)
    assert store["a"] == 2
    assert len(store) == 1
    assert not store.others


def test_deleting_works_in_every_place():
    store = store_of(8)
    store["host"] = array(1)
    store["device"] = array(2)
    store["other"] = "text"
    for key in ("host", "device", "other"):
        del store[key]
        assert key not in store
        with pytest.raises(KeyError):
            store[key]
        with pytest.raises(KeyError):
            del store[key]
    assert len(store) == 0
    assert store.buffer.fast.total_weight == 0


def test_asking_what_is_there_moves_nothing():
    store = store_of(8)
    store["a"], store["b"], store["c"] = array(1), array(2), "text"
    before = store.statistics.loads
    assert "a" in store
    assert "d" not in store
    assert set(store) == {"a", "b", "c"}
    assert len(store) == 3
    assert repr(store) == (
        "<EmulatedHostFile: 8 of 8 bytes in 1 arrays on the device, "
        "1 arrays and 1 other objects on the host>"
    )
    assert store.statistics.loads == before


def test_dask_keys_of_every_kind_are_keys():
    store = store_of(8)
    for key in ("x", 1, 1.5, ("x", 0, 1), b"x"):
        store[key] = array(1)  # type: ignore[index]
    assert len(store) == 5


def test_an_eviction_that_fails_loses_nothing(monkeypatch: pytest.MonkeyPatch):
    store = store_of(8)
    store["a"] = array(1)

    def no_memory(_: Any) -> None:
        raise MemoryError

    with monkeypatch.context() as patch:
        patch.setattr(device_copy, "copy_array", no_memory)
        with pytest.raises(MemoryError):
            store["b"] = array(2)
    assert store["a"] == 1
    assert store["b"] == 2


def test_the_worker_sees_nothing_that_it_could_spill():
    # distributed.spill.ManualEvictProto, which its memory monitor looks for.
    store = store_of(8)
    assert not (hasattr(store, "fast") and hasattr(store, "evict"))
    assert not hasattr(store, "spilled_total")


@pytest.mark.parametrize(
    ("parameter", "value"),
    [
        ("device_memory_limit", "a lot"),
        ("device_memory_limit", 0),
        ("bandwidth", "-1GB/s"),
        ("bandwidth", 0),
        ("latency", "10 bytes"),
        ("latency", -1),
    ],
)
def test_a_wrong_parameter_is_named(parameter: str, value: Any):
    parameters = {"device_memory_limit": 1, "bandwidth": 1, "latency": 1, parameter: value}
    with pytest.raises(ValueError, match=f"{parameter} is {value!r}; expected"):
        EmulatedHostFile(**parameters)


def test_threads_may_share_a_store():
    store = store_of(800)  # room for ten of the forty
    errors = []

    def work(name: int) -> None:
        generator = np.random.default_rng(name)
        keys = [(name, i) for i in range(10)]
        try:
            for key in keys:
                store[key] = np.full(10, hash(key))
            for _ in range(300):
                key = keys[generator.integers(10)]
                np.testing.assert_array_equal(store[key], hash(key))
                if generator.random() < 0.1:
                    del store[key]
                    store[key] = np.full(10, hash(key))
        except Exception as error:  # noqa: BLE001 - handed to the test's thread
            errors.append(error)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    assert len(store) == 40
    assert store.buffer.fast.total_weight == 80 * len(store.device) <= 800
    assert len(store.device) + len(store.host) == 40
