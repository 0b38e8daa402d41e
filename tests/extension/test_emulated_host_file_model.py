"""The store against a plain dict for what it holds and an ordered dict for what is resident."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import numpy as np
import scipy.sparse
from dask.sizeof import sizeof
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from dask_mlsched.extension.emulated_host_file import EmulatedHostFile

LIMIT = 400
KEYS = st.sampled_from("abcdefgh")
#: From nothing to more than the device holds; contents differ, so that a mixed-up key shows.
DENSE = st.integers(0, 60).flatmap(
    lambda n: st.integers(0, 1000).map(lambda first: np.arange(float(first), float(first + n)))
)
SPARSE = st.integers(1, 20).map(lambda n: scipy.sparse.eye_array(n, format="csr") * n)
OBJECTS = st.one_of(st.integers(), st.text(max_size=3), st.none())


def same(left: Any, right: Any) -> bool:
    """Equal in type, and in every byte."""
    if type(left) is not type(right):
        return False
    if isinstance(left, np.ndarray):
        return left.dtype == right.dtype and left.tobytes() == right.tobytes()
    if scipy.sparse.issparse(left):
        names = ("data", "indices", "indptr")
        return all(same(getattr(left, name), getattr(right, name)) for name in names)
    return bool(left == right)


class EmulatedHostFileMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.store = EmulatedHostFile(LIMIT, bandwidth="1000GB/s", latency="1ns")
        self.values: dict[str, Any] = {}
        self.device: OrderedDict[str, int] = OrderedDict()
        self.host: set[str] = set()
        self.loaded: list[int] = []
        self.evicted: list[int] = []

    def evict(self, key: str) -> None:
        self.evicted.append(self.device.pop(key))
        self.host.add(key)

    def forget(self, key: str) -> None:
        self.device.pop(key, None)
        self.host.discard(key)

    def make_room(self) -> None:
        while sum(self.device.values()) > LIMIT:
            self.evict(next(iter(self.device)))

    @rule(key=KEYS, value=st.one_of(DENSE, SPARSE))
    def insert_array(self, key: str, value: Any) -> None:
        self.store[key] = value
        self.values[key] = value
        self.forget(key)
        self.device[key] = sizeof(value)
        if sizeof(value) > LIMIT:
            self.evict(key)
        self.make_room()

    @rule(key=KEYS, value=OBJECTS)
    def insert_object(self, key: str, value: Any) -> None:
        self.store[key] = value
        self.values[key] = value
        self.forget(key)

    @rule(key=KEYS)
    def read(self, key: str) -> None:
        if key not in self.values:
            assert self.store.get(key, "missing") == "missing"
            return
        assert same(self.store[key], self.values[key])
        if key in self.device:
            self.device.move_to_end(key)
        elif key in self.host:
            nbytes = sizeof(self.values[key])
            self.loaded.append(nbytes)
            if nbytes <= LIMIT:
                self.host.remove(key)
                self.device[key] = nbytes
                self.make_room()

    @rule(key=KEYS)
    def delete(self, key: str) -> None:
        if key in self.values:
            del self.store[key]
            del self.values[key]
            self.forget(key)
        else:
            assert key not in self.store

    @rule(key=KEYS)
    def evict_one(self, key: str) -> None:
        if key in self.device:
            self.store.buffer.fast.evict(key)
            self.evict(key)

    @invariant()
    def nothing_is_lost(self) -> None:
        assert set(self.store) == set(self.values)
        assert len(self.store) == len(self.values)
        for key, value in self.values.items():
            places = [self.store.device, self.store.host, self.store.others]
            held = [place[key] for place in places if key in place]
            assert len(held) == 1
            assert same(held[0], value)

    @invariant()
    def what_is_resident_and_its_order_are_as_in_the_model(self) -> None:
        assert list(self.store.buffer.fast.order) == list(self.device)
        assert self.store.buffer.fast.weights == self.device
        assert set(self.store.host) == self.host

    @invariant()
    def the_device_is_within_its_limit(self) -> None:
        assert self.store.buffer.fast.total_weight == sum(self.device.values()) <= LIMIT

    @invariant()
    def every_copy_was_counted(self) -> None:
        counted = self.store.statistics
        assert (counted.loads, counted.bytes_loaded) == (len(self.loaded), sum(self.loaded))
        assert (counted.evictions, counted.bytes_evicted) == (len(self.evicted), sum(self.evicted))

    def teardown(self) -> None:
        for key in list(self.store):
            del self.store[key]
        fast = self.store.buffer.fast
        assert not fast.order
        assert not fast.heavy
        assert not fast.weights
        assert fast.total_weight == 0
        assert not self.store.host


TestEmulatedHostFile = EmulatedHostFileMachine.TestCase
TestEmulatedHostFile.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
