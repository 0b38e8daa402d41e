from __future__ import annotations

import gc
import logging
import threading
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse
import sparse
from dask.sizeof import sizeof

from dask_mlsched.extension.device_store import DeviceStore
from dask_mlsched.extension.devices import EmulatedDevice
from fake_device import LIMIT, NBYTES, PATIENCE_SECONDS, FakeDevice, array
from store_books import check, check_counts

MakeStore = Callable[..., DeviceStore]


@pytest.fixture
def device() -> FakeDevice:
    return FakeDevice()


@pytest.fixture
def make(device: FakeDevice) -> Iterator[MakeStore]:
    """Makes stores whose books must be right at the end."""
    stores = []

    def make(**settings: Any) -> DeviceStore:
        stores.append(DeviceStore(**{"device_memory_limit": LIMIT, "device": device, **settings}))
        return stores[-1]

    yield make
    for store in stores:
        store.close()
        check(store)
        check_counts(store, device)


@pytest.fixture
def store(make: MakeStore) -> DeviceStore:
    """Without a thread."""
    return make(loads_ahead=False)


@pytest.fixture
def beside(make: MakeStore) -> DeviceStore:
    """With a thread; arrays 0 and 1 have left for the host, 2 to 5 fill the device."""
    store = make()
    for i in range(6):
        store[i] = array(i)
        copied(store)
    return store


def copied(store: DeviceStore) -> None:
    """Wait until the thread has done all that it was given."""
    assert store._copier is not None
    store._copier.submit(lambda: None).result(PATIENCE_SECONDS)


def resident(store: DeviceStore) -> list[object]:
    return [key for key, _ in store.resident()]


def on_host(store: DeviceStore) -> set[object]:
    return set(store) - set(resident(store))


# As a mapping


def test_an_array_enters_the_device_and_costs_nothing(store: DeviceStore, device: FakeDevice):
    value = array(1)
    store["a"] = value
    assert store["a"] is value
    assert store.resident() == [("a", NBYTES)]
    assert device.made == {"load": [], "evict": []}


def test_the_least_recently_used_array_leaves_when_the_device_is_over_its_limit(
    store: DeviceStore,
):
    for i in range(4):
        store[i] = array(i)
    store[0]
    store[4] = array(4)
    assert resident(store) == [2, 3, 0, 4]
    assert (store.statistics.evictions, store.statistics.bytes_evicted) == (1, NBYTES)


def test_reading_an_array_on_the_host_brings_it_back_and_keeps_the_copy(store: DeviceStore):
    for i in range(5):
        store[i] = array(i)
    np.testing.assert_array_equal(store[0], 0)
    assert on_host(store) == {1}
    assert len(store._host.numbers()) == 2


@pytest.mark.parametrize(
    "chunk",
    [
        scipy.sparse.eye_array(100, format="csr"),
        sparse.COO.from_numpy(np.eye(100)),
        [np.ones(100), {"a": np.ones(100)}],
    ],
    ids=["csr", "COO", "nested"],
)
@pytest.mark.parametrize("host_memory_limit", [None, 1], ids=["memory", "disk"])
def test_whatever_the_emulated_device_holds_moves_and_comes_back(
    chunk: Any, host_memory_limit: int | None
):
    store = DeviceStore(
        device=EmulatedDevice("1000GB/s", "1ns"),
        device_memory_limit=sizeof(chunk) + 1,
        host_memory_limit=host_memory_limit,
        loads_ahead=False,
    )
    store["a"] = chunk
    store["b"] = np.ones(100)
    assert resident(store) == ["b"]
    back = store["a"]
    assert type(back) is type(chunk)
    if isinstance(chunk, list):
        np.testing.assert_equal(back, chunk)
    else:
        assert (back != chunk).nnz == 0


def test_what_a_task_gets_shares_no_memory_with_the_copy_on_the_host(store: DeviceStore):
    value = array(1)
    store["a"] = value
    assert store.arrays.evict("a")
    copy = store.peek("a")
    assert not np.shares_memory(copy, value)
    assert not np.shares_memory(copy, store["a"])


def test_what_is_no_array_stays_on_the_host_as_it_is(store: DeviceStore, device: FakeDevice):
    frame = {"not": "an array"}
    store["b"] = frame
    assert store["b"] is store.peek("b") is frame
    assert store.resident() == []
    assert device.made == {"load": [], "evict": []}


def test_what_is_no_array_goes_to_disk_too_and_comes_back(make: MakeStore, tmp_path: Path):
    store = make(host_memory_limit=100, worker_local_directory=str(tmp_path))
    store["a"], store["b"] = ["text"] * 100, {"some": "thing"} | dict.fromkeys(range(50))
    assert len(store._host.on_disk()) == 2
    assert store["a"] == ["text"] * 100
    assert len(store["b"]) == 51
    store["a"] = "other"
    assert store["a"] == "other"
    assert len(store) == 2


@pytest.mark.parametrize("before", [array(1), "text"], ids=["array", "object"])
@pytest.mark.parametrize("after", [array(2), "other"], ids=["array", "object"])
@pytest.mark.parametrize("evicted", [False, True])
def test_a_value_takes_the_place_of_one_of_any_kind(
    store: DeviceStore, before: Any, after: Any, evicted: bool
):
    store["a"] = before
    if evicted:
        store.arrays.evict("a")
    store["a"] = after
    assert store["a"] is after
    assert list(store) == ["a"]
    assert len(store) == 1
    assert store.arrays.books.nbytes == (0 if isinstance(after, str) else NBYTES)


def test_a_value_is_not_missing_while_another_takes_its_place(
    store: DeviceStore, monkeypatch: pytest.MonkeyPatch
):
    seen: list[object] = []
    discard = store._host.discard

    def look(number: int) -> None:
        seen.append(store["a"])
        discard(number)

    monkeypatch.setattr(store._host, "discard", look)
    values = ["text", "other", array(1), "text"]
    for value in values:
        store["a"] = value
    assert seen[:2] == ["other", values[2]]


def test_deleting_works_in_every_place(store: DeviceStore):
    store["host"], store["device"], store["other"] = array(1), array(2), "text"
    store.arrays.evict("host")
    for key in ("host", "device", "other"):
        del store[key]
        assert key not in store
        for ask in (store.__getitem__, store.peek, store.__delitem__):
            with pytest.raises(KeyError):
                ask(key)
    assert len(store) == store.arrays.books.nbytes == 0


def test_asking_what_is_there_moves_nothing(store: DeviceStore, device: FakeDevice):
    for i in range(5):
        store[i] = array(i)
    store["c"] = "text"
    device.made["evict"].clear()
    assert 0 in store
    assert "d" not in store
    assert set(store) == {0, 1, 2, 3, 4, "c"}
    assert len(store) == 6
    assert store.peek(0)[0] == 0
    assert store.peek(1) is store.peek(1)
    assert repr(store) == (
        "<DeviceStore: 320 of 320 bytes in 4 arrays on the fake device, "
        "1 arrays and 1 other objects on the host>"
    )
    assert resident(store) == [1, 2, 3, 4]
    assert device.made == {"load": [], "evict": []}
    device.made["evict"].append(NBYTES)


def test_dask_keys_of_every_kind_are_keys(make: MakeStore):
    store = make(host_memory_limit=1)
    for key in ("x", 1, 1.5, ("x", 0, 1), b"x", "1"):
        store[key] = array(1)  # type: ignore[index]
        assert store.arrays.evict(key)  # type: ignore[arg-type]
    assert len(store) == len(store._host.on_disk()) == 6


def test_the_worker_sees_nothing_that_it_could_spill(store: DeviceStore):
    # distributed.spill.ManualEvictProto, which its memory monitor looks for.
    assert not (hasattr(store, "fast") and hasattr(store, "evict"))
    assert not hasattr(store, "spilled_total")


@pytest.mark.parametrize(
    ("parameter", "value", "expected"),
    [
        ("device_memory_limit", "a lot", 'a size of 1 byte or more; write it like 64000000 or "64'),
        ("device_memory_limit", 0, 'a size of 1 byte or more; write it like 64000000 or "64MB"'),
        ("host_memory_limit", "-1GB", 'a size of 1 byte or more; write it like 64000000 or "64MB"'),
        ("host_memory_limit", 0, 'a size of 1 byte or more; write it like 64000000 or "64MB"'),
        ("device", "tpu", "'cuda', 'emulated', or a device of one's own"),
    ],
)
def test_a_wrong_parameter_is_named(parameter: str, value: Any, expected: str):
    parameters = {"device_memory_limit": 1, "device": "emulated", parameter: value}
    with pytest.raises(ValueError, match=f"^{parameter} is {value!r}; expected {expected}"):
        DeviceStore(**parameters)


# Arrays larger than the device


def test_an_array_larger_than_the_device_stays_on_the_host_and_pushes_nobody_out(
    store: DeviceStore, device: FakeDevice
):
    store["a"] = array(1)
    store["big"] = array(2, LIMIT + 8)
    for _ in range(2):
        np.testing.assert_array_equal(store["big"], 2)
        assert resident(store) == ["a"]
    assert device.made == {"evict": [LIMIT + 8], "load": [LIMIT + 8] * 2}


def test_one_that_would_not_go_is_asked_again_before_others(store: DeviceStore, device: FakeDevice):
    store["a"] = array(1)
    device.plans["evict"].append(RuntimeError())
    store["big"] = array(2, LIMIT + 8)
    assert resident(store) == ["a"]
    assert store.statistics.failed_copies == 1
    np.testing.assert_array_equal(store["big"], 2)


def test_one_that_never_goes_stays(store: DeviceStore, device: FakeDevice):
    device.plans["evict"] += [RuntimeError()] * 2
    value = array(2, LIMIT + 8)
    store["big"] = value
    assert store["big"] is value
    assert resident(store) == ["big"]


def test_one_is_never_loaded_ahead(beside: DeviceStore, device: FakeDevice):
    beside["big"] = array(2, LIMIT + 8)
    beside.expect("task", ["big"])
    copied(beside)
    assert device.made["load"] == []
    beside.end("task")
    beside.unexpect("task")


# Tasks that run


def test_what_a_running_task_uses_stays_also_beyond_the_limit(store: DeviceStore):
    for i in range(4):
        store[i] = array(i)
    store.begin("task", [0, 1, 2, 3], victims=[0, 1])
    for i in range(4, 7):
        store[i] = array(i)
    # The outputs of others leave before; the last one may be in use by the time it is here.
    assert resident(store)[:4] == [0, 1, 2, 3]
    assert not store.arrays.evict(0)
    store.end("task")
    store[7] = array(7)
    assert 0 not in resident(store)
    assert store.arrays.books.nbytes == LIMIT


def test_what_several_tasks_use_stays_until_the_last_one_ends(store: DeviceStore):
    store["a"] = array(1)
    store.begin("first", ["a"])
    store.begin("second", ["a"])
    store.end("first")
    assert not store.arrays.evict("a")
    store.end("second")
    assert store.arrays.evict("a")


def test_hints_may_come_twice_late_or_of_the_unknown(store: DeviceStore):
    store["a"] = array(1)
    for _ in range(2):
        store.begin("task", ["a", "unknown"], victims=["unknown"])
    for _ in range(2):
        store.end("task")
    store.unexpect("task")
    assert not store.arrays.books.used
    assert not store._running


def test_what_is_in_use_may_be_replaced_and_deleted(store: DeviceStore):
    store["a"] = array(1)
    store.begin("task", ["a"])
    store["a"] = array(2)
    assert not store.arrays.evict("a")
    del store["a"]
    store.end("task")
    assert not store.arrays.books.used


def test_what_was_named_leaves_first_unless_it_was_read_since(store: DeviceStore):
    for i in range(4):
        store[i] = array(i)
    store.begin("task", [3], victims=[2, 1, 3])
    store[2]
    store[4] = array(4)
    assert on_host(store) == {1}
    store.end("task")
    store[5] = array(5)
    assert on_host(store) == {0, 1}


def test_all_tasks_can_be_forgotten(beside: DeviceStore):
    beside.begin("running", [2, 3])
    beside.expect("next", [4])
    beside.forget_tasks()
    assert not beside.arrays.books.used
    assert not beside.arrays.books.soon


# Loads ahead


def test_what_an_expected_task_reads_is_loaded_beside(beside: DeviceStore, device: FakeDevice):
    gate = device.hold("load")
    beside.expect("task", [0, 1])
    gate.begun()
    assert on_host(beside) == {0, 1, 2}  # the test goes on meanwhile
    gate.let_go()
    copied(beside)
    assert resident(beside) == [4, 5, 0, 1]
    assert beside.statistics.loads_ahead == 2
    beside.begin("task", [0, 1])
    assert beside[0][0] == 0
    assert beside.statistics.loads == 2
    beside.end("task")


def test_one_who_reads_what_is_loaded_ahead_waits_for_that_load(
    beside: DeviceStore, device: FakeDevice
):
    gate = device.hold("load")
    beside.expect("task", [0])
    gate.begun()
    reader = threading.Thread(target=beside.__getitem__, args=(0,), daemon=True)
    reader.start()
    gate.let_go()
    reader.join(PATIENCE_SECONDS)
    assert not reader.is_alive()
    assert device.made["load"] == [NBYTES]
    beside.unexpect("task")


def test_without_room_what_is_expected_stays_and_is_counted(beside: DeviceStore):
    beside.begin("running", [2, 3, 4, 5])
    beside.expect("task", [0])
    copied(beside)
    assert on_host(beside) == {0, 1}
    assert beside.statistics.no_room_ahead == 1
    # The task itself gets it, whatever it takes.
    beside.begin("task", [0])
    assert beside[0][0] == 0
    assert resident(beside) == [2, 3, 4, 5, 0]
    beside.end("task")
    beside.end("running")


def test_a_load_ahead_pushes_out_nothing_that_is_expected_but_a_read_does(beside: DeviceStore):
    beside.expect("first", [2, 3, 4, 5])
    beside.expect("second", [0])
    copied(beside)
    assert beside.statistics.no_room_ahead == 1
    assert beside[0][0] == 0
    assert on_host(beside) == {1, 2}
    beside.forget_tasks()


def test_what_was_named_for_an_expected_task_makes_its_room(beside: DeviceStore):
    beside.expect("task", [0], victims=[4])
    copied(beside)
    assert resident(beside) == [2, 3, 5, 0]
    beside.unexpect("task")


def test_what_is_no_longer_expected_is_not_loaded(beside: DeviceStore, device: FakeDevice):
    gate = device.hold("load")
    beside.expect("first", [0])
    gate.begun()
    beside.expect("second", [1])
    beside.unexpect("second")
    gate.let_go()
    copied(beside)
    assert device.made["load"] == [NBYTES]
    beside.unexpect("first")


def test_a_task_that_runs_is_not_expected_any_more(beside: DeviceStore):
    beside.begin("task", [2])
    beside.expect("task", [0])
    copied(beside)
    assert not beside._next
    assert beside.statistics.loads == 0
    beside.end("task")


def test_a_load_ahead_that_fails_is_counted_and_the_reader_s_own_is_made(
    beside: DeviceStore, device: FakeDevice, caplog: pytest.LogCaptureFixture
):
    device.plans["load"].append(RuntimeError("the bus is gone"))
    with caplog.at_level(logging.WARNING):
        beside.expect("task", [0])
        copied(beside)
    assert "array 0 of 80 bytes could not be loaded ahead" in caplog.text
    assert beside.statistics.failed_copies == 1
    assert beside[0][0] == 0
    beside.unexpect("task")


def test_without_memory_on_the_device_nothing_expected_leaves_for_it(
    beside: DeviceStore, device: FakeDevice
):
    del beside[5]
    beside.expect("first", [2, 3, 4])
    copied(beside)
    device.plans["load"].append(MemoryError())
    beside.expect("second", [0])
    copied(beside)
    assert resident(beside) == [2, 3, 4]
    assert beside.statistics.failed_copies == 1
    beside.forget_tasks()


def test_an_expected_array_that_is_deleted_on_its_way_is_no_failure(
    beside: DeviceStore, device: FakeDevice
):
    gate = device.hold("load")
    beside.expect("task", [0])
    gate.begun()
    del beside[0]
    gate.let_go()
    copied(beside)
    assert beside.statistics.failed_copies == 0
    assert 0 not in beside
    beside.unexpect("task")


def test_an_insertion_leaves_it_to_the_thread_to_make_room(beside: DeviceStore, device: FakeDevice):
    gate = device.hold("evict")
    beside[6] = array(6)
    gate.begun()
    assert resident(beside) == [2, 3, 4, 5, 6]
    gate.let_go()
    copied(beside)
    assert resident(beside) == [3, 4, 5, 6]


def test_the_next_insertion_waits_for_that_room(beside: DeviceStore, device: FakeDevice):
    gate = device.hold("evict")
    beside[6] = array(6)
    gate.begun()
    inserted = threading.Event()
    most: list[int] = []

    def insert() -> None:
        beside[7] = array(7)
        inserted.set()

    device.plans["evict"].append(lambda: most.append(beside.arrays.books.nbytes))
    thread = threading.Thread(target=insert, daemon=True)
    thread.start()
    assert not inserted.is_set()
    gate.let_go()
    thread.join(PATIENCE_SECONDS)
    assert inserted.is_set()
    copied(beside)
    assert most == [LIMIT + NBYTES]
    assert beside.arrays.books.peak == LIMIT + NBYTES


def test_a_store_that_is_told_not_to_loads_nothing_ahead(store: DeviceStore, device: FakeDevice):
    store["a"] = array(1)
    store.arrays.evict("a")
    store.expect("task", ["a"])
    assert device.made["load"] == []
    assert not store._next


# Its thread and its folder


def threads() -> list[threading.Thread]:
    return [each for each in threading.enumerate() if each.name.startswith("mlsched-copier")]


def test_no_thread_is_left_when_it_is_closed_and_it_can_still_be_used(beside: DeviceStore):
    before = len(threads())
    for _ in range(2):
        beside.close()
    assert len(threads()) == before - 1
    beside.expect("task", [0])
    for i in range(8):
        beside[i] = array(i)
    assert [beside[i][0] for i in range(8)] == list(range(8))
    assert beside.arrays.books.nbytes == LIMIT


def test_one_who_inserts_while_it_is_closed_makes_room_itself(
    beside: DeviceStore, device: FakeDevice
):
    gate = device.hold("evict")
    beside[6] = array(6)
    gate.begun()
    copier = beside._copier
    closing = threading.Thread(target=beside.close, daemon=True)
    closing.start()
    while beside._copier is not None:
        closing.join(0.001)
    beside._copier = copier  # as one saw it who looked a moment before
    gate.let_go()
    closing.join(PATIENCE_SECONDS)
    beside[7] = array(7)
    assert beside.arrays.books.nbytes == LIMIT
    beside._copier = None


def test_a_store_that_is_dropped_takes_its_thread_along(device: FakeDevice):
    store = DeviceStore(device_memory_limit=LIMIT, device=device)
    before = set(threads())
    copied(store)
    (thread,) = set(threads()) - before
    reference = weakref.ref(store)
    del store
    gc.collect()
    assert reference() is None
    thread.join(PATIENCE_SECONDS)
    assert not thread.is_alive()


@pytest.mark.parametrize("closed", [False, True])
def test_the_folder_goes_with_the_store(device: FakeDevice, tmp_path: Path, closed: bool):
    store = DeviceStore(
        str(tmp_path), device_memory_limit=LIMIT, device=device, host_memory_limit=1
    )
    store["a"] = "text"
    (folder,) = tmp_path.iterdir()
    assert len(list(folder.iterdir())) == 1
    if closed:
        store.close()
        assert store["a"] == "text"
    del store
    gc.collect()
    assert list(tmp_path.iterdir()) == []
