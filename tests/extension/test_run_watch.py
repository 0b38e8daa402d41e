"""Runs on a real scheduler: each one is noticed as it ends, and simulated while somebody looks."""

from __future__ import annotations

import asyncio

import pytest

from dask_mlsched.core import run_log
from dask_mlsched.extension import comparing_process, run_watch
from live_scheduler import cluster_test, installed, tree, tree_total, until
from sample_tasks import inc

pytestmark = pytest.mark.integration


@cluster_test([1, 1])
async def test_every_run_is_noticed_as_it_ends(c, s, a, b):
    async with installed(c, s) as (handle, plugin):
        watch = plugin.observation.runs
        for number in (1, 2):
            assert await tree(c, 30) == tree_total(30)
            await until(lambda number=number: len(watch.runs) == number)
        first, second = watch.runs
        assert (first.number, second.number) == (1, 2)
        assert first.tasks == second.tasks == 60
        assert first.policy == "learned"
        assert first.comparison is None
        assert second.problem is None
        told = (await handle.status())["dashboard"]["runs"]
        assert [each["tasks"] for each in told] == [60, 60]


@cluster_test([1, 1])
async def test_it_is_simulated_only_while_somebody_looks(c, s, a, b):
    async with installed(c, s) as (handle, plugin):
        watch = plugin.observation.runs
        assert await tree(c, 30) == tree_total(30)
        await until(lambda: watch.runs)
        await asyncio.sleep(0.3)
        assert watch.runs[0].comparison is None
        assert not watch.is_simulated(1)
        watch.lookers = 1
        assert watch.is_simulated(1)
        await until(lambda: watch.runs[0].comparison is not None)
        assert not watch.is_simulated(1)
        found = watch.runs[0].comparison
        status = await handle.status()
        assert found.measured.loaded == sum(
            worker["bytes_loaded"] for worker in status["workers"].values()
        )
        (told,) = status["dashboard"]["runs"]
        assert told["regret"] == found.regret >= 0
        assert told["comparison"]["dask"]["seconds"] == found.dask.seconds > 0


@cluster_test([1])
async def test_only_the_last_run_waits_to_be_simulated(c, s, a):
    async with installed(c, s) as (_, plugin):
        watch = plugin.observation.runs
        for number, leaves in enumerate((30, 31), 1):
            assert await tree(c, leaves) == tree_total(leaves)
            await until(lambda number=number: len(watch.runs) == number)
        assert watch.runs[0].problem == "the next run ended before it was simulated"
        watch.lookers = 1
        await until(lambda: watch.runs[1].comparison)


@cluster_test([1])
async def test_a_run_of_few_tasks_says_nothing(c, s, a):
    async with installed(c, s) as (_, plugin):
        assert await c.submit(inc, 1) == 2
        await asyncio.sleep(1.0)
        assert not plugin.observation.runs.runs


@cluster_test([1])
async def test_a_run_that_is_too_long_says_so(c, s, a):
    async with installed(c, s) as (_, plugin):
        await until(lambda: plugin.manages)
        plugin.controller.log = run_log.RunLog(limit=50)
        watch = plugin.observation.runs
        watch.lookers = 1
        assert await tree(c, 30) == tree_total(30)
        await until(lambda: watch.runs)
        assert watch.runs[0].problem == "it has more than 50 events"


@cluster_test([1])
async def test_a_simulation_that_fails_is_told_and_the_next_is_tried(c, s, a):
    broken = comparing_process.ComparingProcess

    class Failing(broken):
        def __init__(self) -> None:
            super().__init__(("false",))

    async with installed(c, s) as (_, plugin):
        watch = plugin.observation.runs
        watch.make_process = Failing
        watch.lookers = 1
        assert await tree(c, 30) == tree_total(30)
        await until(lambda: watch.runs and watch.runs[0].problem)
        assert "simulation" in watch.runs[0].problem
        watch.make_process = broken
        assert await tree(c, 31) == tree_total(31)
        await until(lambda: len(watch.runs) == 2 and watch.runs[1].comparison)


@cluster_test([1])
async def test_without_a_dashboard_nothing_is_watched(c, s, a):
    async with installed(c, s, dashboard=False) as (handle, plugin):
        assert await tree(c, 30) == tree_total(30)
        assert plugin.observation is None
        assert plugin.controller.log is None
        assert (await handle.status())["dashboard"] is None


@cluster_test([1])
async def test_uninstalling_ends_a_simulation(c, s, a):
    async with installed(c, s) as (handle, plugin):
        watch = plugin.observation.runs
        watch.lookers = 1
        assert await tree(c, 60) == tree_total(60)
        await until(lambda: watch.runs)
        await handle.uninstall()
        await until(lambda: watch.idle)


@cluster_test([1])
async def test_a_policy_that_is_switched_is_named_with_the_run_that_it_ended(c, s, a):
    async with installed(c, s) as (handle, plugin):
        watch = plugin.observation.runs
        await handle.set_policy("greedy")
        assert await tree(c, 30) == tree_total(30)
        await until(lambda: watch.runs)
        assert watch.runs[-1].policy == "greedy"
        await handle.set_mode("observe")
        assert await tree(c, 31) == tree_total(31)
        await until(lambda: len(watch.runs) == 2)
        assert watch.runs[-1].policy == "stock"  # Dask decided alone; we only looked
        assert watch.runs[-1].problem is None


@cluster_test([1])
async def test_a_run_that_is_cut_short_by_a_switch_is_of_what_decided_it(c, s, a):
    async with installed(c, s) as (handle, plugin):
        watch = plugin.observation.runs
        assert await tree(c, 30) == tree_total(30)
        await handle.set_mode("off")
        (run,) = watch.runs
        assert (run.policy, run.problem) == ("learned", None)
        assert plugin.controller is None
        await handle.set_mode("manage")


@cluster_test([1])
async def test_a_run_in_which_the_policy_was_switched_is_nobodys(c, s, a):
    async with installed(c, s) as (handle, plugin):
        watch = plugin.observation.runs
        assert await tree(c, 30) == tree_total(30)
        await handle.set_policy("greedy")
        assert await tree(c, 31) == tree_total(31)
        await until(lambda: watch.runs)
        assert watch.runs[-1].problem in ("the mode or the policy was changed in it", None)
        assert sum(run.tasks for run in watch.runs) == 30 * 2 + 31 * 2


@cluster_test([1])
async def test_where_many_tasks_are_kept_a_run_says_why_it_is_not_simulated(c, s, a, monkeypatch):
    monkeypatch.setattr(run_watch, "MOST_LEFT", 25)
    async with installed(c, s) as (_, plugin):
        watch = plugin.observation.runs
        kept = c.map(inc, range(30))
        await c.gather(kept)
        await until(lambda: watch.runs)
        assert watch.runs[0].problem == "more than 25 tasks are kept after it"
        assert plugin.controller.log is None
        del kept
        await until(lambda: plugin.controller.log is not None)
        assert await tree(c, 30) == tree_total(30)
        await until(lambda: len(watch.runs) == 2)
        assert watch.runs[1].problem is None
        assert watch.runs[1].tasks == 60


@cluster_test([1])
async def test_a_plugin_that_gives_up_lets_go_of_its_run(c, s, a):
    async with installed(c, s) as (_, plugin):
        await until(lambda: plugin.manages)
        controller = plugin.controller
        plugin._deactivate(release=True, learn=False)
        assert controller.log is None
        assert not plugin.observation.runs.runs
        plugin.update_activity()
