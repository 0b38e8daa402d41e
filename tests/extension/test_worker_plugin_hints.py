"""What the worker's half tells a store of tasks: what they read next, and what they use."""

from __future__ import annotations

import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import dask
import numpy as np
import pytest
from distributed import Client, Event, Worker, wait

from dask_mlsched.extension import hints
from dask_mlsched.extension.cluster import LocalDeviceCluster
from dask_mlsched.extension.device_store import DeviceStore
from dask_mlsched.extension.handle import install
from dask_mlsched.extension.worker_plugin import TOPIC, MLWorkerPlugin, worker_statistics
from sample_tasks import added, chunk, fail, fail_until, sum_of_subtasks_after_secede, wait_then
from store_books import check

pytestmark = pytest.mark.integration

#: Room for ten chunks of 10 kB.
DEVICE = {"device_memory_limit": "100kB", "bandwidth": "10GB/s", "latency": "1us"}
QUIET: dict[str, Any] = {"processes": False, "dashboard_address": ":0"}


@pytest.fixture(scope="module")
def cluster() -> Iterator[LocalDeviceCluster]:
    with LocalDeviceCluster(1, store="device", **DEVICE, **QUIET) as cluster:
        yield cluster


@pytest.fixture
def client(cluster: LocalDeviceCluster) -> Iterator[Client]:
    with Client(cluster) as client:
        client.register_plugin(MLWorkerPlugin())
        yield client
        nothing_is_in_use(store_of(cluster))
        (statistics,) = client.run(worker_statistics).values()
        assert statistics["errors"] == statistics["callback_errors"] == 0
        client.unregister_worker_plugin(MLWorkerPlugin.name)
        check_when_quiet(store_of(cluster))


def worker_of(cluster: LocalDeviceCluster) -> Worker:
    (worker,) = cluster.workers.values()
    assert isinstance(worker, Worker)
    return worker


def store_of(cluster: LocalDeviceCluster) -> DeviceStore:
    store = worker_of(cluster).data
    assert isinstance(store, DeviceStore)
    return store


def nothing_is_in_use(store: DeviceStore) -> None:
    """Wait until no task is left of which the store was told."""
    for _ in range(1000):
        if not store._running and not store._next:
            break
        time.sleep(0.01)
    assert not store._running
    assert not store._next
    assert not store.arrays.books.used
    assert not store.arrays.books.soon


def check_when_quiet(store: DeviceStore) -> None:
    """Check the books; the worker may still be letting arrays go, which changes them meanwhile."""
    deadline = time.monotonic() + 10
    while True:
        try:
            check(store)
        except (AssertionError, KeyError):
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
        else:
            return


def chunks(client: Client, count: int) -> list[Any]:
    made = [client.submit(chunk, 10, i, pure=False) for i in range(count)]
    wait(made)
    return made


def expected(client: Client, function: Any, *arguments: Any, **settings: Any) -> Any:
    """Submit a task whose inputs are to be loaded while it waits for a thread."""
    with dask.annotate(**{hints.ANNOTATION: [[], True]}):
        return client.submit(function, *arguments, pure=False, **settings)


def loaded_ahead(store: Any) -> None:
    """Wait until something was, for a task that waits for the one that holds the thread."""
    for _ in range(1000):
        if store.statistics.loads > 0:
            return
        time.sleep(0.01)
    raise AssertionError("nothing was loaded while the thread was busy")


def used(store: DeviceStore, *futures: Any) -> None:
    """Wait until the store keeps these for a task that runs."""
    keys = {future.key for future in futures}
    for _ in range(1000):
        if keys <= store.arrays.books.used.keys():
            return
        time.sleep(0.01)
    raise AssertionError(f"{keys} are not in use")


def test_what_does_not_fit_gives_the_right_results_and_is_loaded_ahead(
    client: Client, cluster: LocalDeviceCluster
):
    sources = chunks(client, 30)
    # They wait for the only thread while others run: what they read is loaded meanwhile.
    event = Event()
    gate = client.submit(wait_then, event.name, pure=False)
    pairs = [expected(client, added, one, other) for one, other in pairwise(sources)]
    loaded_ahead(store_of(cluster))
    event.set()
    for i, pair in enumerate(pairs):
        np.testing.assert_array_equal(pair.result(), i + i + 1)
    assert gate.result() is None
    (statistics,) = client.run(worker_statistics).values()
    assert statistics["loads_ahead"] > 0
    assert statistics["bytes_evicted"] > 0
    assert statistics["resident_bytes"] <= 100_000


def test_what_a_task_reads_stays_while_it_runs(client: Client, cluster: LocalDeviceCluster):
    store = store_of(cluster)
    sources = chunks(client, 3)
    event = Event()
    task = client.submit(wait_then, event.name, "done", *sources, pure=False)
    used(store, *sources)
    assert not store.arrays.evict(sources[0].key)
    event.set()
    assert task.result() == "done"
    nothing_is_in_use(store)
    assert store.arrays.evict(sources[0].key)


def test_what_a_waiting_task_reads_is_loaded_while_another_runs(
    client: Client, cluster: LocalDeviceCluster
):
    store = store_of(cluster)
    (source,) = chunks(client, 1)
    event = Event()
    running = client.submit(wait_then, event.name, pure=False, priority=1)
    while not worker_of(cluster).state.executing:
        time.sleep(0.001)
    assert store.arrays.evict(source.key)
    waiting = expected(client, added, source)
    for _ in range(1000):
        if store.arrays.is_resident(source.key):
            break
        time.sleep(0.01)
    assert store.arrays.is_resident(source.key)
    assert running.status == waiting.status == "pending"
    assert store.statistics.loads_ahead > 0
    event.set()
    np.testing.assert_array_equal(waiting.result(), 0)


@pytest.mark.parametrize("runs", [True, False])
def test_a_cancelled_task_uses_nothing(client: Client, cluster: LocalDeviceCluster, runs: bool):
    store = store_of(cluster)
    sources = chunks(client, 2)
    event, other = Event(), Event()
    blocking = None if runs else client.submit(wait_then, other.name, pure=False, priority=1)
    task = expected(client, wait_then, event.name, None, *sources)
    while task.key not in (store._running if runs else store._next):
        time.sleep(0.001)
    task.cancel()
    event.set()
    other.set()
    if blocking is not None:
        blocking.result()
    nothing_is_in_use(store)
    assert store.arrays.evict(sources[0].key)


def test_a_task_that_fails_uses_nothing(client: Client, cluster: LocalDeviceCluster):
    sources = chunks(client, 2)
    with pytest.raises(ZeroDivisionError):
        client.submit(fail, *sources, pure=False).result()
    nothing_is_in_use(store_of(cluster))


def fail_first(path: str, *arrays: Any) -> str:
    return fail_until(path, 2)


def test_a_task_that_is_tried_again_uses_nothing_after(
    client: Client, cluster: LocalDeviceCluster, tmp_path: Path
):
    sources = chunks(client, 2)
    task = client.submit(fail_first, str(tmp_path / "tries"), *sources, retries=3, pure=False)
    assert task.result() == "at last"
    nothing_is_in_use(store_of(cluster))


def subtasks(count: int, *arrays: Any) -> int:
    return sum_of_subtasks_after_secede(count)


def test_a_task_that_secedes_keeps_what_it_reads_until_it_ends(
    client: Client, cluster: LocalDeviceCluster
):
    sources = chunks(client, 2)
    assert client.submit(subtasks, 4, *sources, pure=False).result() == 10
    nothing_is_in_use(store_of(cluster))


def test_unregistering_in_the_middle_of_a_task_leaves_nothing_in_use(
    client: Client, cluster: LocalDeviceCluster
):
    store = store_of(cluster)
    sources = chunks(client, 2)
    event = Event()
    task = client.submit(wait_then, event.name, None, *sources, pure=False)
    used(store, *sources)
    client.unregister_worker_plugin(MLWorkerPlugin.name)
    assert not store.arrays.books.used
    client.register_plugin(MLWorkerPlugin())
    event.set()
    task.result()


def loads_of_a_run(store: Any, **settings: bool) -> dict[str, Any]:
    """Add up pairs of thirty chunks with both halves of the plugin; return what was counted."""
    with LocalDeviceCluster(1, store=store, **DEVICE, **QUIET) as cluster, Client(cluster) as c:
        handle = install(c, policy="fifo", scope="all", **settings)
        sources = chunks(c, 30)
        event = Event()
        gate = c.submit(wait_then, event.name, pure=False)
        pairs = [c.submit(added, one, other, pure=False) for one, other in pairwise(sources)]
        if settings["load_ahead"]:
            loaded_ahead(worker_of(cluster).data)
        event.set()
        for i, pair in enumerate(pairs):
            np.testing.assert_array_equal(pair.result(), i + i + 1)
        assert gate.result() is None
        (statistics,) = c.run(worker_statistics).values()
        handle.uninstall()
    return statistics


@pytest.mark.parametrize("store", ["device", "host-file"])
def test_a_run_loads_ahead_unless_it_is_told_not_to(store: Any):
    assert loads_of_a_run(store, load_ahead=True)["loads_ahead"] > 0
    without = loads_of_a_run(store, load_ahead=False)
    assert without["loads_ahead"] == 0
    assert without["loads"] > 0


def test_the_scheduler_hears_what_the_store_does_by_itself():
    with (
        LocalDeviceCluster(1, store="device", **DEVICE, **QUIET) as cluster,
        Client(cluster) as client,
    ):
        client.register_plugin(MLWorkerPlugin())
        for _ in range(1000):
            hellos = [message for _, message in client.get_events(TOPIC)]
            if hellos:
                break
            time.sleep(0.01)
        assert hellos[0]["kind"] == "device-store"
        assert hellos[0]["limit"] == 100_000
        assert hellos[0]["keeps_clean"] is True
        assert hellos[0]["overlap"] is True
        client.unregister_worker_plugin(MLWorkerPlugin.name)


def test_a_store_without_a_thread_loads_ahead_while_the_loop_has_nothing_to_do():
    with LocalDeviceCluster(1, **DEVICE, **QUIET) as cluster, Client(cluster) as client:
        client.register_plugin(MLWorkerPlugin())
        worker = worker_of(cluster)
        sources = chunks(client, 12)
        event = Event()
        running = client.submit(wait_then, event.name, pure=False, priority=1)
        while not worker.state.executing:
            time.sleep(0.001)
        first = sources[0].key
        assert first not in worker.data.device
        waiting = expected(client, added, sources[0])
        for _ in range(1000):
            if first in worker.data.device:
                break
            time.sleep(0.01)
        assert first in worker.data.device
        event.set()
        np.testing.assert_array_equal(waiting.result(), 0)
        assert running.result() is None
        (statistics,) = client.run(worker_statistics).values()
        assert statistics["loads_ahead"] == 1
        client.unregister_worker_plugin(MLWorkerPlugin.name)
