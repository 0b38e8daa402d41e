"""Samples of a plugin's state: true, bounded, and never backwards."""

from __future__ import annotations

import math

import pytest
from distributed import Event

from dask_mlsched.extension.history import History, parked_demand
from live_scheduler import DEVICE, cluster_test, installed, tree, tree_total, until
from sample_tasks import added, chunk, wait_then

pytestmark = pytest.mark.integration


@cluster_test([1, 1])
async def test_a_sample_is_what_the_plugin_knows(c, s, a, b):
    async with installed(c, s) as (handle, plugin):
        assert await tree(c, 40) == tree_total(40)
        history = History()
        history.take(plugin, 100.0)
        (sample,) = history.samples
        status = await handle.status()
        assert (sample.number, sample.time) == (1, 100.0)
        assert sample.parked == status["parked"]
        assert dict(sample.reasons) == status["reasons"]
        assert sample.holds == status["holds"]
        assert 0 < sample.p50 <= sample.p99
        assert set(sample.devices) == {a.address, b.address}
        for address, device in sample.devices.items():
            worker = status["workers"][address]
            assert device.limit == worker["limit"] == 100_000
            assert device.loaded == worker["bytes_loaded"]
            assert device.evicted == worker["bytes_evicted"]
            assert 0 <= device.clean <= device.resident <= device.limit
        assert sample.loaded == sum(each.loaded for each in sample.devices.values())
        assert sample.evicted == sum(each.evicted for each in sample.devices.values()) > 0


@cluster_test([1])
async def test_before_anything_has_run_there_are_no_times(c, s, a):
    async with installed(c, s) as (_, plugin):
        await until(lambda: plugin.manages)
        history = History()
        history.take(plugin, 1.0)
        assert math.isnan(history.samples[0].p50)


@cluster_test([1])
async def test_demand_is_what_parked_tasks_miss(c, s, a):
    async with installed(c, s, lookahead=0) as (_, plugin):
        inputs = c.map(chunk, [10] * 20, range(20))  # twice what the device holds
        await c.gather(inputs)
        blocker = c.submit(wait_then, "go", 0)
        await until(lambda: s.workers[a.address].processing)
        sums = [c.submit(added, inputs[n], inputs[n + 10], key=f"sum-{n}") for n in range(10)]
        await until(lambda: plugin.controller.parked == 10)
        residency = plugin.controller.devices[0].residency
        numbers = [plugin.translator.tasks.get(each.key) for each in inputs]
        missing = [each for each in numbers if each not in residency]
        expected = sum(plugin.controller.graph.nbytes[each] for each in missing)
        # All of them are read, and the device holds half of them.
        assert parked_demand(plugin.controller, 0, 10) == expected >= 100_000
        assert parked_demand(plugin.controller, 0, 1) <= expected
        assert parked_demand(plugin.controller, 0, 0) == 0
        await Event("go").set()
        await c.gather([*sums, blocker])


@cluster_test([1, 1])
async def test_copies_of_a_worker_that_leaves_still_count(c, s, a, b):
    async with installed(c, s) as (_, plugin):
        assert await tree(c, 40) == tree_total(40)
        history = History()
        history.take(plugin, 1.0)
        before = history.samples[-1]
        await b.close()
        await until(lambda: b.address not in s.workers)
        history.take(plugin, 2.0)
        after = history.samples[-1]
        assert set(after.devices) == {a.address}
        assert after.evicted >= before.evicted > sum(e.evicted for e in after.devices.values())


@cluster_test([1])
async def test_only_so_many_are_kept_and_asked_for_by_number(c, s, a):
    async with installed(c, s) as (_, plugin):
        history = History(length=3)
        assert history.since(0) == []
        for time in range(5):
            history.take(plugin, float(time))
        assert [each.number for each in history.samples] == [3, 4, 5]
        assert [each.number for each in history.since(0)] == [3, 4, 5]
        assert [each.number for each in history.since(4)] == [5]
        assert history.since(5) == []
        assert history.since(99) == []


@cluster_test([1, 1])
async def test_with_many_devices_fewer_samples_are_kept(c, s, a, b):
    async with installed(c, s) as (_, plugin):
        history = History(most_rows=80)
        for time in range(50):
            history.take(plugin, float(time))
        assert len(history.samples) == 40
        assert history.samples[-1].number == 50
        assert [each.number for each in history.since(48)] == [49, 50]


@cluster_test([1], tiered=False)
async def test_workers_without_a_device_are_not_shown(c, s, a):
    assert DEVICE
    async with installed(c, s, scope="all") as (_, plugin):
        history = History()
        history.take(plugin, 1.0)
        assert history.samples[0].devices == {}
