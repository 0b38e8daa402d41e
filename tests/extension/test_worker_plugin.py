from __future__ import annotations

import logging
import pickle
import threading
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from distributed import Client, LocalCluster, Worker

from dask_mlsched.extension import worker_plugin
from dask_mlsched.extension.cluster import LocalDeviceCluster
from dask_mlsched.extension.fetches import FetchLog
from dask_mlsched.extension.tiers import Tier
from dask_mlsched.extension.versions import PROTOCOL
from dask_mlsched.extension.worker_plugin import (
    NAME,
    TOPIC,
    MLWorkerPlugin,
    reset_statistics,
    worker_history,
    worker_statistics,
)

pytestmark = pytest.mark.integration

#: Room for ten chunks.
DEVICE = {"device_memory_limit": 8000, "bandwidth": "10GB/s", "latency": "1us"}
QUIET: dict[str, Any] = {"processes": False, "dashboard_address": ":0"}


@pytest.fixture(scope="module")
def cluster() -> Iterator[LocalDeviceCluster]:
    with LocalDeviceCluster(1, **DEVICE, **QUIET) as cluster:
        yield cluster


@pytest.fixture
def client(cluster: LocalDeviceCluster) -> Iterator[Client]:
    with Client(cluster) as client:
        client.run_on_scheduler(lambda dask_scheduler: dask_scheduler._broker.truncate(TOPIC))
        yield client
        if NAME in cluster.scheduler.worker_plugins:
            client.unregister_worker_plugin(NAME)
        # However the test ended, every worker's store is as Dask made it.
        for worker in cluster.workers.values():
            assert NAME not in worker.plugins
            assert worker.data.buffer.fast_to_slow_callbacks == []
            assert worker.data.buffer.slow is worker.data._host


@pytest.fixture
def worker(cluster: LocalDeviceCluster) -> Worker:
    worker = cluster.workers[0]
    assert isinstance(worker, Worker)
    return worker


def register(client: Client, plugin: MLWorkerPlugin | None = None) -> None:
    client.register_plugin(plugin or MLWorkerPlugin(snapshot_interval=0.05))


def plain(message: Any) -> Any:
    """The message with tuples for lists."""
    if isinstance(message, dict):
        return {key: plain(value) for key, value in message.items()}
    return tuple(map(plain, message)) if isinstance(message, list | tuple) else message


def events(client: Client, op: str, at_least: int = 1) -> list[dict[str, Any]]:
    """The plugin's messages of one kind, when there are so many."""
    for _ in range(200):
        # In one process, messages arrive as they are; over a socket, lists become tuples.
        found = [plain(msg) for _, msg in client.get_events(TOPIC) if msg["op"] == op]
        if len(found) >= at_least:
            return found
        time.sleep(0.02)
    raise AssertionError(f"{len(found)} messages {op!r} instead of {at_least}")


def snapshots(client: Client) -> list[dict[str, Any]]:
    return [msg for msg in events(client, "report", 0) if msg["resident"] is not None]


def moves_of(reports: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
    return [tuple(move) for msg in reports for move in msg["moves"]]


def wait_for_moves(client: Client, count: int) -> list[dict[str, Any]]:
    for _ in range(200):
        reports = events(client, "report", 0)
        if len(moves_of(reports)) >= count:
            return reports
        time.sleep(0.02)
    raise AssertionError(f"{len(moves_of(reports))} moves instead of {count}")


def fill(client: Client, count: int, name: str = "k") -> list[Any]:
    futures = []
    for i in range(count):
        futures.append(client.submit(np.full, 100, i, dtype="f8", key=f"{name}-{i}"))
        futures[-1].result()
    return futures


def test_it_introduces_the_workers_store(client: Client, worker: Worker):
    futures = fill(client, 2)
    register(client)
    (hello,) = events(client, "tier")
    assert hello == {
        "op": "tier",
        "worker": worker.address,
        "kind": "emulated-device",
        "limit": 8000,
        "resident": (("k-0", 800), ("k-1", 800)),
        "keeps_clean": False,
        "overlap": False,
        "protocol": PROTOCOL,
    }
    del futures


def test_moves_are_reported_with_totals(client: Client, worker: Worker):
    register(client)
    futures = fill(client, 12)
    reports = wait_for_moves(client, 2)
    moves = moves_of(reports)
    # `result` reads the array too, so the first two were the least recently used.
    assert [move[:3] for move in moves] == [("k-0", "evict", 800), ("k-1", "evict", 800)]
    assert all(0 < move[3] < 1 for move in moves)
    assert reports[-1]["resident_bytes"] == 8000
    totals = reports[-1]["totals"]
    assert (totals["evictions"], totals["bytes_evicted"], totals["loads"]) == (2, 1600, 0)
    assert [msg["seq"] for msg in reports] == list(range(1, len(reports) + 1))
    assert {msg["worker"] for msg in reports} == {worker.address}
    del futures


def test_moves_of_one_turn_of_the_loop_share_a_report(client: Client, worker: Worker):
    register(client, MLWorkerPlugin(snapshot_interval=100))

    def insert() -> None:
        for i in range(30):
            worker.data["x", i] = np.ones(100)
        for i in range(30):
            del worker.data["x", i]

    worker.loop.add_callback(insert)
    reports = wait_for_moves(client, 20)
    assert [len(msg["moves"]) for msg in reports] == [20]


def test_a_report_is_bounded(client: Client, worker: Worker, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(worker_plugin, "_ROWS_PER_MESSAGE", 7)
    register(client, MLWorkerPlugin(snapshot_interval=100))

    def insert() -> None:
        for i in range(30):
            worker.data["x", i] = np.ones(100)
        for i in range(30):
            del worker.data["x", i]

    worker.loop.add_callback(insert)
    assert [len(msg["moves"]) for msg in wait_for_moves(client, 20)] == [7, 7, 6]


def test_what_comes_from_another_worker_is_reported_without_any_move():
    settings = {"device_memory_limit": 80_000, "bandwidth": "10GB/s", "latency": "1us"}
    with LocalDeviceCluster(2, **settings, **QUIET) as cluster, Client(cluster) as client:
        before, after = (each.address for each in cluster.workers.values())
        # What came before the plugin did is not its business.
        early = client.submit(np.full, 100, 1, dtype="f8", key="early", workers=[before])
        client.submit(np.sum, early, workers=[after]).result()
        register(client)
        kept = [
            client.submit(np.full, 100 * n, n, dtype="f8", key=f"x-{n}", workers=[before])
            for n in (1, 2, 3)
        ]
        client.submit(lambda *arrays: len(arrays), *kept, workers=[after]).result()
        reports = events(client, "report")
        fetches = [fetch for msg in reports for fetch in msg["fetches"]]
        arrays = [array for _, _, arrays in fetches for array in arrays]
        assert sorted(arrays) == [("x-1", 800), ("x-2", 1600), ("x-3", 2400)]
        assert {source for source, _, _ in fetches} == {before}
        assert all(0 < seconds < 10 for _, seconds, _ in fetches)
        assert {msg["worker"] for msg in reports} == {after}
        assert moves_of(reports) == []
        client.unregister_worker_plugin(NAME)


def test_a_log_that_cannot_be_read_does_not_keep_arrays_from_coming(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    def broken(self: FetchLog) -> list[Any]:
        raise KeyError("who")

    monkeypatch.setattr(FetchLog, "news", broken)
    with LocalDeviceCluster(2, **DEVICE, **QUIET) as cluster, Client(cluster) as client:
        register(client)
        first, second = (each.address for each in cluster.workers.values())
        x = client.submit(np.ones, 10, key="x", workers=[first])
        assert client.submit(np.sum, x, workers=[second]).result() == 10
        (error,) = events(client, "error")
        assert (error["where"], error["error"]) == ("fetches", "KeyError('who')")
        client.unregister_worker_plugin(NAME)


def test_moves_of_other_threads_are_reported(client: Client, worker: Worker):
    register(client)
    futures = fill(client, 12)
    wait_for_moves(client, 2)
    thread = threading.Thread(target=worker.data.__getitem__, args=("k-0",))
    thread.start()
    thread.join()
    assert ("k-0", "load", 800) in [m[:3] for m in moves_of(wait_for_moves(client, 4))]
    del futures


def test_after_moves_comes_a_snapshot(client: Client, worker: Worker):
    register(client)
    futures = fill(client, 12)
    wait_for_moves(client, 2)
    expected = sorted((f"k-{i}", 800) for i in range(2, 12))
    # Where a worker is slow to make the arrays, there are snapshots on the way.
    for _ in range(100):
        found = snapshots(client)
        if found and sorted(found[-1]["resident"]) == expected:
            break
        time.sleep(0.02)
    assert sorted(found[-1]["resident"]) == expected
    del futures


def test_nothing_is_sent_when_nothing_moves(client: Client, worker: Worker):
    register(client)
    futures = fill(client, 9)
    del futures
    time.sleep(0.3)
    assert events(client, "report", 0) == []


def test_a_snapshot_of_very_many_arrays_is_not_repeated_soon(
    client: Client, worker: Worker, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(worker_plugin, "_SNAPSHOT_SECONDS_PER_ARRAY", 10.0)
    register(client)
    futures = fill(client, 12)
    time.sleep(0.3)
    futures += fill(client, 3, "l")
    time.sleep(0.3)
    assert len(snapshots(client)) == 1
    del futures


def test_statistics_and_history_can_be_asked_for(client: Client, worker: Worker):
    register(client)
    futures = fill(client, 12)
    (statistics,) = client.run(worker_statistics).values()
    assert statistics["kind"] == "emulated-device"
    assert statistics["limit"] == statistics["resident_bytes"] == 8000
    assert (statistics["evictions"], statistics["bytes_evicted"]) == (2, 1600)
    assert statistics["evict_seconds"] > 0
    assert statistics["errors"] == statistics["callback_errors"] == 0
    (history,) = client.run(worker_history).values()
    assert [move[1:4] for move in history] == [("k-0", "evict", 800), ("k-1", "evict", 800)]
    client.run(reset_statistics)
    (statistics,) = client.run(worker_statistics).values()
    assert statistics["evictions"] == statistics["evict_seconds"] == 0
    assert client.run(worker_history) == {worker.address: []}
    del futures


def test_asking_a_worker_without_the_plugin_says_what_to_do(client: Client):
    for function in (worker_statistics, worker_history, reset_statistics):
        with pytest.raises(RuntimeError, match=r"has no plugin 'mlsched-worker'; call client\."):
            client.run(function)


def test_a_late_worker_gets_the_plugin(client: Client, cluster: LocalDeviceCluster):
    register(client)
    try:
        cluster.scale(2)
        client.wait_for_workers(2)
        addresses = {worker.address for worker in cluster.workers.values()}
        assert {hello["worker"] for hello in events(client, "tier", 2)} == addresses
        assert set(client.run(worker_statistics)) == addresses
    finally:
        cluster.scale(1)
        while len(cluster.scheduler.workers) > 1:
            time.sleep(0.01)


def test_registering_again_replaces_the_old_one(client: Client, worker: Worker):
    for interval in (0.5, 0.25, 0.05):
        register(client, MLWorkerPlugin(snapshot_interval=interval))
    assert worker.plugins[NAME].snapshot_interval == 0.05
    assert len(worker.data.buffer.fast_to_slow_callbacks) == 1
    futures = fill(client, 12)
    assert len(moves_of(wait_for_moves(client, 2))) == 2
    assert len(events(client, "tier", 3)) == 3
    assert worker.plugins[NAME].statistics()["evictions"] == 2
    del futures


def test_unregistering_sends_what_is_left_and_nothing_more(client: Client, worker: Worker):
    register(client, MLWorkerPlugin(snapshot_interval=0.05))
    plugin = worker.plugins[NAME]
    futures = fill(client, 12)
    client.unregister_worker_plugin(NAME)
    assert len(moves_of(wait_for_moves(client, 2))) == 2
    futures += fill(client, 12, "l")
    time.sleep(0.2)
    assert len(moves_of(events(client, "report"))) == 2
    assert not plugin._pending
    assert not plugin._snapshots
    del futures


def test_a_plugin_that_cannot_start_leaves_the_worker_alone(
    client: Client,
    worker: Worker,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
):
    def broken(_: Any) -> Tier:
        raise ValueError("no such store")

    monkeypatch.setattr(worker_plugin, "adapt", broken)
    with caplog.at_level(logging.ERROR, logger=worker_plugin.__name__):
        register(client)
    assert [r.getMessage() for r in caplog.records if r.name == worker_plugin.__name__] == [
        "mlsched-worker failed in its setup; work goes on"
    ]
    (error,) = events(client, "error")
    assert error["worker"] == worker.address
    assert (error["where"], error["error"]) == ("setup", "ValueError('no such store')")
    assert worker.plugins[NAME].errors == 1
    assert client.submit(np.ones, 10).result().sum() == 10


def test_errors_are_told_once_and_counted_always(client: Client, worker: Worker):
    register(client)
    plugin = worker.plugins[NAME]
    send = plugin._send

    def unsendable(message: dict[str, Any]) -> None:
        if message["op"] == "report":
            raise TypeError
        send(message)

    plugin._send = unsendable
    futures = fill(client, 12)
    time.sleep(0.2)
    futures += fill(client, 5, "l")
    time.sleep(0.2)
    assert plugin.errors > 1
    assert len(events(client, "error")) == 1
    assert [future.result()[0] for future in futures[:12]] == list(range(12))
    del futures


def test_one_plugin_object_serves_one_worker(client: Client, worker: Worker):
    register(client)
    plugin = worker.plugins[NAME]
    tier = plugin.tier

    class Another:
        address = "inproc://another"

    plugin.setup(Another())
    assert plugin.errors == 1
    assert plugin.tier is tier
    assert "each worker its own" in events(client, "error")[0]["error"]
    plugin.teardown(Another())
    assert len(worker.data.buffer.fast_to_slow_callbacks) == 1


def test_only_settings_are_pickled(client: Client, worker: Worker):
    register(client, MLWorkerPlugin(snapshot_interval=0.25))
    copy = pickle.loads(pickle.dumps(worker.plugins[NAME]))
    assert copy.snapshot_interval == 0.25
    assert copy.tier is None


def test_a_wrong_interval_is_refused():
    with pytest.raises(ValueError, match="snapshot_interval is 0; expected seconds above 0"):
        MLWorkerPlugin(snapshot_interval=0)


# Clusters of other kinds.


def test_a_worker_without_tiers_says_so_and_nothing_else():
    with LocalCluster(1, memory_limit=0, **QUIET) as cluster, Client(cluster) as client:
        register(client)
        (worker,) = cluster.workers.values()
        (hello,) = events(client, "tier")
        assert hello == {
            "op": "tier",
            "worker": worker.address,
            "kind": None,
            "limit": None,
            "resident": (),
            "protocol": PROTOCOL,
        }
        assert worker.plugins[NAME]._snapshots is None
        fill(client, 3)
        (statistics,) = client.run(worker_statistics).values()
        assert (statistics["kind"], statistics["limit"], statistics["loads"]) == (None, None, 0)
        client.run(reset_statistics)
        client.unregister_worker_plugin(NAME)
        assert len(client.get_events(TOPIC)) == 1


def test_a_worker_that_spills_is_reported_too():
    with LocalCluster(1, memory_limit=2**40, **QUIET) as cluster, Client(cluster) as client:
        (worker,) = cluster.workers.values()
        worker.data.n = 8000
        register(client)
        futures = fill(client, 12)
        assert events(client, "tier")[0]["kind"] == "spill-buffer"
        assert [m[:3] for m in moves_of(wait_for_moves(client, 2))] == [
            ("k-0", "evict", 800),
            ("k-1", "evict", 800),
        ]
        del futures


def test_a_plugin_given_to_the_worker_itself_waits_for_its_scheduler():
    plugins = (MLWorkerPlugin(),)
    with LocalCluster(1, plugins=plugins, **QUIET) as cluster, Client(cluster) as client:
        assert events(client, "tier")[0]["kind"] == "spill-buffer"


@pytest.mark.slow
def test_a_restarted_worker_starts_anew():
    with (
        LocalDeviceCluster(1, dashboard_address=":0", **DEVICE) as cluster,
        Client(cluster) as client,
    ):
        register(client)
        futures = fill(client, 12)
        wait_for_moves(client, 2)
        del futures
        client.restart()
        assert len(events(client, "tier", 2)) == 2
        (statistics,) = client.run(worker_statistics).values()
        assert statistics["evictions"] == 0
        futures = fill(client, 12)
        reports = wait_for_moves(client, 4)
        firsts = [msg["seq"] for msg in reports].count(1)
        assert firsts == 2
        del futures
