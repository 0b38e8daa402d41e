"""Several threads share a store that is far too small for them, and whose copies fail."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import numpy as np
import pytest

from dask_mlsched.extension.device_store import DeviceStore
from fake_device import PATIENCE_SECONDS, FakeDevice
from store_books import check, check_counts, files_of

NBYTES = 80
#: Room for five of the forty arrays below, and on the host for ten.
LIMIT = 5 * NBYTES
HOST_LIMIT = 10 * NBYTES


class OnPurposeError(Exception):
    """Of a copy that fails."""


class SlowDevice(FakeDevice):
    """Lets other threads in at each copy; some fail."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self._random = random.Random(seed)

    def _copy(self, value: Any, direction: Any) -> Any:
        chance = self._random.random()
        if chance < 0.05:
            raise OnPurposeError
        if chance < 0.1:
            raise MemoryError
        time.sleep(0.0001)
        return super()._copy(value, direction)


def together(works: list[Callable[[], None]]) -> None:
    """Run all in threads of their own, which must end."""
    errors: list[BaseException] = []

    def run(work: Callable[[], None]) -> None:
        try:
            work()
        except BaseException as error:  # noqa: BLE001 - raised again below
            errors.append(error)

    threads = [threading.Thread(target=run, args=(work,), daemon=True) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE_SECONDS)
    assert not any(thread.is_alive() for thread in threads), "some wait for ever"
    if errors:
        raise errors[0]


def filled(value: Any) -> int | str:
    """What a value was made of; an array is of one number, or two were mixed up."""
    if isinstance(value, str):
        return value
    assert np.all(value == value[0])
    return int(value[0])


class Worker:
    """Owns some keys, so that it knows what they must hold, and reads those of all."""

    def __init__(self, store: DeviceStore, name: int) -> None:
        self._store = store
        self._name = name
        self._random = random.Random(name)
        self._own: dict[Any, int | str] = {}
        self._keys = [(name, i) for i in range(10)]
        self._all = [(other, i) for other in range(4) for i in range(10)]

    def __call__(self) -> None:
        steps = [self.insert, self.read, self.read_any, self.delete, self.evict, self.run_task]
        for _ in range(250):
            self._random.choices(steps, (4, 6, 4, 1, 2, 4))[0]()
        for key, value in self._own.items():
            assert filled(self._store.peek(key)) == value

    def insert(self) -> None:
        key, number = self._random.choice(self._keys), self._random.randrange(10**6)
        if self._random.random() < 0.1:
            self._own[key] = self._store[key] = f"text {number}"
        else:
            size = LIMIT // 8 + 1 if self._random.random() < 0.05 else NBYTES // 8
            self._store[key] = np.full(size, number)
            self._own[key] = number

    def read(self) -> None:
        if self._own:
            key = self._random.choice(list(self._own))
            with suppress(OnPurposeError, MemoryError):
                assert filled(self._store[key]) == self._own[key]

    def read_any(self) -> None:
        # Its owner may have deleted it, or not made it yet.
        with suppress(KeyError, OnPurposeError, MemoryError):
            filled(self._store[self._random.choice(self._all)])

    def delete(self) -> None:
        if self._own:
            key = self._random.choice(list(self._own))
            del self._store[key]
            del self._own[key]
            with pytest.raises(KeyError):
                self._store[key]

    def evict(self) -> None:
        self._store.arrays.evict(self._random.choice(self._all))

    def run_task(self) -> None:
        task = (self._name, self._random.randrange(3))
        reads, victims = (self._random.sample(self._all, 2) for _ in range(2))
        self._store.expect(task, reads, victims)
        for _ in range(2):
            self.read_any()
        self._store.begin(task, reads, victims)
        for key in reads:
            if key in self._own:
                self.read()
        if self._random.random() < 0.8:
            self._store.end(task)


@pytest.mark.parametrize("keep_clean", [True, False])
@pytest.mark.parametrize("host_memory_limit", [None, HOST_LIMIT], ids=["memory", "disk"])
def test_threads_lose_nothing_and_leave_the_books_right(
    keep_clean: bool, host_memory_limit: int | None
):
    device = SlowDevice(seed=0)
    store = DeviceStore(
        device_memory_limit=LIMIT,
        device=device,
        host_memory_limit=host_memory_limit,
        keep_clean=keep_clean,
    )
    together([Worker(store, name) for name in range(4)])
    store.close()
    store.forget_tasks()
    check(store)
    check_counts(store, device)
    assert store.statistics.loads_ahead > 0
    assert store.statistics.failed_copies > 0
    for key in list(store):
        del store[key]
    assert store.arrays.books.nbytes == 0
    assert not store.arrays.books.used
    assert not store.arrays.books.soon
    assert store._host.numbers() == set()
    assert files_of(store._host) == []


def test_readers_of_two_arrays_of_which_only_one_fits_do_not_wait_for_one_another():
    device = FakeDevice()
    store = DeviceStore(device_memory_limit=NBYTES, device=device)
    for key in "ab":
        store[key] = np.full(NBYTES // 8, ord(key))

    def read_in_turn(keys: str) -> Callable[[], None]:
        def work() -> None:
            for i in range(200):
                key = keys[i % 2]
                store.begin(keys, [key])
                assert filled(store[key]) == ord(key)
                store.expect(("next", keys), [keys[(i + 1) % 2]])

        return work

    together([read_in_turn(keys) for keys in ("ab", "ba", "aa", "bb")])
    store.close()
    store.forget_tasks()
    check(store)
    check_counts(store, device)


def test_those_who_insert_wait_for_room_and_get_it():
    # Each insertion waits for the room of the one before, which the thread beside makes, which
    # waits for room that is on its way out, which somebody reads and so keeps.
    device = FakeDevice()
    store = DeviceStore(device_memory_limit=3 * NBYTES, device=device)

    def insert(name: int) -> Callable[[], None]:
        def work() -> None:
            for i in range(150):
                store[name, i % 5] = np.full(NBYTES // 8, i)
                assert filled(store[name, i % 5]) == i

        return work

    together([insert(name) for name in range(4)])
    store.close()
    check(store)
    check_counts(store, device)
    assert len(store) == 20
    store.arrays.make_room()
    assert store.arrays.books.nbytes <= 3 * NBYTES
