"""One contract for the adapters of every kind of store."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, MutableMapping
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zict
from distributed.spill import SpillBuffer

from dask_mlsched.extension import device_copy
from dask_mlsched.extension.device_store import DeviceStore
from dask_mlsched.extension.devices import EmulatedDevice
from dask_mlsched.extension.emulated_host_file import EmulatedHostFile
from dask_mlsched.extension.moves import Move, TierStatistics
from dask_mlsched.extension.tiers import DeviceStoreTier, Tier, adapt
from stand_in_device import to_device, to_host
from store_books import check

Store = MutableMapping[Any, Any]

LIMIT = 800
#: Eight of them fit.
NBYTES = 100

BUFFERS = [
    "emulated-device",
    "spill-buffer",
    pytest.param("device-host-file", marks=pytest.mark.dask_cuda),
]
KINDS = ["device-store", *BUFFERS]

#: For what only those do that have a ``zict.Buffer`` inside.
buffers_only = pytest.mark.parametrize("kind", BUFFERS, indirect=True)


def make_store(kind: str, directory: Path, limit: int | None = LIMIT) -> Store:
    if kind == "device-store":
        # Without a thread, so that all has moved when a call returns.
        device = EmulatedDevice("1GB/s", "10us")
        return DeviceStore(device_memory_limit=limit or 1, device=device, loads_ahead=False)
    if kind == "emulated-device":
        return EmulatedHostFile(limit or 1, bandwidth="1GB/s", latency="10us")
    if kind == "spill-buffer":
        return SpillBuffer(str(directory), target=limit or sys.maxsize)
    module = pytest.importorskip("dask_cuda.device_host_file")
    store: Store = module.DeviceHostFile(str(directory), device_memory_limit=limit)
    return store


def buffer_of(store: Store) -> zict.Buffer[Any, Any]:
    if isinstance(store, EmulatedHostFile):
        return store.buffer
    return getattr(store, "device_buffer", store)  # type: ignore[return-value]


def chunk(fill: int, nbytes: int = NBYTES) -> np.ndarray:
    return to_device(np.full(nbytes, fill, dtype="u1"))


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def store(kind: str, tmp_path: Path) -> Store:
    return make_store(kind, tmp_path)


@pytest.fixture
def tier(store: Store) -> Iterator[Tier]:
    tier = adapt(store)
    assert tier is not None
    yield tier
    assert tier.statistics.callback_errors == 0
    assert tier.resident_bytes() == sum(nbytes for _, nbytes in tier.snapshot())
    # Whatever the test did, what is there can be read.
    for key in list(store):
        assert store[key] is not None
    tier.detach()


@pytest.fixture
def moves(tier: Tier) -> list[Move]:
    moves: list[Move] = []
    tier.attach(moves.append)
    return moves


def fill(store: Store, count: int) -> None:
    for i in range(count):
        store["k", i] = chunk(i)


def test_a_store_is_known_by_kind_and_limit(kind: str, tier: Tier):
    assert tier.kind == kind
    assert tier.limit == LIMIT
    assert tier.resident() == []
    assert tier.resident_bytes() == 0


def test_what_is_resident_comes_least_recently_used_first(store: Store, tier: Tier):
    fill(store, 3)
    store["k", 0]
    assert tier.snapshot() == [(("k", 1), NBYTES), (("k", 2), NBYTES), (("k", 0), NBYTES)]
    assert tier.resident() == [("k", 1), ("k", 2), ("k", 0)]
    assert tier.resident_bytes() == 3 * NBYTES


def test_inserting_and_deleting_within_the_limit_is_no_move(store: Store, moves: list[Move]):
    fill(store, 8)
    del store["k", 0]
    assert moves == []


def test_an_eviction_is_reported_after_it(store: Store, moves: list[Move]):
    fill(store, 9)
    (move,) = moves
    assert (move.key, move.direction, move.nbytes) == (("k", 0), "evict", NBYTES)
    assert move.resident_bytes == 8 * NBYTES
    assert 0 < move.seconds < 1


def test_a_load_is_reported_after_the_evictions_it_makes(
    store: Store, tier: Tier, moves: list[Move]
):
    fill(store, 9)
    moves.clear()
    np.testing.assert_array_equal(to_host(store["k", 0]), 0)
    assert [(m.key, m.direction) for m in moves] == [(("k", 1), "evict"), (("k", 0), "load")]
    assert moves[1].nbytes == NBYTES
    assert moves[1].resident_bytes == tier.resident_bytes() == 8 * NBYTES
    assert 0 < moves[1].seconds < 1
    assert moves[0].time <= moves[1].time


def test_reading_what_is_resident_is_no_move(store: Store, moves: list[Move]):
    fill(store, 8)
    store["k", 0]
    assert moves == []


def test_what_is_larger_than_the_limit_is_loaded_but_never_resident(
    store: Store, tier: Tier, moves: list[Move]
):
    store["big"] = chunk(1, LIMIT + 1)
    np.testing.assert_array_equal(to_host(store["big"]), 1)
    assert [(m.direction, m.nbytes) for m in moves] == [
        ("evict", LIMIT + 1),
        ("load", LIMIT + 1),
    ]
    assert tier.resident() == []
    assert moves[-1].resident_bytes == 0
    assert tier.load("big") is False


def test_totals_are_the_sum_of_all_moves(store: Store, tier: Tier, moves: list[Move]):
    fill(store, 20)
    for i in range(0, 20, 3):
        store["k", i]
    totals = TierStatistics()
    for move in moves:
        totals.add(move.direction, move.nbytes, move.seconds)
    assert tier.statistics == totals
    assert totals.loads > 2
    assert totals.evictions == 12 + totals.loads


def test_a_chosen_array_can_be_evicted(store: Store, tier: Tier, moves: list[Move]):
    fill(store, 3)
    assert tier.evict(("k", 1)) is True
    assert tier.resident() == [("k", 0), ("k", 2)]
    assert [(m.key, m.direction) for m in moves] == [(("k", 1), "evict")]
    assert tier.evict(("k", 1)) is False
    assert tier.evict("unknown") is False
    assert len(moves) == 1


def test_a_chosen_array_can_be_loaded(store: Store, tier: Tier, moves: list[Move]):
    fill(store, 9)
    moves.clear()
    assert tier.load(("k", 0)) is True
    assert tier.resident()[-1] == ("k", 0)
    assert [m.direction for m in moves] == ["evict", "load"]
    assert tier.load(("k", 0)) is True
    assert tier.load("unknown") is False
    assert len(moves) == 2


def test_to_load_what_is_resident_makes_it_the_latest(store: Store, tier: Tier):
    fill(store, 3)
    assert tier.load(("k", 0))
    assert tier.resident()[-1] == ("k", 0)


def test_what_a_listener_raises_is_counted_and_the_store_does_not_notice(store: Store, tier: Tier):
    def broken(move: Move) -> None:
        raise RuntimeError(move.key)

    tier.attach(broken)
    fill(store, 9)
    np.testing.assert_array_equal(to_host(store["k", 0]), 0)
    assert tier.resident_bytes() == LIMIT
    assert tier.statistics.callback_errors == 3
    tier.statistics.callback_errors = 0


@buffers_only
def test_detaching_leaves_the_store_as_it_was_found(store: Store, tier: Tier):
    def other(key: Any, value: Any) -> None:
        """Somebody else's callback."""

    buffer = buffer_of(store)
    buffer.fast_to_slow_callbacks.append(other)
    before = dict(vars(buffer))
    callbacks = list(buffer.fast_to_slow_callbacks), list(buffer.slow_to_fast_callbacks)
    moves: list[Move] = []
    tier.attach(moves.append)
    fill(store, 9)
    tier.detach()
    assert vars(buffer) == before
    assert (buffer.fast_to_slow_callbacks, buffer.slow_to_fast_callbacks) == callbacks
    assert buffer.slow is before["slow"]
    store["k", 0]
    assert len(moves) == 1


def test_detaching_twice_is_harmless(tier: Tier):
    tier.detach()
    tier.attach(lambda _: None)
    tier.detach()
    tier.detach()


def test_attaching_twice_is_refused(tier: Tier):
    tier.attach(lambda _: None)
    with pytest.raises(RuntimeError, match="attached already; detach it first"):
        tier.attach(lambda _: None)


def test_an_adapter_can_be_attached_again(store: Store, tier: Tier, moves: list[Move]):
    fill(store, 9)
    tier.detach()
    tier.attach(moves.append)
    store["k", 0]
    assert tier.statistics.evictions == 2
    assert len(moves) == 3


@buffers_only
@pytest.mark.parametrize("first", [0, 1])
def test_two_adapters_of_one_store_may_leave_in_any_order(store: Store, first: int):
    slow = buffer_of(store).slow
    tiers, moves = [], []
    for _ in range(2):
        tier = adapt(store)
        assert tier is not None
        tier.attach(moves.append)
        tiers.append(tier)
    fill(store, 9)
    assert len(moves) == 2
    assert all(move.seconds > 0 for move in moves)
    tiers[first].detach()
    store["k", 0]
    assert len(moves) == 4
    tiers[1 - first].detach()
    assert buffer_of(store).slow is slow
    store["k", 1]
    assert len(moves) == 4


def test_moves_of_several_threads_all_count(store: Store, tier: Tier, moves: list[Move]):
    def work(name: int) -> None:
        for i in range(10):
            store[name, i] = chunk(i)
        for i in range(10):
            np.testing.assert_array_equal(to_host(store[name, i]), i)

    if tier.kind == "device-host-file":
        pytest.skip("only the event loop's thread may use it")
    threads = [threading.Thread(target=work, args=(name,)) for name in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(tier.resident()) <= 8
    loads = sum(move.direction == "load" for move in moves)
    assert tier.statistics.loads == loads > 0
    if tier.kind == "device-store":
        # It also counts the copy of an array that was read on its way out, and stayed.
        assert tier.statistics.evictions >= len(moves) - loads
    else:
        assert tier.statistics.evictions == len(moves) - loads


@pytest.mark.parametrize(
    "kind",
    [
        "device-store",
        "emulated-device",
        pytest.param("device-host-file", marks=pytest.mark.dask_cuda),
    ],
)
def test_host_objects_are_not_resident_and_do_not_move(store: Store, moves: list[Move]):
    tier = adapt(store)
    assert tier is not None
    store["text"] = "x" * 2 * LIMIT
    assert tier.resident() == []
    assert tier.load("text") is False
    assert tier.evict("text") is False
    assert store["text"] == "x" * 2 * LIMIT
    assert moves == []


# Hints.


def task(*reads: int) -> dict[Any, int]:
    return {("k", i): NBYTES for i in reads}


def test_what_a_running_task_uses_stays_and_what_was_named_leaves(store: Store, tier: Tier):
    fill(store, 8)
    tier.begin("first", task(0, 1), [])
    tier.begin("second", task(2), [("k", 0), ("k", 5), "unknown"])
    store["k", 8] = chunk(8)
    resident = tier.resident()
    assert ("k", 5) not in resident
    assert {("k", 0), ("k", 1), ("k", 2)} <= set(resident)
    for name in ("first", "second", "unknown"):
        tier.end(name)
    tier.begin("third", task(), [("k", 0)])
    store["k", 9] = chunk(9)
    assert ("k", 0) not in tier.resident()


@buffers_only
def test_what_expected_tasks_read_is_loaded_array_by_array(
    store: Store, tier: Tier, moves: list[Move]
):
    fill(store, 11)
    moves.clear()
    assert tier.expect("task", task(0, 1, 9), []) is True
    assert [tier.load_next() for _ in range(4)] == [True, True, False, False]
    assert [m.key for m in moves if m.direction == "load"] == [("k", 0), ("k", 1)]
    assert {("k", 0), ("k", 1), ("k", 9)} <= set(tier.resident())
    assert tier.statistics.loads_ahead == tier.statistics.loads == 2


@buffers_only
def test_what_is_loaded_ahead_pushes_out_neither_what_runs_nor_what_it_goes_with(
    store: Store, tier: Tier
):
    fill(store, 16)
    # The task that runs has read what it uses a long time ago.
    running, expected = task(8, 9, 10, 11), task(12, 0, 1, 2)
    tier.begin("running", running, [])
    tier.expect("task", expected, [])
    while tier.load_next():
        pass
    assert set(tier.resident()) == {*running, *expected}


@buffers_only
def test_without_room_nothing_is_loaded(store: Store, tier: Tier, moves: list[Move]):
    fill(store, 9)
    store["large"] = chunk(1, 4 * NBYTES)
    # Five arrays are left beside it, of which four are in use: the large one fits, no other.
    assert tier.evict("large")
    fill(store, 5)
    moves.clear()
    tier.begin("running", task(0, 1, 2, 3, 4), [])
    tier.expect("task", {"large": 4 * NBYTES}, [])
    assert tier.load_next() is False
    assert moves == []
    assert tier.statistics.loads_ahead == 0
    tier.end("running")
    tier.expect("task", {"large": 4 * NBYTES}, [])
    assert tier.load_next() is True
    assert "large" in tier.resident()


@buffers_only
def test_one_without_room_does_not_keep_others_from_coming(store: Store, tier: Tier):
    fill(store, 9)
    tier.expect("large", {("k", 0): LIMIT + 1}, [])
    tier.expect("task", task(0), [])
    assert tier.load_next() is True
    assert ("k", 0) in tier.resident()


@buffers_only
@pytest.mark.parametrize("how", ["begun", "ended", "gone"])
def test_what_is_no_longer_expected_is_not_loaded(store: Store, tier: Tier, how: str):
    fill(store, 9)
    tier.expect("task", task(0), [])
    if how == "begun":
        tier.begin("task", task(0), [])
    elif how == "ended":
        tier.end("task")
    else:
        del store["k", 0]
    assert tier.load_next() is False
    assert tier.statistics.loads == 0


def test_a_load_ahead_that_fails_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    store = make_store("emulated-device", tmp_path)
    tier = adapt(store)
    assert tier is not None
    fill(store, 9)

    def no_memory(_: Any) -> None:
        raise MemoryError

    tier.expect("task", task(0), [])
    with monkeypatch.context() as patch:
        patch.setattr(device_copy, "copy_array", no_memory)
        assert tier.load_next() is False
    assert tier.statistics.callback_errors == 1
    assert tier.statistics.loads_ahead == 0
    assert tier.load_next() is False
    np.testing.assert_array_equal(to_host(store["k", 0]), 0)


# What only one kind of store has.


@pytest.fixture
def copier() -> Iterator[DeviceStore]:
    """Our own store with a thread that copies; array 0 has left."""
    device = EmulatedDevice("1GB/s", "10us")
    with closing(DeviceStore(device_memory_limit=LIMIT, device=device)) as store:
        fill(store, 9)
        copied(store)
        yield store
        check(store)


def copied(store: DeviceStore) -> None:
    """Wait until the thread has done all that it was given."""
    assert store._copier is not None
    store._copier.submit(lambda: None).result(30)


def test_our_device_store_says_what_it_does(copier: DeviceStore):
    tier = adapt(copier)
    assert isinstance(tier, DeviceStoreTier)
    assert tier.keeps_clean
    assert tier.copies_beside
    store = DeviceStore(
        device_memory_limit=1, device="emulated", keep_clean=False, loads_ahead=False
    )
    tier = adapt(store)
    assert tier is not None
    assert not tier.keeps_clean
    assert not tier.copies_beside


def test_our_device_store_loads_ahead_by_itself(copier: DeviceStore):
    tier = adapt(copier)
    assert tier is not None
    assert tier.expect("task", task(0), [("k", 4)]) is False
    assert tier.load_next() is False
    copied(copier)
    assert ("k", 0) in tier.resident()
    assert ("k", 4) not in tier.resident()
    assert tier.statistics.loads_ahead == 1
    tier.end("task")
    assert not copier._next


def test_what_our_device_store_uses_is_not_evicted_by_name(copier: DeviceStore):
    tier = adapt(copier)
    assert tier is not None
    tier.begin("task", task(3), [])
    assert tier.evict(("k", 3)) is False
    tier.end("task")
    assert tier.evict(("k", 3)) is True


def test_detaching_lets_go_of_what_tasks_use_and_calls_nobody(copier: DeviceStore):
    tier = adapt(copier)
    assert tier is not None
    moves: list[Move] = []
    tier.attach(moves.append)
    tier.begin("running", task(3), [])
    tier.expect("next", task(0), [])
    tier.detach()
    assert not copier.arrays.books.used
    assert not copier.arrays.books.soon
    copied(copier)
    moves.clear()
    copier["k", 1]
    assert tier.evict(("k", 3)) is True
    assert moves == []


def test_a_device_that_fails_is_none_of_the_caller_s_business(
    copier: DeviceStore, monkeypatch: pytest.MonkeyPatch
):
    tier = adapt(copier)
    assert tier is not None

    def broken(_: Any) -> None:
        raise RuntimeError

    with monkeypatch.context() as patch:
        patch.setattr(device_copy, "copy_array", broken)
        assert tier.evict(("k", 1)) is False
        del copier["k", 1]  # so that there is room
        assert tier.load(("k", 0)) is False
    assert tier.statistics.callback_errors == tier.statistics.failed_copies == 1
    assert tier.load(("k", 0)) is True


def test_our_own_store_counts_what_its_adapter_counts():
    store = EmulatedHostFile(LIMIT, bandwidth="1GB/s", latency="10us")
    tier = adapt(store)
    assert tier is not None
    tier.attach(lambda _: None)
    fill(store, 20)
    for i in range(20):
        store["k", i]
    ours, own = tier.statistics, store.statistics
    assert (ours.loads, ours.bytes_loaded) == (own.loads, own.bytes_loaded)
    assert (ours.evictions, ours.bytes_evicted) == (own.evictions, own.bytes_evicted)
    assert own.load_seconds <= ours.load_seconds < own.load_seconds + 0.01
    assert own.evict_seconds <= ours.evict_seconds < own.evict_seconds + 0.01


def test_a_spill_buffer_keeps_its_own_interface_while_it_is_watched(tmp_path: Path):
    store = make_store("spill-buffer", tmp_path)
    assert isinstance(store, SpillBuffer)
    tier = adapt(store)
    assert tier is not None
    moves: list[Move] = []
    tier.attach(moves.append)
    fill(store, 9)
    assert store.spilled_total.memory == NBYTES
    assert list(store.disk) == [("k", 0)]
    assert store.cumulative_metrics["disk-write", "count"] == 1
    assert sorted(key for key, _ in store.items()) == [("k", i) for i in range(9)]
    assert len(list(store.values())) == 9
    # The memory monitor does this when the process has grown too large.
    assert store.evict() == NBYTES
    assert [(m.key, m.direction) for m in moves] == [(("k", 0), "evict"), (("k", 1), "evict")]


def test_a_spill_buffer_that_cannot_spill_says_so(tmp_path: Path):
    store = SpillBuffer(str(tmp_path), target=LIMIT, max_spill=1)
    tier = adapt(store)
    assert tier is not None
    moves: list[Move] = []
    tier.attach(moves.append)
    store["a"] = chunk(1)
    store["b"] = threading.Lock()  # no serializer takes it
    assert tier.evict("a") is False
    assert tier.evict("b") is False
    assert tier.statistics.callback_errors == 2
    assert tier.resident() == ["a", "b"]
    assert moves == []


def test_a_callback_after_ours_that_raises_leaves_the_snapshot_right(tmp_path: Path):
    store = make_store("emulated-device", tmp_path)
    tier = adapt(store)
    assert tier is not None
    tier.attach(lambda _: None)

    def full(key: Any, value: Any) -> None:
        raise OSError

    buffer_of(store).fast_to_slow_callbacks.append(full)
    fill(store, 8)
    assert tier.evict(("k", 0)) is False
    assert ("k", 0) in tier.resident()
    assert tier.statistics.evictions == 1


def test_someone_elses_wrapper_around_ours_is_left_alone(tmp_path: Path):
    store = make_store("emulated-device", tmp_path)
    tier = adapt(store)
    assert tier is not None
    moves: list[Move] = []
    tier.attach(moves.append)
    wrapper: zict.Cache[Any, Any] = zict.Cache(buffer_of(store).slow, {})
    buffer_of(store).slow = wrapper
    tier.detach()
    assert buffer_of(store).slow is wrapper
    fill(store, 9)
    np.testing.assert_array_equal(to_host(store["k", 0]), 0)
    assert moves == []


# Stores without tiers.


@pytest.mark.parametrize(
    "make",
    [
        lambda _: {},
        lambda _: zict.LRU(10, {}),
        lambda path: make_store("spill-buffer", path, None),
        pytest.param(
            lambda path: make_store("device-host-file", path, None), marks=pytest.mark.dask_cuda
        ),
    ],
    ids=["dict", "lru", "spill-buffer-without-target", "device-host-file-without-limit"],
)
def test_a_store_without_two_tiers_has_no_adapter(make: Callable[[Path], Store], tmp_path: Path):
    assert adapt(make(tmp_path)) is None


def test_asking_does_not_import_dask_cuda():
    code = (
        "import sys; from dask_mlsched.extension.tiers import adapt; "
        "adapt({}); assert 'dask_cuda' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
