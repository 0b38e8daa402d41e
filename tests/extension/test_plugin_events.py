from __future__ import annotations

import typing

import pytest

import dask_mlsched
from dask_mlsched.extension import plugin_events
from dask_mlsched.extension.plugin_events import TOPIC, Action
from dask_mlsched.extension.versions import VERSION
from live_scheduler import cluster_test, installed, plugin_of, tree, tree_total, until

pytestmark = pytest.mark.integration


def events(s):
    return [event for _, event in s.get_events(TOPIC)]


def actions(s):
    return [event["action"] for event in events(s)]


@cluster_test([1])
async def test_a_life_in_events(c, s, a):
    async with installed(c, s, policy="greedy") as (handle, plugin):
        await until(lambda: plugin.manages)
        assert await tree(c, 16) == tree_total(16)
        await handle.set_policy("fifo")
        await handle.set_mode("observe")
        await handle.set_mode("manage")
    told = events(s)
    assert actions(s) == [
        "installed",
        "managing-began",
        "policy-changed",
        "mode-changed",
        "managing-ended",
        "mode-changed",
        "managing-began",
        "managing-ended",
        "uninstalled",
    ]
    assert told[0] == {
        "action": "installed",
        "version": VERSION,
        "mode": "manage",
        "policy": "greedy",
        "left_out": 0,
    }
    assert (told[2]["before"], told[2]["now"]) == ("greedy", "fifo")
    assert (told[3]["before"], told[3]["now"]) == ("manage", "observe")
    assert told[-1]["replaced"] is False
    assert set(actions(s)) <= set(typing.get_args(Action))


@cluster_test([1])
async def test_a_client_can_fetch_them(c, s, a):
    async with installed(c, s):
        fetched = await c.get_events(TOPIC)
        assert fetched[0][1]["action"] == "installed"


@cluster_test([1])
async def test_a_policy_that_is_switched_off_is_told_of_once(c, s, a):
    async with installed(c, s, policy="hostile_policies.Raises", failures=2) as (_, plugin):
        assert await tree(c, 16) == tree_total(16)
        await until(lambda: "policy-switched-off" in actions(s))
        plugin._begin_anew()
        assert await tree(c, 16) == tree_total(16)
    told = [event for event in events(s) if event["action"] == "policy-switched-off"]
    assert told[0]["failures"] == 2
    assert "raised" in told[0]["last_failure"]


@cluster_test([1])
async def test_errors_are_told_of_at_the_first_and_when_there_are_too_many(c, s, a):
    await dask_mlsched.install(c)
    plugin = plugin_of(s)
    await until(lambda: plugin.manages)
    plugin._failed("test", ValueError("the first"))
    await until(lambda: "error" in actions(s))
    for number in range(30):
        if not plugin.gave_up:
            plugin._failed("test", ValueError(f"number {number}"))
    told = {event["action"]: event for event in events(s)}
    assert actions(s).count("error") == actions(s).count("switched-off") == 1
    assert told["error"]["error"] == "test: ValueError: the first"
    assert told["switched-off"]["errors"] == 20
    assert told["mode-changed"]["now"] == "off"
    await plugin.uninstall()


@cluster_test([1])
async def test_a_recording_that_is_full_is_told_of(c, s, a):
    async with installed(c, s, trace="memory", trace_limit=10_000):
        assert await tree(c, 64) == tree_total(64)
        await until(lambda: "recording-stopped" in actions(s))
    assert "10000" in events(s)[actions(s).index("recording-stopped")]["reason"].replace(",", "")


@cluster_test([1])
async def test_a_plugin_in_the_place_of_another_is_told_of(c, s, a):
    async with installed(c, s, policy="fifo"), installed(c, s, policy="greedy") as (handle, _):
        assert [e["replaced"] for e in events(s) if e["action"] == "uninstalled"] == [True]
        await handle.uninstall()
    assert actions(s)[-1] == "uninstalled"


@cluster_test([1])
async def test_what_goes_to_and_fro_is_told_of_a_few_times(c, s, a):
    async with installed(c, s) as (_, plugin):
        await until(lambda: plugin.manages)
        for _ in range(50):
            plugin.set_mode("observe")
            plugin.set_mode("manage")
        assert len(events(s)) == plugin_events.MOST
    assert actions(s)[-1] == "uninstalled"
    left_out = events(s)[-1]["left_out"]
    # Of a hundred switches and as many beginnings and ends, and of the two at the beginning.
    assert len(events(s)) - 1 + left_out >= 200


@cluster_test([1, 1])
async def test_workers_without_the_plugin_are_told_of_once_for_each_reason(c, s, a, b):
    async with installed(c, s) as (handle, plugin):
        for number in range(30):
            # Each worker leaves and comes back, as it were, with another excuse.
            for worker in (a, b):
                message = {"op": "absent", "worker": worker.address, "reason": f"no. {number // 5}"}
                s.log_event("mlsched", message)
            if number == 0:
                await until(lambda: "workers-unserved" in actions(s))
            plugin._events.look()
        (told,) = [event for event in events(s) if event["action"] == "workers-unserved"]
        assert told["workers"] == [a.address, b.address]
        assert told["count"] == 2
        status = await handle.status()
        assert {each["unserved"] for each in status["workers"].values()} == {"no. 5"}
        assert not status["managing"], "nobody has two tiers that we know of"
