"""The store against a plain dictionary, while every copy may fail or be overtaken.

Nothing here waits: what the store does beside is queued, and done by a rule of the machine. A copy
lets go of the lock, so what others do meanwhile is done in the middle of it, in the same thread.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor, Future
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    rule,
)

from dask_mlsched.extension.device_store import DeviceStore
from dask_mlsched.extension.moves import Direction, Move
from fake_device import FakeDevice, Unserializable
from flaky_disk import FlakyDisk
from store_books import check, check_counts, files_of

LIMIT = 400
HOST_LIMIT = 300
KEYS = st.sampled_from("abcdefgh")
SOME_KEYS = st.lists(KEYS, min_size=1, max_size=5)
#: From nothing to more than the device holds; contents differ, so that a mixed-up key shows.
ARRAYS = st.builds(
    lambda n, first, refusing: np.arange(first, first + n, dtype="f8").view(
        Unserializable if refusing else np.ndarray
    ),
    st.integers(0, 60) | st.integers(8, 20),
    st.integers(0, 1000),
    st.integers(0, 5).map(lambda i: i == 0),
)
# Of other text than ASCII, Python counts more once it was encoded.
OBJECTS = st.one_of(st.integers(), st.text("abc", max_size=3), st.just("long" * 100))
#: None for the one that is being copied.
ANY_OR_MOVING = st.none() | KEYS
DIRECTIONS: st.SearchStrategy[Direction] = st.sampled_from(("load", "evict"))
ERRORS = st.sampled_from((MemoryError, OSError, RuntimeError, KeyError))


def same(left: Any, right: Any) -> bool:
    """Equal in type, and in every byte."""
    if type(left) is not type(right):
        return False
    if isinstance(left, np.ndarray):
        return left.dtype == right.dtype and left.tobytes() == right.tobytes()
    return bool(left == right)


class Queue(Executor):
    """Does what it is given when it is told to."""

    def __init__(self) -> None:
        self.waiting: deque[Callable[[], object]] = deque()

    def submit(self, work: Any, /, *arguments: Any, **named: Any) -> Future[Any]:
        self.waiting.append(lambda: work(*arguments, **named))
        return Future()


class DeviceStoreMachine(RuleBasedStateMachine):
    tasks = Bundle("tasks")

    @initialize(
        host_limit=st.sampled_from((None, HOST_LIMIT)),
        keep_clean=st.booleans(),
        values=st.dictionaries(KEYS, ARRAYS, min_size=4),
    )
    def begin_with(
        self, host_limit: int | None, keep_clean: bool, values: dict[str, np.ndarray]
    ) -> None:
        self.device = FakeDevice()
        self.queue = Queue()
        self.store = DeviceStore(
            device_memory_limit=LIMIT,
            device=self.device,
            host_memory_limit=host_limit,
            keep_clean=keep_clean,
            loads_ahead=False,
        )
        self.store._copier = self.queue
        self.disk = None if host_limit is None else FlakyDisk(self.store._host)
        self.values: dict[str, Any] = {}
        self.moves: list[Move] = []
        self.store.arrays.on_move = self.moves.append
        self.names = iter(range(10**6))
        #: What has gone wrong, or come between, on purpose.
        self.troubles = 0
        self.inserting: str | None = None
        # So that there is something to move from the first step on.
        for key, value in values.items():
            self.insert_array(key, value)

    # Values

    @rule(key=KEYS, value=ARRAYS)
    def insert_array(self, key: str, value: Any) -> None:
        self.inserting = key
        with self.within_the_limit(beside=key):
            self.store[key] = value
        self.inserting = None
        self.values[key] = value

    @rule(key=KEYS, value=OBJECTS)
    def insert_object(self, key: str, value: Any) -> None:
        with self.no_more_resident():
            self.store[key] = value
        self.values[key] = value

    @rule(keys=SOME_KEYS)
    def read(self, keys: list[str]) -> None:
        for key in keys:
            self.read_one(key)

    def read_one(self, key: str) -> None:
        if key not in self.values:
            with pytest.raises(KeyError):
                self.store[key]
            return
        troubles = self.troubles
        with self.within_the_limit(beside=key):
            try:
                assert same(self.store[key], self.values.get(key))
            except KeyError:
                assert key not in self.values or self.troubles > troubles
            except (MemoryError, OSError, RuntimeError):
                assert self.troubles > troubles or (self.disk is not None and self.disk.unreadable)

    @rule(key=KEYS)
    def delete(self, key: str) -> None:
        with self.no_more_resident():
            if key in self.values:
                del self.store[key]
                del self.values[key]
            else:
                with pytest.raises(KeyError):
                    del self.store[key]

    @rule(keys=SOME_KEYS)
    def evict(self, keys: list[str]) -> None:
        for key in keys:
            self.evict_one(key)

    def evict_one(self, key: str) -> None:
        books = self.store.arrays.books
        may = key in books.arrays and not books.used[key] and not books.soon[key]
        troubles = self.troubles
        with self.no_more_resident():
            went = self.store.arrays.evict(key)
        assert went <= may
        assert went == may or self.troubles > troubles
        assert not (went and key in books.arrays)

    # Tasks

    @rule(target=tasks, reads=SOME_KEYS, victims=SOME_KEYS)
    def expect(self, reads: list[str], victims: list[str]) -> int:
        task = next(self.names)
        with self.no_more_resident():
            self.store.expect(task, reads, victims)
        return task

    @rule(task=tasks, reads=SOME_KEYS, victims=SOME_KEYS)
    def begin(self, task: int, reads: list[str], victims: list[str]) -> None:
        with self.no_more_resident():
            self.store.begin(task, reads, victims)
        assert self.store._running[task] == tuple(k for k in reads if k in self.store.arrays)
        assert task not in self.store._next

    @rule(task=consumes(tasks))
    def end(self, task: int) -> None:
        self.store.end(task)
        self.store.unexpect(task)

    @rule()
    def work_beside(self) -> None:
        books = self.store.arrays.books
        while self.queue.waiting:
            work = self.queue.waiting.popleft()
            over, troubles = books.excess(), self.troubles
            work()
            # Loads ahead stay within the limit; to make room leaves what is in use beyond it.
            assert books.excess() <= max(0, over) or self.troubles > troubles

    # Troubles

    @rule(direction=DIRECTIONS, error=ERRORS, times=st.integers(1, 2), keys=SOME_KEYS)
    def fail(
        self, direction: Direction, error: type[Exception], times: int, keys: list[str]
    ) -> None:
        def plan() -> None:
            self.troubles += 1
            raise error("on purpose")

        self.copy(direction, keys, [plan] * times)

    @rule(
        direction=DIRECTIONS,
        what=st.sampled_from(("delete", "read", "replace", "begin")),
        key=ANY_OR_MOVING,
        keys=SOME_KEYS,
    )
    def meet(self, direction: Direction, what: str, key: str | None, keys: list[str]) -> None:
        self.copy(direction, keys, [lambda: self.meanwhile(what, key or self.moving())])

    def copy(
        self, direction: Direction, keys: list[str], plans: list[Callable[[], object]]
    ) -> None:
        """Have some arrays copied in this direction, and others, as it comes."""
        self.insert_array(keys[0], np.arange(float(self.troubles), self.troubles + 10.0))
        if direction == "evict":
            self.device.plans[direction] += plans
            self.evict(keys)
        else:
            self.evict(keys)
            self.device.plans[direction] += plans
            self.read(keys)

    def moving(self) -> Any:
        """The key of an array that is being copied, of which there is one."""
        arrays = self.store.arrays._arrays.values()
        return next((array.key for array in arrays if array.moving), None)

    def meanwhile(self, what: str, key: str) -> None:
        """What another thread may do in the middle of a copy, without waiting for it."""
        self.troubles += 1
        if what == "read" and key in self.store.arrays.books.arrays:
            value = self.store[key]
            assert key == self.inserting or same(value, self.values[key])
        elif what == "begin":
            self.store.begin("meanwhile", [key], "abc")
        elif key in self.values and key != self.inserting:
            if what == "delete":
                del self.store[key]
                del self.values[key]
            elif what == "replace":
                self.store[key] = self.values[key] = "another"

    @rule(unwritable=st.booleans(), unreadable=st.booleans())
    def change_the_disk(self, unwritable: bool, unreadable: bool) -> None:
        if self.disk is not None:
            self.disk.unwritable, self.disk.unreadable = unwritable, unreadable

    def all_is_well_again(self) -> None:
        for plans in self.device.plans.values():
            plans.clear()
        self.change_the_disk(unwritable=False, unreadable=False)
        self.work_beside()
        for key, value in self.values.items():
            assert same(self.store[key], value)

    # What always holds

    @invariant()
    def nothing_is_lost(self) -> None:
        assert set(self.store) == set(self.values)
        assert len(self.store) == len(self.values)
        with self.readable():
            for key, value in self.values.items():
                assert key in self.store
                assert same(self.store.peek(key), value)

    @invariant()
    def the_books_are_right(self) -> None:
        with self.readable():
            check(self.store)

    @invariant()
    def every_copy_was_counted_once(self) -> None:
        check_counts(self.store, self.device)

    @invariant()
    def every_move_was_told_of(self) -> None:
        # What moved for nothing, because it was deleted or read meanwhile, only counts.
        told = [move.direction for move in self.moves]
        assert told.count("load") <= self.store.statistics.loads
        assert told.count("evict") <= self.store.statistics.evictions
        if not self.troubles:
            assert len(told) == self.store.statistics.loads + self.store.statistics.evictions

    # Of steps

    @contextmanager
    def within_the_limit(self, *, beside: str) -> Any:
        """Nothing is beyond the limit but `beside`, what is in use, and what would not go."""
        troubles, moves = self.troubles, len(self.moves)
        yield
        books = self.store.arrays.books
        if self.troubles > troubles or beside not in books.arrays:
            return
        others = [array for key, array in books.arrays.items() if key != beside]
        if self.inserting:
            # It leaves it to the thread to make its own room, and makes that of those before.
            beyond = books.nbytes - books.arrays[beside].nbytes > LIMIT
        else:
            loaded = any(move.direction == "load" for move in self.moves[moves:])
            beyond = loaded and books.nbytes > LIMIT
        assert not beyond or all(each.key in books.used or not each.nbytes for each in others)

    @contextmanager
    def no_more_resident(self) -> Any:
        before = self.store.arrays.books.nbytes
        yield
        assert self.store.arrays.books.nbytes <= before

    @contextmanager
    def readable(self) -> Any:
        disk = self.disk
        before = disk is not None and disk.unreadable
        if disk is not None:
            disk.unreadable = False
        yield
        if disk is not None:
            disk.unreadable = before

    def teardown(self) -> None:
        if not hasattr(self, "store"):
            return
        self.all_is_well_again()
        self.nothing_is_lost()
        self.store.forget_tasks()
        keys = list(self.values)
        random.Random(len(self.moves)).shuffle(keys)
        for key in keys:
            del self.store[key]
        books = self.store.arrays.books
        assert books.nbytes == books.reserved == books.leaving == 0
        assert not books.arrays
        assert not books.victims
        assert not books.used
        assert not books.soon
        assert self.store._host.numbers() == set()
        assert self.store._host.memory_bytes == 0
        assert files_of(self.store._host) == []


TestDeviceStore = DeviceStoreMachine.TestCase
TestDeviceStore.settings = settings(max_examples=100, stateful_step_count=50, deadline=None)
