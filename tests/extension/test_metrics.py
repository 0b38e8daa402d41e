from __future__ import annotations

import asyncio
import gc
import weakref

import dask
import prometheus_client
import pytest
from distributed import Client, LocalCluster, Scheduler, Worker
from distributed.http.scheduler.prometheus.core import PrometheusHandler
from distributed.utils_test import gen_test

import dask_mlsched
from dask_mlsched.extension import metrics
from dask_mlsched.extension.emulated_host_file import EmulatedHostFile
from dask_mlsched.extension.figures import FIGURES
from live_scheduler import (
    DEVICE,
    assert_no_errors,
    cluster_test,
    device_cluster,
    installed,
    plugin_of,
    tree,
    tree_total,
    until,
)
from metrics_page import fetched, parsed, registered

pytestmark = pytest.mark.integration


@cluster_test([1, 1])
async def test_the_page_has_the_figures_of_the_status(c, s, a, b):
    async with installed(c, s, trace="memory") as (handle, _):
        assert await tree(c, 16) == tree_total(16)
        status, page = await handle.status(), await fetched(s)
    assert page.kinds == {each.name: each.kind for each in FIGURES}
    assert page["info", "manage", "learned", status["version"]] == page["managing"] == 1
    assert sum(page["decisions_total", reason] for reason in status["reasons"]) == 32
    assert page["decision_seconds_total"] == status["decision_seconds"]["total"] > 0
    assert 0 < page["decision_recent_seconds", "0.5"] <= page["decision_recent_seconds", "0.99"]
    assert page["reports_total", "received"] == status["reports"]["received"] > 0
    assert page["trace_bytes"] > 0
    for address, worker in status["workers"].items():
        assert page["worker_limit_bytes", address] == 100_000
        assert page["worker_moves_total", "load", address] == worker["loads"]
        assert page["worker_moved_bytes_total", "evict", address] == worker["bytes_evicted"]
        assert page["worker_move_seconds_total", "evict", address] == worker["evict_seconds"]
    assert sum(worker["evictions"] for worker in status["workers"].values())


@cluster_test([1])
async def test_dasks_own_figures_are_on_the_same_page(c, s, a):
    async with installed(c, s):
        page = await fetched(s)
        assert "dask_scheduler_clients" in page.text
        assert page.text.count("# TYPE dask_mlsched_managing gauge") == 1


@cluster_test([1, 1])
async def test_no_counter_goes_backwards_whatever_the_plugin_goes_through(c, s, a, b):
    async with installed(c, s, policy="greedy") as (handle, plugin):
        before = {}

        async def look() -> None:
            nonlocal before
            now = (await fetched(s)).counters()
            assert all(now[sample] >= before[sample] for sample in before), (before, now)
            assert before.keys() <= now.keys()
            before = now

        total, deciders = 0, set()
        for run in range(5):
            assert await tree(c, 16) == tree_total(16)
            total += 32
            deciders.add(plugin.controller)
            await look()
            assert sum(x for sample, x in before.items() if sample[0] == "decisions_total") == total
            match run:
                case 0:
                    await handle.set_mode("off")
                    await look()
                    await handle.set_mode("manage")
                case 1:
                    plugin._resync()
                case 2:
                    await handle.set_policy("fifo")
                case 3:
                    plugin.restart(s)
            await look()
        assert len(deciders) == 4


@cluster_test([1])
async def test_failures_count_on_when_another_policy_is_asked(c, s, a):
    async with installed(c, s, policy="hostile_policies.Raises") as (handle, _):
        assert await tree(c, 16) == tree_total(16)
        failures = (await fetched(s))["policy_failures_total"]
        assert failures > 0
        await handle.set_policy("fifo")
        page = await fetched(s)
        assert (page["policy_failures_total"], page["policy_off"]) == (failures, 0)


@cluster_test([1, 1])
async def test_a_worker_that_left_vanishes(c, s, a, b):
    async with installed(c, s):
        await tree(c, 16)
        page = await fetched(s)
        assert {sample[2] for sample in page.samples if sample[0].startswith("worker_moves")} == {
            a.address,
            b.address,
        }
        await b.close()
        await until(lambda: b.address not in s.workers)
        assert b.address not in (await fetched(s)).text


@cluster_test([1])
async def test_any_text_may_be_a_label(c, s, a):
    reason = 'it said "no"\\\nand left {x="1"} 1'
    async with installed(c, s) as (_, plugin):
        plugin.dispatcher.unmanaged[reason] += 3
        page = await fetched(s)
        assert page["tasks_unmanaged_total", reason] == 3
        assert not [line for line in page.text.splitlines() if line.startswith("and left")]


@cluster_test([1])
async def test_an_error_of_ours_leaves_dask_its_page(c, s, a):
    async with installed(c, s) as (_, plugin):
        (collector,) = registered()
        plugin.snapshot = lambda: 1 / 0
        for _ in range(2):
            page = await fetched(s)
            assert not page.samples
            assert "dask_scheduler_clients" in page.text
        assert collector.failures == 2
        del plugin.snapshot
        assert (await fetched(s))["managing"] == 1


@cluster_test([1])
async def test_uninstalling_takes_them_off(c, s, a):
    async with installed(c, s):
        assert (await fetched(s)).samples
    assert not list(registered())
    assert not (await fetched(s)).samples
    async with installed(c, s):
        assert (await fetched(s)).samples


@cluster_test([1])
async def test_a_plugin_in_the_place_of_another_has_the_page(c, s, a):
    first = await dask_mlsched.install(c, policy="fifo")
    second = await dask_mlsched.install(c, policy="greedy")
    assert len(list(registered())) == 1
    page = await fetched(s)
    assert policy_on(page) == "greedy"
    await second.uninstall()
    assert not list(registered())
    await first.uninstall()


def policy_on(page):
    (policy,) = [sample[2] for sample in page.samples if sample[0] == "info"]
    return policy


async def _two_clusters():
    for policy in ("fifo", "greedy"):
        scheduler = await Scheduler(dashboard_address=":0", port=0)
        worker = await Worker(scheduler.address, nthreads=1, data=(EmulatedHostFile, DEVICE))
        client = await Client(scheduler.address, asynchronous=True)
        handle = await dask_mlsched.install(client, policy=policy)
        yield scheduler, worker, client, handle


@gen_test()
async def test_schedulers_of_one_process_have_pages_of_their_own():
    clusters = [each async for each in _two_clusters()]
    (one, *_), (other, *_) = clusters
    assert await tree(clusters[1][2], 16) == tree_total(16)
    for _ in range(2):
        assert policy_on(await fetched(one)) == "fifo"
        page = await fetched(other)
        assert policy_on(page) == "greedy"
        assert page["decision_seconds_total"] > 0
        assert (await fetched(one))["decision_seconds_total"] == 0
    await clusters[0][3].uninstall()
    assert not (await fetched(one)).samples
    assert (await fetched(other)).samples
    for scheduler, worker, client, _ in clusters:
        await client.close()
        await worker.close()
        await scheduler.close()
    assert not list(registered())


@cluster_test([1])
async def test_what_was_uninstalled_is_kept_by_nobody(c, s, a):
    await dask_mlsched.install(c)
    plugin = weakref.ref(plugin_of(s))
    assert (await fetched(s)).samples
    # Not by a call: the scheduler's end of a connection keeps what it called last.
    await plugin().uninstall()
    gc.collect()
    assert plugin() is None


def test_a_closed_cluster_leaves_nothing_registered(monkeypatch):
    # Dask's own collectors name the scheduler whose page they served last.
    monkeypatch.setattr(PrometheusHandler, "_collectors", None)
    with device_cluster(1, processes=False) as cluster, Client(cluster) as client:
        dask_mlsched.install(client)
        text = prometheus_client.generate_latest().decode()
        assert parsed(text)["managing"] == 1, "the only plugin of a process whose page nobody asked"
        assert len(list(registered())) == 1
    assert not list(registered())
    assert "mlsched" not in cluster.scheduler.extensions


def test_a_plugin_that_nobody_stopped_is_not_kept_alive():
    class Plugin:
        scheduler = None

    plugin = Plugin()
    metrics.add(plugin)
    gone = weakref.ref(plugin)
    del plugin
    gc.collect()
    assert gone() is None
    (collector,) = registered()
    assert collector.collect() == []
    metrics.remove(Plugin())
    assert not list(registered())


def test_a_registry_that_somebody_has_emptied_stops_nobody_from_leaving():
    class Plugin:
        scheduler = None

    plugin = Plugin()
    metrics.add(plugin)
    (collector,) = registered()
    prometheus_client.REGISTRY.unregister(collector)
    metrics.remove(plugin)
    metrics.add(plugin)
    assert len(list(registered())) == 1
    metrics.remove(plugin)
    assert not list(registered())


def test_without_pages_nothing_is_missing():
    with (
        LocalCluster(
            n_workers=1, processes=False, dashboard_address=None, memory_limit=0
        ) as cluster,
        Client(cluster) as client,
    ):
        handle = dask_mlsched.install(client)
        assert client.submit(sum, [1, 2]).result() == 3
        assert_no_errors(plugin_of(cluster.scheduler))
        handle.uninstall()


def test_the_namespace_is_the_one_that_is_configured():
    with (
        dask.config.set({"distributed.dashboard.prometheus.namespace": "acme"}),
        device_cluster(1, processes=False) as cluster,
        Client(cluster) as client,
    ):
        dask_mlsched.install(client)
        (collector,) = registered()
        assert collector.build_name("holds") == "acme_mlsched_holds"


@gen_test()
async def test_pages_asked_for_at_once_are_of_the_scheduler_that_dask_tells_of():
    # Dask's handler mixes such pages up; ours go with its own on the same page.
    clusters = [each async for each in _two_clusters()]
    more = [await Client(clusters[1][0].address, asynchronous=True) for _ in range(2)]
    pages = await asyncio.gather(*(fetched(each[0]) for each in clusters * 10))
    clients = {"fifo": "dask_scheduler_clients 1.0", "greedy": "dask_scheduler_clients 3.0"}
    assert all(clients[policy_on(page)] in page.text for page in pages)
    for client in more:
        await client.close()
    for scheduler, worker, client, _ in clusters:
        await client.close()
        await worker.close()
        await scheduler.close()
