"""What a cluster goes through: each feature of Dask, and each accident, with the plugin on."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest
from distributed import Client, Event, Worker, wait
from distributed.scheduler import KilledWorker, NoWorkerError
from distributed.utils_test import wait_for_state

import dask_mlsched
from dask_mlsched.extension.emulated_host_file import EmulatedHostFile
from live_scheduler import (
    DEVICE,
    assert_in_step,
    assert_no_errors,
    assert_nothing_left,
    cluster_test,
    device_cluster,
    installed,
    plugin_of,
    tree,
    tree_total,
    until,
)
from sample_tasks import (
    added,
    address,
    chunk,
    inc,
    kill_once,
    slow_inc,
    total,
    wait_then,
)

pytestmark = pytest.mark.integration


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
        async with Worker(s.address, data=(EmulatedHostFile, DEVICE)) as late:
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


def kinds(handle: Any) -> set[str | None]:
    return {entry["kind"] for entry in handle.status()["workers"].values()}


@pytest.mark.slow
def test_restarting_the_client_in_the_middle_of_a_run():
    with device_cluster(2) as cluster, Client(cluster) as client:
        handle = dask_mlsched.install(client)
        plugin = plugin_of(cluster.scheduler)
        futures = client.map(slow_inc, range(200), seconds=0.02)
        while plugin.controller is None or plugin.controller.parked < 50:
            time.sleep(0.01)
        client.restart()
        assert all(future.status == "cancelled" for future in futures)
        status = handle.status()
        assert status["parked"] == 0
        assert status["managing"]
        assert client.gather(tree(client, 32)) == tree_total(32)
        # A worker that was started again late need not have been asked for anything yet.
        deadline = time.monotonic() + 20
        while kinds(handle) != {"emulated-device"} and time.monotonic() < deadline:
            time.sleep(0.1)
        assert kinds(handle) == {"emulated-device"}
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


@pytest.mark.slow
def test_a_worker_that_is_killed_while_it_loads():
    """Killed in the middle of a copy: each takes a tenth of a second."""
    slow = {"bandwidth": "100kB/s", "latency": "1us"}
    with device_cluster(2, **slow) as cluster, Client(cluster) as client:
        handle = dask_mlsched.install(client)
        plugin = plugin_of(cluster.scheduler)
        chunks = client.map(chunk, [10] * 30, range(30))
        wait(chunks)
        pids = client.run(os.getpid)
        sums = [client.submit(added, x, y) for x in chunks[:6] for y in chunks[6:9]]
        result = client.submit(total, *sums)
        while not any(entry["loads"] for entry in plugin.reports.totals.values()):
            time.sleep(0.01)
        victim = next(w for w, entry in plugin.reports.totals.items() if entry["loads"])
        time.sleep(0.05)  # half of the next load, which has begun meanwhile
        os.kill(pids[victim], signal.SIGKILL)
        expected = 1250.0 * sum(x + y for x in range(6) for y in range(6, 9))
        assert client.gather(result) == expected
        assert victim not in handle.status()["workers"]
        handle.uninstall()
        assert_no_errors(plugin)
        assert_nothing_left(cluster.scheduler)


@pytest.mark.slow
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
