"""The plugin on a live scheduler: coming and going, modes, policies, reports and its own errors."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import dask
import distributed
import numpy as np
import pytest
from distributed import Client, Event, Scheduler
from distributed.diagnostics.plugin import SchedulerPlugin
from distributed.protocol.pickle import dumps
from distributed.utils_test import wait_for_state

import dask_mlsched
from dask_mlsched.config import ConfigError
from dask_mlsched.extension import dask_versions, parking
from dask_mlsched.extension.dask_versions import UnsupportedDaskError
from dask_mlsched.extension.reports import TOPIC
from dask_mlsched.extension.scheduler_plugin import MLSchedulerPlugin
from dask_mlsched.extension.worker_plugin import MLWorkerPlugin
from live_scheduler import (
    assert_in_step,
    assert_no_errors,
    assert_nothing_left,
    assert_nothing_parked,
    cluster_test,
    installed,
    plugin_of,
    plugins_of,
    until,
)
from sample_tasks import added, chunk, inc, slow_inc, total, wait_then

pytestmark = pytest.mark.integration


def product(c: Client, size: int = 6) -> Any:
    """Submit a product of blocks: more than the device holds, each input used several times."""
    rows = c.map(chunk, [10] * size, range(size), pure=False, key="row")
    columns = c.map(chunk, [10] * size, range(size), pure=False, key="column")
    blocks = [c.submit(added, row, column) for row in rows for column in columns]
    return c.submit(total, *blocks)


PRODUCT = 6 * 6 * 10 * 125 * 5.0


# Coming


@cluster_test()
async def test_tasks_are_decided_upon_and_run(c, s, a, b):
    async with installed(c, s) as (handle, _):
        assert await product(c) == PRODUCT
        status = await handle.status()
        assert status["decisions"] == 2 * 6 + 36 + 1
        assert status["parked"] == 0


@cluster_test(tiered=False)
async def test_a_cluster_without_tiers_is_left_alone(c, s, a, b):
    async with installed(c, s) as (_, plugin):
        assert await product(c) == PRODUCT
        assert plugin.controller is None
        assert not any(parking.is_ours(ts) for ts in s.tasks.values())


@cluster_test(tiered=False)
async def test_a_cluster_without_tiers_is_managed_if_the_scope_says_so(c, s, a, b):
    async with installed(c, s, scope="all") as (handle, _):
        assert await product(c) == PRODUCT
        status = await handle.status()
        assert status["managing"]
        assert status["decisions"] == 49


@cluster_test([], tiered=False)
async def test_managing_begins_when_a_tiered_worker_comes_and_ends_when_the_last_one_goes(c, s):
    from dask_mlsched.extension.emulated_host_file import EmulatedHostFile
    from live_scheduler import DEVICE

    async with installed(c, s) as (_, plugin), distributed.Worker(s.address, memory_limit=0):
        assert await c.submit(inc, 1, key="before") == 2
        assert not plugin.manages
        async with distributed.Worker(s.address, data=(EmulatedHostFile, DEVICE)):
            await until(lambda: plugin.manages)
            assert await product(c) == PRODUCT
        await until(lambda: not plugin.manages)
        assert_nothing_parked(s)
        assert await c.submit(inc, 1, key="after") == 2


@cluster_test()
async def test_installing_in_the_middle_of_a_run_takes_over_what_is_not_under_way(c, s, a, b):
    gate = c.map(wait_then, ["go"] * 40, range(40))
    last = c.submit(sum, gate)
    await wait_for_state(gate[-1].key, ("queued", "processing"), s)
    async with installed(c, s) as (_, plugin):
        assert not s.queued
        assert_in_step(plugin)
        await Event("go").set()
        assert await last == sum(range(40))
        assert plugin.dispatcher.unmanaged["under way"] > 0


@cluster_test()
async def test_a_worker_that_takes_long_to_install_its_half_changes_nothing(c, s, a, b):
    slow = asyncio.Event()
    register = s.register_worker_plugin

    async def register_slowly(*args: Any, **kwargs: Any) -> Any:
        await slow.wait()
        return await register(*args, **kwargs)

    s.register_worker_plugin = register_slowly
    installing = asyncio.ensure_future(dask_mlsched.install(c, check_interval="5ms"))
    future = c.submit(inc, 1)
    assert await future == 2
    await asyncio.sleep(0.05)
    slow.set()
    handle = await installing
    s.register_worker_plugin = register
    assert plugin_of(s).manages
    assert await product(c) == PRODUCT
    assert_in_step(plugin_of(s))
    assert_no_errors(plugin_of(s))
    await handle.uninstall()
    assert_nothing_left(s)


@cluster_test()
async def test_registering_over_an_old_plugin_in_the_middle_of_a_run(c, s, a, b):
    await dask_mlsched.install(c)
    old = plugin_of(s)
    result = product(c, 8)
    await until(lambda: old.controller.chooser.reasons.total() > 5)
    async with installed(c, s, policy="greedy") as (_, new):
        assert new is not old
        assert old.controller is None
        assert_in_step(new)
        assert await result == 8 * 8 * 10 * 125 * 7.0
        assert new.reports.tiered == set(s.workers)
        assert_no_errors(old)


@cluster_test()
async def test_two_clients_that_install_at_once_leave_one_plugin(c, s, a, b):
    async with Client(s.address, asynchronous=True) as d:
        await asyncio.gather(dask_mlsched.install(c), dask_mlsched.install(d))
        assert await c.gather([product(c), c.submit(inc, 1)]) == [PRODUCT, 2]
        async with installed(c, s):
            assert await d.gather(product(d)) == PRODUCT


@cluster_test()
async def test_a_plugin_registered_under_another_name_works(c, s, a, b):
    await c.register_plugin(MLSchedulerPlugin(check_interval="10ms"), name="ours")
    plugin = plugin_of(s)
    await asyncio.sleep(0.05)
    assert await product(c) == PRODUCT
    assert plugin.manages
    await plugin.uninstall()
    assert_nothing_left(s)


@pytest.mark.skipif(
    not hasattr(Client, "register_scheduler_plugin"), reason="gone since distributed 2026.6.0"
)
@cluster_test()
async def test_the_older_call_registers_as_well(c, s, a, b):
    with pytest.warns(DeprecationWarning, match="register_plugin"):
        await c.register_scheduler_plugin(MLSchedulerPlugin())
    assert await product(c) == PRODUCT
    assert plugin_of(s).controller.chooser.reasons.total() == 49
    await plugin_of(s).uninstall()
    assert_nothing_left(s)


@cluster_test()
async def test_register_plugin_needs_no_handle(c, s, a, b):
    await c.register_plugin(dask_mlsched.MLSchedulerPlugin(policy="greedy"))
    assert await product(c) == PRODUCT
    assert plugin_of(s).policy_name == "greedy"
    await plugin_of(s).uninstall()
    assert_nothing_left(s)


@cluster_test()
async def test_a_scheduler_whose_dask_is_too_old_or_too_new_says_so_and_nothing_is_changed(
    c, s, a, b, monkeypatch
):
    with pytest.raises(UnsupportedDaskError, match=r"runs distributed 2025\.1\.0; .* 2026\.3\.0"):
        dask_versions.check(s, "2025.1.0")
    monkeypatch.setattr(dask_versions, "P2P_BARRIER", None)
    monkeypatch.setattr(dask_versions, "_OF_SCHEDULER", ("transitions", "teleport"))
    with pytest.raises(UnsupportedDaskError, match=r"no Scheduler\.teleport, .*P2PBarrierTask,"):
        await dask_mlsched.install(c)
    assert_nothing_left(s)


@cluster_test()
async def test_a_policy_that_cannot_be_made_on_the_scheduler_is_refused(c, s, a, b):
    for policy, problem in [
        ("nowhere.to.be.found.Policy", "ModuleNotFoundError"),
        ("hostile_policies.Missing", "AttributeError"),
        ("hostile_policies.NeedsArguments", "TypeError"),
        ("hostile_policies.HasNoScore", "lacks a part of the Policy protocol"),
        ("hostile_policies.HasNoPlan", "lacks a part of the Planner protocol"),
    ]:
        with pytest.raises(ConfigError, match=f"mlsched.policy is '{policy}'.*{problem}"):
            await dask_mlsched.install(c, policy=policy)
        assert_nothing_left(s)


# Going


@cluster_test()
async def test_uninstalling_in_the_middle_of_a_run_and_twice(c, s, a, b):
    handle = await dask_mlsched.install(c)
    plugin = plugin_of(s)
    result = product(c, 8)
    await until(lambda: plugin.controller.chooser.reasons.total() > 5)
    await handle.uninstall()
    assert_nothing_left(s)
    await handle.uninstall()
    assert await result == 8 * 8 * 10 * 125 * 7.0
    assert_no_errors(plugin)
    assert all(MLWorkerPlugin.name not in worker.plugins for worker in (a, b))


@cluster_test()
async def test_unregistering_in_the_middle_of_a_run_gives_the_tasks_back(c, s, a, b):
    await dask_mlsched.install(c)
    plugin = plugin_of(s)
    gate = c.map(wait_then, ["go"] * 40, range(40))
    await until(lambda: plugin.controller.parked > 20)
    await c.unregister_scheduler_plugin("mlsched")
    await until(lambda: plugin.controller is None)
    await until(lambda: MLWorkerPlugin.name not in s.worker_plugins)
    assert_nothing_left(s)
    await Event("go").set()
    assert await c.gather(gate) == list(range(40))
    assert_no_errors(plugin)


@cluster_test()
async def test_a_scheduler_that_closes_in_the_middle_of_a_run_closes_cleanly(c, s, a, b, caplog):
    await dask_mlsched.install(c)
    plugin = plugin_of(s)
    futures = c.map(slow_inc, range(100), seconds=0.05)
    await until(lambda: plugin.controller.parked > 20)
    with caplog.at_level(logging.WARNING, "dask_mlsched"):
        await s.close()
    assert plugin.controller is None
    assert_no_errors(plugin)
    assert_nothing_parked(s)
    assert not [record for record in caplog.records if record.name.startswith("dask_mlsched")]
    assert len(futures) == 100


# Modes


@cluster_test()
async def test_modes_are_switched_in_the_middle_of_a_run(c, s, a, b):
    async with installed(c, s) as (handle, plugin):
        result = product(c, 10)
        for mode in ("observe", "manage", "off", "manage", "off", "observe", "manage"):
            await asyncio.sleep(0.02)
            await handle.set_mode(mode)
            assert (await handle.status())["mode"] == mode
            assert plugin.manages == (mode == "manage")
            assert_in_step(plugin)
            s.validate_state()
        assert await result == 10 * 10 * 10 * 125 * 9.0


@cluster_test()
async def test_observing_counts_and_changes_nothing(c, s, a, b):
    async with installed(c, s, mode="observe") as (handle, plugin):
        assert await product(c) == PRODUCT
        status = await handle.status()
        assert not any(parking.is_ours(ts) for ts in s.tasks.values())
        assert not status["managing"]
        assert status["decisions"] == 0
        await until(lambda: plugin.reports.received > 2)
        assert_in_step(plugin)


@cluster_test()
async def test_switched_off_it_does_not_even_watch(c, s, a, b):
    async with installed(c, s, mode="off") as (_, plugin):
        assert await product(c) == PRODUCT
        assert plugin.controller is None


# Policies


@pytest.mark.parametrize("policy", ["stock", "random", "fifo", "greedy", "greedy-hold"])
@cluster_test()
async def test_every_policy_gives_the_same_result(c, s, a, b, policy):
    async with installed(c, s, policy=policy) as (handle, _):
        assert await product(c) == PRODUCT
        status = await handle.status()
        assert status["policy"] == policy
        assert status["managing"] == (policy != "stock")
        assert status["decisions"] == (0 if policy == "stock" else 49)


@cluster_test()
async def test_policies_are_switched_in_the_middle_of_a_run(c, s, a, b):
    async with installed(c, s) as (handle, plugin):
        result = product(c, 10)
        for policy in ("greedy", "stock", "random", "stock", "hostile_policies.AlwaysHolds"):
            await asyncio.sleep(0.02)
            await handle.set_policy(policy)
            assert (await handle.status())["policy"] == policy
            assert_in_step(plugin)
        with pytest.raises(ConfigError, match=r"mlsched\.policy is 'best'; expected one of"):
            await handle.set_policy("best")
        assert plugin.policy_name == "hostile_policies.AlwaysHolds"
        assert await result == 10 * 10 * 10 * 125 * 9.0


@pytest.mark.parametrize("policy", ["Raises", "GivesNaN", "TooFewScores", "GivesWords", "Dawdles"])
@cluster_test()
async def test_a_policy_that_fails_is_switched_off_loudly_and_once(c, s, a, b, policy, caplog):
    settings = {"policy": f"hostile_policies.{policy}", "failures": 3, "time_budget": "2ms"}
    async with installed(c, s, **settings) as (handle, _):
        with caplog.at_level(logging.WARNING, "dask_mlsched"):
            assert await product(c) == PRODUCT
            assert await product(c, 7) == 7 * 7 * 10 * 125 * 6.0
        status = await handle.status()
        assert status["policy_failures"] == 3
        assert status["policy_off"]
        assert status["errors"] == 0
        said = [r.message for r in caplog.records if "is not asked any more" in r.message]
        assert len(said) == 1
        assert said[0].count("\n") == 0


@cluster_test()
async def test_a_policy_that_always_holds_cannot_stop_the_work(c, s, a, b):
    settings = {"policy": "hostile_policies.AlwaysHolds", "hold_limit": "50ms"}
    async with installed(c, s, **settings) as (handle, _):
        assert await product(c) == PRODUCT
        status = await handle.status()
        assert status["decisions"] == 49
        assert status["hold_seconds"] >= 0


# Reports


@cluster_test()
async def test_workers_say_what_they_moved(c, s, a, b):
    async with installed(c, s, snapshot_interval="20ms") as (handle, plugin):
        assert await product(c) == PRODUCT
        await until(lambda: sum(t["evictions"] for t in plugin.reports.totals.values()) > 0)
        status = await handle.status()
        for worker in (a, b):
            entry = status["workers"][worker.address]
            assert entry["kind"] == "emulated-device"
            assert entry["limit"] == 100_000
        assert sum(entry["bytes_evicted"] for entry in status["workers"].values()) >= 10_000
        assert status["reports"]["lost"] == status["reports"]["repeated"] == 0


@cluster_test()
async def test_lost_late_repeated_and_malformed_reports_change_no_result(c, s, a, b):
    async with installed(c, s, snapshot_interval="20ms") as (handle, plugin):
        take = plugin.reports.take
        count = 0

        def take_badly(msg: Any, workers: Any) -> Any:
            nonlocal count
            count += 1
            if count % 4 == 0:
                return None  # lost
            if count % 4 == 1:
                take(msg, workers)  # repeated
            if count % 4 == 2:
                msg = {**msg, "seq": 1}  # late
            return take(msg, workers)

        plugin.reports.take = take_badly
        assert await product(c, 10) == 10 * 10 * 10 * 125 * 9.0
        plugin.reports.take = take
        status = await handle.status()
        assert status["reports"]["lost"] > 0
        assert status["reports"]["repeated"] > 0


@cluster_test()
async def test_messages_of_others_on_the_topic_are_counted_and_nothing_else(c, s, a, b):
    async with installed(c, s) as (handle, plugin):
        junk: list[Any] = ["hello", 5, None, {}, {"op": "report"}, {"op": [], "worker": a.address}]
        junk += [{"op": "report", "worker": a.address, "seq": "x"}] * 20
        junk += [{"op": "tier", "worker": a.address, "kind": "x", "limit": 0, "resident": []}]
        for message in junk:
            await c.log_event(TOPIC, message)
        await until(lambda: plugin.reports.malformed == len(junk))
        assert await product(c) == PRODUCT
        status = await handle.status()
        assert status["managing"]
        assert status["errors"] == 0
        assert status["reports"]["malformed"] == len(junk)
        plugin.reports.malformed = 0  # meant to be: `installed` looks that there are none


@cluster_test()
async def test_what_went_wrong_on_a_worker_is_counted_and_shown(c, s, a, b):
    async with installed(c, s) as (handle, plugin):
        message = {"op": "error", "worker": a.address, "where": "setup", "error": "ValueError('x')"}
        a.log_event(TOPIC, message)
        await until(lambda: plugin.reports.worker_errors == 1)
        reports = (await handle.status())["reports"]
        assert reports["worker_errors"] == 1
        assert "setup: ValueError('x')" in reports["last_problem"]
        plugin.reports.worker_errors = 0  # meant to be


# Errors of our own


@cluster_test()
async def test_an_error_of_our_own_is_counted_shown_and_heals(c, s, a, b, caplog):
    async with installed(c, s) as (handle, plugin):
        controller = plugin.controller
        handle_event = controller.handle

        def fails_once(event: Any) -> Any:
            controller.handle = handle_event
            raise KeyError("meant to fail")

        controller.handle = fails_once
        with caplog.at_level(logging.ERROR, "dask_mlsched"):
            assert await product(c) == PRODUCT
        assert plugin.controller is not controller
        assert_in_step(plugin)
        status = await handle.status()
        assert status["errors"] == 1
        assert "meant to fail" in status["last_error"]
        assert len([r for r in caplog.records if r.name == "dask_mlsched"]) == 1
        plugin.errors.clear()  # meant to be: `installed` looks that there are none


@cluster_test()
async def test_with_too_many_errors_it_gives_all_tasks_back_and_goes_off(c, s, a, b, monkeypatch):
    def fails(*_: Any) -> Any:
        raise KeyError("meant to fail")

    async with installed(c, s) as (handle, plugin):
        monkeypatch.setattr("dask_mlsched.core.controller.Controller.handle", fails)
        assert await product(c) == PRODUCT
        status = await handle.status()
        assert status["mode"] == "off"
        assert status["errors"] >= 20
        assert_nothing_parked(s)
        assert await product(c) == PRODUCT
        monkeypatch.undo()
        plugin.errors.clear()  # meant to be


# Restrictions and sizes


@cluster_test([1, 1])
async def test_a_restriction_that_a_user_puts_on_a_parked_task_wins(c, s, a, b):
    async with installed(c, s, lookahead=0) as (_, plugin):
        blockers = c.map(wait_then, ["go"] * 2, range(2))
        parked = c.map(inc, range(8), key="parked")
        await wait_for_state(parked[-1].key, "no-worker", s)
        worker, host, both = (s.tasks[future.key] for future in parked[:3])
        s.set_restrictions({worker.key: [b.address]})
        host.host_restrictions = {"127.0.0.1"}
        s.set_restrictions({both.key: [a.address]})
        await Event("go").set()
        assert await c.gather(parked) == list(range(1, 9))
        assert {ws.address for ws in worker.who_has} == {b.address}
        assert {ws.address for ws in both.who_has} == {a.address}
        assert worker.worker_restrictions == {b.address}
        assert host.worker_restrictions is None
        assert plugin.dispatcher.unmanaged["restricted"] == 3
        await c.gather(blockers)


@cluster_test([1])
async def test_a_task_larger_than_the_device_runs_and_is_spoken_of_once(c, s, a, caplog):
    async with installed(c, s) as (handle, _):
        with caplog.at_level(logging.WARNING, "dask_mlsched"):
            chunks = c.map(chunk, [40] * 5, range(5))
            for times in range(3):
                result = c.submit(added, *chunks, key=f"large-{times}")
                np.testing.assert_array_equal(await result, np.full(5000, 10.0))
        assert (await handle.status())["oversized"] == 3
        said = [r.message for r in caplog.records if "larger than the device memory" in r.message]
        assert len(said) == 1
        assert "smaller chunks" in said[0]


# Manners


@cluster_test()
async def test_other_plugins_see_one_state_more_and_nothing_else(c, s, a, b):
    class Records(SchedulerPlugin):
        def __init__(self) -> None:
            self.seen: list[str] = []

        def transition(self, key: Any, start: Any, finish: Any, *_: Any, **__: Any) -> None:
            if key == "x" and start != finish:
                self.seen.append(finish)

    records = Records()
    s.add_plugin(records, name="records")
    async with installed(c, s):
        assert await c.submit(inc, 1, key="x") == 2
    assert records.seen[:4] == ["waiting", "no-worker", "processing", "memory"]


def test_settings_are_checked_where_the_plugin_is_made():
    with pytest.raises(ConfigError, match="lookahead is -1; expected integer at least 0"):
        MLSchedulerPlugin(lookahead=-1)
    with pytest.raises(ConfigError, match="unknown setting 'lokahead'"):
        MLSchedulerPlugin(lokahead=1)


def test_the_plugin_travels_to_the_scheduler():
    assert dumps(MLSchedulerPlugin(policy="greedy"))


@cluster_test()
async def test_settings_come_from_the_configuration_of_the_scheduler(c, s, a, b):
    with dask.config.set({"mlsched.policy": "fifo", "mlsched.lookahead": 0}):
        async with installed(c, s, policy="greedy") as (_, plugin):
            assert plugin.policy_name == "greedy"
            assert plugin.config.lookahead == 0


@cluster_test([])
async def test_a_scheduler_without_workers_takes_the_plugin(c, s: Scheduler):
    async with installed(c, s) as (handle, _):
        assert (await handle.status())["workers"] == {}
        assert len(plugins_of(s)) == 1
