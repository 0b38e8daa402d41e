"""What holds of a device's store whenever nothing is on its way, checked against its books."""

from __future__ import annotations

from pathlib import Path

from distributed.sizeof import safe_sizeof

from dask_mlsched.extension.device_store import DeviceStore
from dask_mlsched.extension.host_tier import HostTier
from fake_device import FakeDevice


def check(store: DeviceStore) -> None:
    """Fail unless the store's books agree with one another, and with what is on the host."""
    books, arrays = store.arrays.books, store.arrays._arrays
    assert books.reserved == 0
    assert books.leaving == 0
    assert books.nbytes == sum(array.nbytes for array in books.arrays.values())
    assert books.nbytes <= books.peak
    assert books.victims.keys() <= books.arrays.keys()
    for key, array in arrays.items():
        assert array.key == key
        assert array.moving is None
        assert not array.gone
        if array.value is None:
            assert key not in books.arrays
            assert array.copied
        else:
            assert books.arrays[key] is array
            assert store.keeps_clean or not array.copied
            assert array.nbytes == safe_sizeof(array.value)
    assert books.arrays.keys() <= arrays.keys()
    assert not arrays.keys() & store._others.keys()
    check_pins(store)
    on_host = {array.number for array in arrays.values() if array.copied}
    check_host(store._host)
    assert store._host.numbers() == on_host | set(store._others.values())


def check_pins(store: DeviceStore) -> None:
    """Fail unless what is in use is what tasks use that run or come next."""
    books = store.arrays.books
    for counts, tasks in ((books.used, store._running), (books.soon, store._next)):
        expected: dict[object, int] = {}
        for keys in tasks.values():
            for key in keys:
                expected[key] = expected.get(key, 0) + 1
        assert dict(counts) == expected


def check_host(host: HostTier) -> None:
    """Fail unless each object is in one place, and the folder has no other file."""
    in_memory, kept = set(host._memory), set(host._unwritable)
    assert not in_memory & kept
    assert not (in_memory | kept) & host.on_disk()
    assert host.memory_bytes == sum(safe_sizeof(host.get(n)) for n in in_memory | kept)
    assert len(files_of(host)) == len(host.on_disk())
    for number in host.on_disk():
        host.get(number)


def check_counts(store: DeviceStore, device: FakeDevice) -> None:
    """Fail unless every copy that the device made was counted once, in its direction."""
    counted = store.statistics
    assert (counted.loads, counted.bytes_loaded) == (
        len(device.made["load"]),
        sum(device.made["load"]),
    )
    # One that left without a copy counts as an eviction of nothing.
    assert counted.evictions >= len(device.made["evict"])
    assert counted.bytes_evicted == sum(device.made["evict"])


def files_of(host: HostTier) -> list[Path]:
    """List what is in the tier's folder, if it has one."""
    return [] if host.limit is None else sorted(host._folder.iterdir())
