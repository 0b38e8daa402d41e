"""Copies of arrays that fail, are overtaken, or meet: each race is forced, none waited for."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import scipy.sparse
import sparse

from dask_mlsched.extension import tiered_arrays
from dask_mlsched.extension.device_store import DeviceStore
from dask_mlsched.extension.devices import EmulatedDevice
from dask_mlsched.extension.moves import Direction, Move
from fake_device import LIMIT, NBYTES, PATIENCE_SECONDS, FakeDevice, array
from store_books import check, check_counts

MakeStore = Callable[..., DeviceStore]


@pytest.fixture
def device() -> FakeDevice:
    return FakeDevice()


@pytest.fixture
def make(device: FakeDevice) -> Iterator[MakeStore]:
    """Makes stores without a thread, whose books must be right at the end."""
    stores = []

    def make(**settings: Any) -> DeviceStore:
        settings = {"device_memory_limit": LIMIT, "loads_ahead": False, **settings}
        stores.append(DeviceStore(device=device, **settings))
        return stores[-1]

    yield make
    for store in stores:
        check(store)
        if not store.arrays._check_writes:  # which makes copies only to look at them
            check_counts(store, device)


@pytest.fixture
def store(make: MakeStore) -> DeviceStore:
    """With arrays 0 to 3 on the device, which is full."""
    store = make()
    for i in range(4):
        store[i] = array(i)
    return store


def resident(store: DeviceStore) -> list[object]:
    return [key for key, _ in store.resident()]


def start(work: Callable[..., object], *arguments: Any) -> Callable[[], Any]:
    """Run in another thread; return what waits for its result or raises what it raised."""
    results: list[Any] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            results.append(work(*arguments))
        except BaseException as error:  # noqa: BLE001 - raised again below
            errors.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()

    def join() -> Any:
        thread.join(PATIENCE_SECONDS)
        assert not thread.is_alive(), "it waits for ever"
        if errors:
            raise errors[0]
        return results[0]

    return join


def until_waiting(store: DeviceStore) -> None:
    """Until a load waits for room, which it does from the moment that it lets go of the lock."""
    while True:
        with store.arrays.changed:
            if store.arrays.books.reserved:
                return
        time.sleep(0.001)


# Clean copies


def test_a_loaded_array_leaves_again_without_a_copy(store: DeviceStore, device: FakeDevice):
    moves: list[Move] = []
    store.arrays.on_move = moves.append
    assert store.arrays.evict(0)
    store[0]
    assert store.arrays.evict(0)
    assert [(m.direction, m.nbytes, m.seconds) for m in moves] == [
        ("evict", NBYTES, 0.5),
        ("load", NBYTES, 0.25),
        ("evict", 0, 0.0),
    ]
    assert device.made == {"evict": [NBYTES], "load": [NBYTES]}
    assert store.statistics.evictions == 2


def test_a_store_that_keeps_no_clean_copies_makes_another(make: MakeStore, device: FakeDevice):
    store = make(keep_clean=False)
    store["a"] = array(1)
    for _ in range(2):
        assert store.arrays.evict("a")
        store["a"]
    assert device.made["evict"] == [NBYTES] * 2


def test_what_stays_because_it_is_read_has_no_copy_where_none_are_kept(
    make: MakeStore, device: FakeDevice
):
    store = make(keep_clean=False)
    store["a"] = array(1)
    device.plans["evict"].append(lambda: store["a"])
    assert not store.arrays.evict("a")
    store["a"][:] = 2  # as tasks may that made the user say so
    assert store.arrays.evict("a")
    np.testing.assert_array_equal(store["a"], 2)


# On the way out


def test_a_reader_takes_an_array_on_its_way_out_and_it_stays(
    store: DeviceStore, device: FakeDevice
):
    gate = device.hold("evict")
    evicting = start(store.arrays.evict, 0)
    gate.begun()
    np.testing.assert_array_equal(store[0], 0)
    assert store.arrays.load_ahead(0) is False  # nobody expects it; and it is there
    gate.let_go()
    assert evicting() is False
    assert resident(store) == [1, 2, 3, 0]
    # The copy was not made in vain.
    assert store.arrays.evict(0)
    assert store.statistics.bytes_evicted == NBYTES


def test_then_another_one_leaves(store: DeviceStore, device: FakeDevice):
    store[4] = array(4)
    assert resident(store) == [1, 2, 3, 4]
    device.plans["evict"].append(lambda: store[1])
    store[0]
    assert resident(store) == [3, 4, 1, 0]


@pytest.mark.parametrize("replaced", [False, True])
def test_what_is_deleted_or_replaced_on_its_way_out_leaves_no_copy(
    store: DeviceStore, device: FakeDevice, replaced: bool
):
    gate = device.hold("evict")
    evicting = start(store.arrays.evict, 0)
    gate.begun()
    if replaced:
        store[0] = array(9)
    else:
        del store[0]
    gate.let_go()
    assert evicting() is True
    assert store._host.numbers() == set()
    if replaced:
        np.testing.assert_array_equal(store[0], 9)
    else:
        assert 0 not in store


def test_what_is_on_its_way_out_is_not_sent_again(store: DeviceStore, device: FakeDevice):
    gate = device.hold("evict")
    evicting = start(store.arrays.evict, 0)
    gate.begun()
    assert store.arrays.evict(0) is False
    assert store.arrays.books.leaving == NBYTES
    gate.let_go()
    assert evicting() is True


def test_only_those_wait_who_want_the_room_or_the_array(store: DeviceStore, device: FakeDevice):
    store.arrays.evict(0)
    out, into = device.hold("evict"), device.hold("load")
    evicting = start(store.arrays.evict, 1)
    out.begun()
    reading = start(store.__getitem__, 0)
    into.begun()
    # All of this is in the test's own thread, which would hang.
    assert store[2] is store[2]
    assert store.peek(0)[0] == 0
    assert store.arrays.evict(3)
    del store[3]
    assert 0 in store
    assert 3 not in store
    assert len(store) == 3
    store["text"] = "text"
    for gate in (out, into):
        gate.let_go()
    assert evicting() is True
    assert reading()[0] == 0


def test_one_who_needs_room_waits_for_what_is_leaving_and_sends_nothing_else(
    store: DeviceStore, device: FakeDevice
):
    store.arrays.evict(0)
    store[4] = array(4)
    gate = device.hold("evict")
    evicting = start(store.arrays.evict, 1)
    gate.begun()
    loading = start(store.__getitem__, 0)
    until_waiting(store)
    gate.let_go()
    evicting()
    assert loading()[0] == 0
    assert sorted(map(str, resident(store))) == ["0", "2", "3", "4"]


# On the way in


def test_readers_of_one_array_share_a_load(store: DeviceStore, device: FakeDevice):
    store.arrays.evict(0)
    gate = device.hold("load")
    first = start(store.__getitem__, 0)
    gate.begun()
    others = [start(store.__getitem__, 0) for _ in range(3)]
    gate.let_go()
    value = first()
    assert all(other() is value for other in others)
    assert device.made["load"] == [NBYTES]


def test_a_reader_gets_what_replaces_an_array_on_its_way_in(store: DeviceStore, device: FakeDevice):
    store.arrays.evict(0)
    gate = device.hold("load")
    reading = start(store.__getitem__, 0)
    gate.begun()
    store[0] = array(9)
    gate.let_go()
    np.testing.assert_array_equal(reading(), 9)


@pytest.mark.parametrize("after_waiting", [False, True])
def test_a_reader_of_what_is_deleted_on_its_way_in_finds_nothing(
    store: DeviceStore, device: FakeDevice, after_waiting: bool
):
    store.arrays.evict(0)
    gate = device.hold("load")
    readers = [start(store.__getitem__, 0)]
    gate.begun()
    if after_waiting:
        readers.append(start(store.__getitem__, 0))
    del store[0]
    gate.let_go()
    for reader in readers:
        with pytest.raises(KeyError):
            reader()
    assert store.arrays.books.nbytes == 3 * NBYTES


def test_an_array_that_is_deleted_while_its_load_fails_is_only_gone(
    store: DeviceStore, device: FakeDevice
):
    store.arrays.evict(0)

    def fail() -> None:
        del store[0]
        raise RuntimeError("the bus is gone")

    device.plans["load"].append(fail)
    with pytest.raises(KeyError):
        store[0]


def test_a_value_that_changes_its_kind_while_it_is_read_is_not_missing(
    store: DeviceStore, device: FakeDevice
):
    store.arrays.evict(0)
    gate = device.hold("load")
    reading = start(store.__getitem__, 0)
    gate.begun()
    store[0] = "text"
    gate.let_go()
    assert reading() == "text"


# What fails


def test_an_eviction_that_fails_leaves_the_array_and_sends_another(
    store: DeviceStore, device: FakeDevice, caplog: pytest.LogCaptureFixture
):
    device.plans["evict"] += [RuntimeError("the bus is gone"), RuntimeError("again")]
    with caplog.at_level(logging.WARNING, tiered_arrays.__name__):
        store[4] = array(4)
    assert resident(store) == [0, 1, 3, 4]
    assert store.statistics.failed_copies == 2
    (record,) = caplog.records
    assert "array 0 of 80 bytes could not be evicted (RuntimeError: the bus" in record.getMessage()


def test_where_nothing_would_go_all_stays_beyond_the_limit(store: DeviceStore, device: FakeDevice):
    device.plans["evict"] += [MemoryError()] * 5
    store[4] = array(4)
    assert resident(store) == [0, 1, 2, 3, 4]
    store[5] = array(5)
    assert store.arrays.books.nbytes == LIMIT


def test_what_a_load_raises_reaches_the_reader_and_changes_nothing(
    store: DeviceStore, device: FakeDevice
):
    store.arrays.evict(0)
    device.plans["load"].append(RuntimeError("the bus is gone"))
    with pytest.raises(RuntimeError, match="the bus is gone"):
        store[0]
    assert resident(store) == [1, 2, 3]
    np.testing.assert_array_equal(store[0], 0)


def test_a_device_with_less_memory_than_its_limit_sends_others_out(
    store: DeviceStore, device: FakeDevice
):
    store.arrays.evict(0)
    device.plans["load"].append(MemoryError())
    np.testing.assert_array_equal(store[0], 0)
    assert resident(store) == [2, 3, 0]


def test_a_device_that_still_has_no_memory_says_what_to_do(store: DeviceStore, device: FakeDevice):
    store.arrays.evict(0)
    device.plans["load"] += [MemoryError("theirs"), MemoryError("theirs")]
    with pytest.raises(MemoryError, match=r"array 0 of 80 bytes beside 160 .*; lower device_mem"):
        store[0]
    assert resident(store) == [2, 3]


def test_if_nothing_can_leave_it_is_not_tried_twice(store: DeviceStore, device: FakeDevice):
    store.arrays.evict(0)
    store.begin("task", [1, 2, 3])
    device.plans["load"] += [MemoryError(), RuntimeError("a second attempt")]
    with pytest.raises(MemoryError, match="no memory on the device"):
        store[0]
    assert len(device.plans["load"]) == 1


def test_an_array_whose_copy_cannot_be_read_is_none_of_the_device_s_faults(
    store: DeviceStore, monkeypatch: pytest.MonkeyPatch
):
    store.arrays.evict(0)

    def unreadable(number: int) -> None:
        raise MemoryError("of the host")

    with monkeypatch.context() as patch:
        patch.setattr(store._host, "get", unreadable)
        with pytest.raises(MemoryError, match="of the host"):
            store[0]
    assert resident(store) == [1, 2, 3]


def test_what_a_listener_raises_is_counted(store: DeviceStore):
    def broken(move: Move) -> None:
        raise RuntimeError

    store.arrays.on_move = broken
    store.arrays.evict(0)
    store[0]
    assert store.statistics.callback_errors == 2


# Room on the host


def test_clean_copies_go_before_anything_is_written_to_disk(make: MakeStore, tmp_path: Any):
    store = make(host_memory_limit=2 * NBYTES, worker_local_directory=str(tmp_path))
    for i in range(4):
        store[i] = array(i)
    for i in (0, 1):
        store.arrays.evict(i)
        store[i]
    # Now the host has a copy of each of them, and no room.
    store.arrays.evict(2)
    assert [store.arrays._arrays[i].copied for i in range(4)] == [True, False, True, False]
    store["text"] = "x"
    assert [store.arrays._arrays[i].copied for i in range(4)] == [False, False, True, False]
    assert store._host.on_disk() == set()


def test_a_clean_copy_on_disk_takes_no_room_and_stays(make: MakeStore, device: FakeDevice):
    store = make(host_memory_limit=NBYTES)
    for i in range(3):
        store[i] = array(i)
    store.arrays.evict(0)
    store.arrays.evict(1)
    assert len(store._host.on_disk()) == 1
    store[0]  # from disk, where its copy stays
    store.arrays.evict(2)
    assert store.arrays._arrays[0].copied
    assert store.arrays.evict(0)
    assert device.made["evict"] == [NBYTES] * 3


# Tasks that write into their inputs


def test_a_task_that_writes_into_its_input_is_told_of(
    make: MakeStore, caplog: pytest.LogCaptureFixture
):
    store = make(check_writes=True)
    store["a"] = array(1)
    store.arrays.evict("a")
    store["a"][3] = 7
    with caplog.at_level(logging.WARNING, tiered_arrays.__name__):
        assert store.arrays.evict("a")
    (record,) = caplog.records
    assert "written into its input 'a', which Dask forbids" in record.getMessage()
    assert "have the task copy its input first" in record.getMessage()
    assert store.statistics.writes_found == 1
    assert store["a"][3] == 7


def test_without_the_check_later_readers_see_it_as_it_was_made(make: MakeStore):
    store = make()
    store["a"] = array(1)
    store.arrays.evict("a")
    store["a"][3] = 7
    store.arrays.evict("a")
    np.testing.assert_array_equal(store["a"], 1)
    assert store.statistics.writes_found == 0


@pytest.mark.parametrize(
    "value",
    [
        array(1),
        np.broadcast_to(array(1), (3, 10)),
        [array(1), {"b": array(2)}],
        scipy.sparse.eye_array(10, format="csr"),
        scipy.sparse.eye_array(10, format="coo"),
        sparse.COO.from_numpy(np.eye(10)),
        sparse.GCXS.from_numpy(np.eye(10)),
    ],
    ids=["dense", "broadcast", "nested", "csr", "coo", "COO", "GCXS"],
)
def test_the_check_finds_nothing_where_nothing_was_written(value: Any):
    store = DeviceStore(
        device=EmulatedDevice("1000GB/s", "1ns"),
        device_memory_limit="1MB",
        loads_ahead=False,
        check_writes=True,
    )
    store["a"] = value
    for _ in range(3):
        assert store.arrays.evict("a")
        store["a"]
    assert store.statistics.writes_found == store.statistics.failed_copies == 0


@pytest.mark.parametrize("error", [MemoryError(), OSError("unreadable")])
def test_a_check_that_fails_leaves_the_array_where_it_is(
    make: MakeStore, device: FakeDevice, error: Exception
):
    store = make(check_writes=True)
    store["a"] = array(1)
    store.arrays.evict("a")
    store["a"]
    device.plans["evict"].append(error)
    assert not store.arrays.evict("a")
    assert store.statistics.failed_copies == 1
    assert resident(store) == ["a"]


@pytest.mark.parametrize("direction", ["load", "evict"])
def test_the_lock_is_free_while_a_copy_is_made(
    store: DeviceStore, device: FakeDevice, direction: Direction
):
    store.arrays.evict(0)
    free: list[bool] = []
    device.plans[direction].append(lambda: free.append(not store.arrays.changed._lock.locked()))
    store[0] if direction == "load" else store.arrays.evict(1)
    assert free == [True]
