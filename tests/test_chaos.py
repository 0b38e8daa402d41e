"""What a cluster goes through: each feature of Dask, and each accident, with the plugin on."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dask
import dask.array as da
import numpy as np
import pytest
from distributed import Client, Event, Queue, Variable, Worker, wait
from distributed.scheduler import KilledWorker, NoWorkerError
from distributed.utils_test import wait_for_state
from live_scheduler import (
    DEVICE,
    assert_in_step,
    assert_no_errors,
    assert_nothing_left,
    cluster_test,
    installed,
    plugin_of,
)
from sample_tasks import (
    Counter,
    added,
    address,
    chunk,
    fail,
    fail_until,
    inc,
    kill_once,
    slow_inc,
    sum_of_subtasks,
    sum_of_subtasks_after_secede,
    total,
    wait_then,
)

import dask_mlsched
from dask_mlsched import LocalDeviceCluster
from dask_mlsched.extension import parking
from dask_mlsched.extension.device_store import DeviceStore

pytestmark = pytest.mark.integration


def tree(c: Client, leaves: int, **kwargs: Any) -> Any:
    """Submit a reduction over chunks that together are larger than the device."""
    level = c.map(chunk, [10] * leaves, range(leaves), pure=False, **kwargs)
    while len(level) > 1:
        pairs = zip(level[::2], level[1::2], strict=False)
        odd = [level[-1]] if len(level) % 2 else []
        level = [c.submit(added, *pair, **kwargs) for pair in pairs] + odd
    return c.submit(total, *level, **kwargs)


def tree_total(leaves: int) -> float:
    return 1250.0 * sum(range(leaves))


async def until(condition: Any) -> None:
    for _ in range(1000):
        if condition():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it did not happen in ten seconds")


# Workers come, go, pause and die


@cluster_test([1, 1, 1])
async def test_a_worker_that_closes_in_the_middle_of_a_run(c, s, a, b, d):
    async with installed(c, s) as (_, plugin):
        result = tree(c, 64)
        await until(lambda: plugin.controller.chooser.reasons.total() > 20)
        await a.close()
        assert_in_step(plugin)
        assert await result == tree_total(64)


@cluster_test([1, 1, 1])
async def test_a_worker_that_drops_its_connection_in_the_middle_of_a_run(c, s, a, b, d):
    async with installed(c, s) as (_, plugin):
        result = tree(c, 64)
        await until(lambda: plugin.controller.chooser.reasons.total() > 20)
        s.stream_comms[a.address].abort()
        assert await result == tree_total(64)
        await a.close()


@cluster_test([1])
async def test_workers_that_join_in_the_middle_of_a_run_get_work(c, s, a):
    async with installed(c, s) as (_, plugin):
        results = c.map(slow_inc, range(60), seconds=0.01)
        await until(lambda: plugin.controller.parked > 10)
        async with Worker(s.address, data=(DeviceStore, DEVICE)) as late:
            assert await c.gather(results) == list(range(1, 61))
            assert len(late.data) > 5
            await c.gather(c.map(address, range(4), pure=False))
            assert plugin.reports.limits[late.address] == 100_000


@cluster_test([1, 1])
async def test_retiring_a_worker_in_the_middle_of_a_run_loses_nothing(c, s, a, b):
    async with installed(c, s) as (_, plugin):
        kept = c.map(chunk, [1] * 20, range(20))
        await wait(kept)
        result = tree(c, 48)
        await until(lambda: plugin.controller.chooser.reasons.total() > 30)
        await c.retire_workers([a.address])
        assert set(s.workers) == {b.address}
        assert await result == tree_total(48)
        assert await c.submit(total, *kept) == 125.0 * sum(range(20))
        assert not [ts for ts in s.tasks.values() if ts.suspicious]


@cluster_test([1, 1])
async def test_a_paused_worker_gets_nothing_and_its_tasks_run_elsewhere(c, s, a, b):
    async with installed(c, s) as (_, plugin):
        on_a = c.map(chunk, [10] * 4, range(4), workers=[a.address])
        await wait(on_a)
        s.handle_worker_status_change("paused", a.address, "test")
        sums = [c.submit(total, x, y) for x in on_a for y in on_a]
        assert len(await c.gather(sums)) == 16
        assert all(s.tasks[x.key].who_has == {s.workers[b.address]} for x in sums)
        assert_in_step(plugin)
        s.handle_worker_status_change("running", a.address, "test")
        assert set(await c.gather(c.map(address, range(50)))) == {a.address, b.address}


@cluster_test([1, 1])
async def test_when_all_workers_pause_work_goes_on_with_the_first_that_resumes(c, s, a, b):
    async with installed(c, s) as (_, plugin):
        for worker in (a, b):
            s.handle_worker_status_change("paused", worker.address, "test")
        result = tree(c, 8)
        await until(lambda: plugin.controller.parked == 8)
        await asyncio.sleep(0.2)
        assert plugin.controller.parked == 8
        s.handle_worker_status_change("running", b.address, "test")
        assert await result == tree_total(8)


@cluster_test([1, 1], config={"distributed.scheduler.allowed-failures": 0})
async def test_a_task_whose_workers_die_fails_as_in_dask(c, s, a, b):
    async with installed(c, s):
        doomed = c.submit(wait_then, "never")
        await wait_for_state(doomed.key, "processing", s)
        ws = s.tasks[doomed.key].processing_on
        await s.remove_worker(ws.address, stimulus_id="test", close=False)
        with pytest.raises(KilledWorker):
            await doomed
        await Event("never").set()
        assert await c.submit(inc, 1) == 2


# Timeouts without workers


@cluster_test([1], config={"distributed.scheduler.no-workers-timeout": "300ms"})
async def test_parked_tasks_outlive_a_short_no_workers_timeout(c, s, a):
    async with installed(c, s, check_interval="20ms") as (_, plugin):
        results = c.map(slow_inc, range(40), seconds=0.03)
        assert await c.gather(results) == list(range(1, 41))
        assert plugin.controller.chooser.reasons.total() == 40


@cluster_test([1], config={"distributed.scheduler.no-workers-timeout": "300ms"})
async def test_a_task_that_nobody_can_run_times_out_as_in_dask(c, s, a):
    from distributed.scheduler import NoValidWorkerError

    async with installed(c, s, check_interval="20ms"):
        nowhere = c.submit(inc, 1, workers=["tcp://127.0.0.1:1"], key="nowhere")
        results = c.map(slow_inc, range(40), seconds=0.03)
        with pytest.raises(NoValidWorkerError):
            await nowhere
        assert await c.gather(results) == list(range(1, 41))


@pytest.mark.parametrize("how", ["gone", "paused"])
@cluster_test([1], config={"distributed.scheduler.no-workers-timeout": "300ms"})
async def test_without_any_worker_parked_tasks_time_out_as_in_dask(c, s, a, how):
    async with installed(c, s, check_interval="20ms") as (_, plugin):
        first = c.submit(wait_then, "go")
        parked = c.map(inc, range(10), key="parked")
        await until(lambda: plugin.controller.parked > 5)
        await asyncio.sleep(0.4)  # longer than the timeout: parked tasks are kept alive
        assert plugin.controller.parked > 5
        started = time.monotonic()
        if how == "gone":
            await s.remove_worker(a.address, stimulus_id="test")
        else:
            s.handle_worker_status_change("paused", a.address, "test")
        with pytest.raises(NoWorkerError, match="without any running workers"):
            await parked[-1]
        assert time.monotonic() - started > 0.25
        await Event("go").set()
        first.release()


# Restart, scale


def test_restarting_the_client_in_the_middle_of_a_run():
    with device_cluster(2) as cluster, Client(cluster) as client:
        handle = dask_mlsched.install(client)
        plugin = plugin_of(cluster.scheduler)
        futures = client.map(slow_inc, range(200), seconds=0.02)
        while plugin.controller.parked < 50:
            time.sleep(0.01)
        client.restart()
        assert all(future.status == "cancelled" for future in futures)
        status = handle.status()
        assert status["parked"] == 0
        assert status["managing"]
        assert client.gather(tree(client, 32)) == tree_total(32)
        assert {entry["kind"] for entry in handle.status()["workers"].values()} == {
            "emulated-device"
        }
        handle.uninstall()
        assert_no_errors(plugin)
        assert_nothing_left(cluster.scheduler)


def test_adaptive_scaling_grows_for_parked_tasks_and_shrinks_after():
    with device_cluster(1, processes=False) as cluster, Client(cluster) as client:
        handle = dask_mlsched.install(client)
        plugin = plugin_of(cluster.scheduler)
        adaptive = cluster.adapt(minimum=1, maximum=3, interval="50ms", target_duration="200ms")
        futures = client.map(slow_inc, range(100), seconds=0.05)
        deadline = time.monotonic() + 20
        while len(cluster.scheduler.workers) < 3 and time.monotonic() < deadline:
            time.sleep(0.02)
        assert len(cluster.scheduler.workers) == 3
        assert client.gather(futures) == list(range(1, 101))
        client.cancel(futures)
        while len(cluster.scheduler.workers) > 1 and time.monotonic() < deadline:
            time.sleep(0.02)
        assert len(cluster.scheduler.workers) == 1
        adaptive.stop()
        assert client.gather(tree(client, 16)) == tree_total(16)
        handle.uninstall()
        assert_no_errors(plugin)
        assert_nothing_left(cluster.scheduler)


def device_cluster(n_workers: int, **kwargs: Any) -> LocalDeviceCluster:
    return LocalDeviceCluster(n_workers, dashboard_address=":0", **{**DEVICE, **kwargs})


def test_a_worker_that_is_killed_while_it_loads():
    """Killed in the middle of a copy: each takes a tenth of a second."""
    slow = {"bandwidth": "100kB/s", "latency": "1us"}
    with device_cluster(2, **slow) as cluster, Client(cluster) as client:
        handle = dask_mlsched.install(client)
        plugin = plugin_of(cluster.scheduler)
        chunks = client.map(chunk, [10] * 30, range(30))
        wait(chunks)
        sums = [client.submit(added, x, y) for x in chunks[:6] for y in chunks[6:9]]
        result = client.submit(total, *sums)
        while not any(entry["loads"] for entry in plugin.reports.totals.values()):
            time.sleep(0.01)
        victim, ws = next(iter(cluster.scheduler.workers.items()))
        pid = client.run(os.getpid, workers=[victim])[victim]
        os.kill(pid, signal.SIGKILL)
        expected = 1250.0 * sum(x + y for x in range(6) for y in range(6, 9))
        assert client.gather(result) == expected
        assert victim not in handle.status()["workers"]
        handle.uninstall()
        assert_no_errors(plugin)
        assert_nothing_left(cluster.scheduler)


def test_a_task_that_kills_its_worker_runs_on_another(tmp_path: Path):
    with device_cluster(2) as cluster, Client(cluster) as client:
        handle = dask_mlsched.install(client)
        plugin = plugin_of(cluster.scheduler)
        chunks = client.map(chunk, [10] * 20, range(20))
        killers = [client.submit(kill_once, str(tmp_path / "killed"), 1, x) for x in chunks]
        assert client.gather(killers) == [1] * 20
        handle.uninstall()
        assert_no_errors(plugin)
        assert_nothing_left(cluster.scheduler)


# Collections


@pytest.fixture(scope="module")
def shared_client() -> Iterator[Client]:
    with device_cluster(2, processes=False) as cluster, Client(cluster) as client:
        yield client


@pytest.fixture
def managed(shared_client: Client) -> Iterator[Client]:
    handle = dask_mlsched.install(shared_client)
    scheduler = shared_client.cluster.scheduler
    plugin = plugin_of(scheduler)
    yield shared_client
    assert handle.status()["decisions"] > 0
    handle.uninstall()
    assert_no_errors(plugin)
    assert_nothing_left(scheduler)


def test_a_shuffle_of_a_data_frame(managed: Client):
    pd = pytest.importorskip("pandas")
    dd = pytest.importorskip("dask.dataframe")
    frame = pd.DataFrame({"x": np.arange(400) % 17, "y": np.arange(400.0)})
    with dask.config.set({"dataframe.shuffle.method": "p2p"}):
        shuffled = dd.from_pandas(frame, npartitions=8).shuffle("x").map_partitions(len)
        assert shuffled.compute().sum() == 400
        grouped = dd.from_pandas(frame, npartitions=8).groupby("x").y.sum(split_out=4).compute()
    pd.testing.assert_series_equal(grouped.sort_index(), frame.groupby("x").y.sum())


def test_a_rechunk(managed: Client):
    x = np.arange(10_000.0).reshape(100, 100)
    with dask.config.set({"array.rechunk.method": "p2p"}):
        y = da.from_array(x, chunks=(100, 10)).rechunk((10, 100)) + 1
        np.testing.assert_array_equal(y.compute(), x + 1)


def test_results_are_equal_on_and_off(shared_client: Client):
    rng = np.random.default_rng(0)
    x = da.from_array(rng.random((200, 200)), chunks=(40, 40))
    workload = {
        "product": x @ x.T,
        "mean": (x - x.mean(axis=0)).std(axis=1),
        "svd": da.linalg.svd_compressed(x, 3, seed=1)[1],
        "overlap": x.map_overlap(lambda block: block * 2, depth=1, boundary="none"),
    }
    off = {name: collection.compute() for name, collection in workload.items()}
    for policy in ("random", "fifo", "greedy", "greedy-hold"):
        handle = dask_mlsched.install(shared_client, policy=policy)
        for name, collection in workload.items():
            np.testing.assert_array_equal(collection.compute(), off[name])
        assert handle.status()["errors"] == 0
        handle.uninstall()
    assert_nothing_left(shared_client.cluster.scheduler)


# What Dask lets users do


@pytest.mark.parametrize("lookahead", [0, 1])
@pytest.mark.parametrize("task", [sum_of_subtasks, sum_of_subtasks_after_secede])
@cluster_test([1, 1])
async def test_tasks_submitted_from_tasks_on_workers_of_one_thread(c, s, a, b, task, lookahead):
    async with installed(c, s, lookahead=lookahead, check_interval="20ms"):
        results = c.map(task, [5] * 6, pure=False)
        assert await c.gather(results) == [15] * 6


@cluster_test([1])
async def test_tasks_that_submit_tasks_that_submit_tasks(c, s, a):
    def nested(depth: int) -> int:
        from distributed import worker_client

        if depth == 0:
            return 1
        with worker_client() as client:
            return sum(client.gather(client.map(nested, [depth - 1] * 2, pure=False)))

    async with installed(c, s, lookahead=0, check_interval="10ms"):
        assert await c.submit(nested, 3) == 8


@cluster_test([1, 1])
async def test_actors(c, s, a, b):
    async with installed(c, s) as (_, plugin):
        counter = await c.submit(Counter, actor=True)
        result = tree(c, 16)
        for expected in (1, 2, 3):
            assert await counter.add() == expected
        assert await result == tree_total(16)
        assert plugin.unmanaged["actor"] == 1


@cluster_test([1])
async def test_the_user_s_priority_comes_first(c, s, a):
    async with installed(c, s, lookahead=0):
        blocker = c.submit(wait_then, "go", priority=100)
        await wait_for_state(blocker.key, "processing", s)
        low = c.map(inc, range(5), key="low", priority=-1)
        middle = c.map(inc, range(5), key="middle")
        high = c.map(inc, range(5), key="high", priority=1)
        await wait_for_state(high[-1].key, "no-worker", s)
        await Event("go").set()
        await wait([*low, *middle, *high])
        order = [entry[0] for entry in s.transition_log if entry[2] == "memory"]
        names = [key.rsplit("-", 1)[0] for key in order if key != blocker.key]
        assert names == ["high"] * 5 + ["middle"] * 5 + ["low"] * 5


@cluster_test([1, 1])
async def test_workers_resources_and_hosts_are_honoured_and_counted(c, s, a, b):
    async with installed(c, s) as (handle, _):
        await b.set_resources(GPU=1)
        here = c.map(address, range(4), workers=[a.address], key="here")
        gpu = c.map(address, range(4), resources={"GPU": 1}, key="gpu")
        loose = c.map(
            address, range(4), workers=["tcp://1.2.3.4:5"], allow_other_workers=True, key="loose"
        )
        host = c.map(address, range(4), workers=["127.0.0.1"], key="host")
        anywhere = c.map(address, range(4), key="anywhere")
        assert await c.gather(here) == [a.address] * 4
        assert await c.gather(gpu) == [b.address] * 4
        assert len(await c.gather([*loose, *host, *anywhere])) == 12
        status = await handle.status()
        assert status["unmanaged"] == {"restricted": 16}
        assert status["decisions"] == 4


@cluster_test([1, 1])
async def test_two_clients(c, s, a, b):
    async with installed(c, s), Client(s.address, asynchronous=True) as d:
        results = [tree(client, 24) for client in (c, d, c, d)]
        assert [await result for result in results] == [tree_total(24)] * 4


@cluster_test([1, 1])
async def test_a_client_that_leaves_in_the_middle_of_a_run(c, s, a, b):
    async with installed(c, s) as (_, plugin):
        async with Client(s.address, asynchronous=True) as d:
            left = d.map(slow_inc, range(200), seconds=0.02)
            await until(lambda: plugin.controller.parked > 100)
            assert len(left) == 200
        await until(lambda: not s.tasks)
        assert_in_step(plugin)
        assert await tree(c, 8) == tree_total(8)


@cluster_test([1, 1])
async def test_scattered_data_is_seen_and_used(c, s, a, b):
    async with installed(c, s):
        scattered = await c.scatter([chunk(10, value) for value in range(12)])
        everywhere = await c.scatter(chunk(10, 5.0), broadcast=True)
        results = [c.submit(total, x, everywhere) for x in scattered]
        assert await c.gather(results) == [1250.0 * (value + 5) for value in range(12)]


@cluster_test([1, 1])
async def test_variables_queues_and_published_data(c, s, a, b):
    async with installed(c, s):
        future = c.submit(chunk, 10, 2.0)
        await Variable("v").set(future)
        await Queue("q").put(future)
        await c.publish_dataset(data=future)
        del future
        for source in (Variable("v").get(), Queue("q").get(), c.get_dataset("data")):
            assert await c.submit(total, await source, pure=False) == 2500.0
        await c.unpublish_dataset("data")
        Variable("v").delete()


@cluster_test([1, 1])
async def test_failing_tasks_and_retries(c, s, a, b, tmp_path):
    async with installed(c, s) as (_, plugin):
        failed = c.submit(fail, c.submit(inc, 1))
        after = c.submit(inc, failed)
        retried = c.submit(fail_until, str(tmp_path / "a"), 2, retries=2)
        not_enough = c.submit(fail_until, str(tmp_path / "b"), 3, retries=1)
        for future in (failed, after, not_enough):
            with pytest.raises(ZeroDivisionError):
                await future
        assert await retried == "at last"
        await c.retry([not_enough])
        with pytest.raises(ZeroDivisionError):
            await not_enough
        assert_in_step(plugin)
        assert await tree(c, 8) == tree_total(8)


@cluster_test([1, 1])
async def test_cancelling_what_is_parked_and_what_runs(c, s, a, b):
    async with installed(c, s) as (_, plugin):
        futures = c.map(wait_then, ["go"] * 30, range(30))
        results = [c.submit(inc, future) for future in futures]
        await until(lambda: plugin.controller.parked > 20)
        await c.cancel([*futures[::2], *results[::2]])
        assert_in_step(plugin)
        await Event("go").set()
        assert await c.gather(results[1::2]) == list(range(2, 31, 2))
        assert all(future.cancelled() for future in futures[::2])


@cluster_test([1, 1])
async def test_tasks_that_are_released_and_wanted_again(c, s, a, b):
    async with installed(c, s) as (_, plugin):
        for _ in range(3):
            futures = c.map(slow_inc, range(30), seconds=0.005)
            await until(lambda: plugin.controller.parked > 10)
            wanted = futures[::3]
            del futures
            assert await c.gather(wanted) == list(range(1, 31, 3))
            del wanted
            await until(lambda: not s.tasks)
            assert_in_step(plugin)


@cluster_test([1, 1])
async def test_a_lost_input_is_computed_again(c, s, a, b):
    async with installed(c, s):
        chunks = c.map(chunk, [10] * 8, range(8))
        await wait(chunks)
        result = c.submit(wait_then, "go", 1, *chunks)
        await wait_for_state(result.key, "processing", s)
        holder = next(iter(s.tasks[chunks[0].key].who_has)).address
        await s.remove_worker(holder, stimulus_id="test")
        await Event("go").set()
        assert await result == 1
        assert await c.submit(total, *chunks) == 1250.0 * sum(range(8))


@cluster_test([1, 1])
async def test_the_same_keys_are_submitted_again_with_another_graph(c, s, a, b):
    async with installed(c, s) as (_, plugin):
        x = c.submit(chunk, 10, 1.0, key="x")
        y = c.get({"y": (total, "x"), "x": (chunk, 10, 1.0)}, "y", sync=False)
        z = c.get({"z": (added, "x", "x"), "x": (chunk, 10, 1.0)}, "z", sync=False)
        assert await y == 1250.0
        assert float((await z).sum()) == 2500.0
        assert_in_step(plugin)
        await x


@cluster_test([1, 1])
async def test_nothing_is_left_of_tasks_that_are_gone(c, s, a, b):
    async with installed(c, s) as (_, plugin):
        for _ in range(3):
            assert await tree(c, 24) == tree_total(24)
            await until(lambda: not s.tasks)
        controller = plugin.controller
        assert len(plugin.translator.tasks) == 0
        assert controller.graph.computed_bytes == 0
        assert all(not device.residency.held() for device in controller.devices.values())
        assert all(not device.in_flight for device in controller.devices.values())
        assert not any(parking.is_ours(ts) for ts in s.tasks.values())
