"""Pages in Dask's dashboard: there with the plugin, gone with it, and listed where people look."""

from __future__ import annotations

import asyncio
import json
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import pytest
from bokeh.client import pull_session
from distributed import Client, Scheduler, Worker
from distributed.utils_test import gen_test
from tornado.httpclient import AsyncHTTPClient, HTTPClientError

import dask_mlsched
from dask_mlsched.extension.dashboard.paths import PAGE, PART, path_of
from live_scheduler import DEVICE, cluster_test, installed, plugin_of, tree, tree_total, until

pytestmark = pytest.mark.integration

PARTS = ("residency", "transfers", "decisions", "models")
PATHS = (*map(path_of, PARTS), *(PART + part for part in PARTS))


async def get(scheduler: Scheduler, path: str) -> str:
    url = f"http://127.0.0.1:{scheduler.http_server.port}/{path}"
    answer = await AsyncHTTPClient().fetch(url, request_timeout=30)
    return answer.body.decode()


async def missing(scheduler: Scheduler, path: str) -> bool:
    try:
        await get(scheduler, path)
    except HTTPClientError as error:
        return error.code == 404
    return False


@cluster_test([1, 1], scheduler_kwargs={"dashboard": True}, timeout=110)
async def test_pages_come_and_go_with_the_plugin(c, s, a, b):
    assert all([await missing(s, path) for path in PATHS])
    listed_before = json.loads(await get(s, "individual-plots.json"))
    menu_before = await get(s, "status")
    for _ in range(2):
        async with installed(c, s) as (handle, _):
            assert (await handle.status())["dashboard"]["why_none"] is None
            for path in PATHS:
                assert "Bokeh" in await get(s, path)
            listed = json.loads(await get(s, "individual-plots.json"))
            assert {f"/{PART}{part}" for part in PARTS} == set(listed.values()) - set(
                listed_before.values()
            )
            for page in ("status", PAGE):
                menu = await get(s, page)
                assert menu.count(f'href="{PAGE}"') == 1, page
                assert "Mlsched Residency" in menu
        assert all([await missing(s, path) for path in PATHS])
        assert json.loads(await get(s, "individual-plots.json")) == listed_before
        assert (await get(s, "status")).count("lsched") == menu_before.count("lsched")


@cluster_test([1], scheduler_kwargs={"dashboard": True})
async def test_a_plugin_in_the_place_of_another_has_one_set_of_pages(c, s, a):
    await dask_mlsched.install(c)
    async with installed(c, s):
        assert (await get(s, "status")).count(f'href="{PAGE}"') == 1
        assert len(s.http_application.applications) == 2
    assert len(s.http_application.applications) == 1


@cluster_test([1], scheduler_kwargs={"dashboard": True})
async def test_pages_can_be_left_out(c, s, a):
    async with installed(c, s, dashboard=False):
        assert await missing(s, PAGE)


@cluster_test([1], scheduler_kwargs={"dashboard": False})
async def test_a_scheduler_without_a_dashboard_gets_none_and_says_so(c, s, a):
    async with installed(c, s) as (handle, _):
        assert "without one" in (await handle.status())["dashboard"]["why_none"]
        assert await tree(c, 30) == tree_total(30)


# Bokeh's client leaves a thread that looked the host up.
@cluster_test([1, 1], scheduler_kwargs={"dashboard": True}, clean_kwargs={"threads": False})
async def test_who_looks_is_counted_and_sees_what_happens(c, s, a, b):
    async with installed(c, s, dashboard_interval="100ms") as (handle, plugin):
        threads = ThreadPoolExecutor(1)
        observation = plugin.observation
        url = f"http://127.0.0.1:{s.http_server.port}/{PART}residency"
        loop = asyncio.get_running_loop()
        session = await loop.run_in_executor(threads, lambda: pull_session(url=url))
        await until(lambda: observation.runs.lookers == 1)
        assert await tree(c, 40) == tree_total(40)
        await until(lambda: observation.runs.runs and observation.runs.runs[0].comparison)
        await loop.run_in_executor(threads, session.close)
        threads.shutdown()
        assert not observation.problems, observation.last_problem
        told = (await handle.status())["dashboard"]
        assert told["problems"] == 0
        assert told["samples"] > 0


@cluster_test([1], scheduler_kwargs={"dashboard": True})
async def test_an_error_on_a_page_is_counted_and_the_rest_goes_on(c, s, a):
    async with installed(c, s, dashboard_interval="100ms") as (handle, plugin):
        plugin.observation.history.samples.append("no sample")  # as nothing of ours would
        page = await get(s, f"{PART}residency")
        assert "Bokeh" in page
        assert plugin.observation.problems > 0
        assert "the page Residency" in plugin.observation.last_problem
        assert await tree(c, 30) == tree_total(30)
        status = await handle.status()
        assert status["dashboard"]["problems"] > 0
        assert "Problems of dashboard" in str(status)
        assert "Bokeh" in await get(s, f"{PART}models")


@gen_test()
async def test_pages_have_the_prefix_of_dasks():
    kwargs = {"dashboard": True, "dashboard_address": ":0", "http_prefix": "/deep/er"}
    async with (
        Scheduler(port=0, **kwargs) as s,
        Worker(s.address, data=None),
        Client(s.address, asynchronous=True) as c,
    ):
        handle = await dask_mlsched.install(c)
        assert "Bokeh" in await get(s, f"deep/er/{PAGE}")
        listed = json.loads(await get(s, "deep/er/individual-plots.json"))
        assert f"/{PART}models" in listed.values()
        await handle.uninstall()
        assert await missing(s, f"deep/er/{PAGE}")


@gen_test()
async def test_two_schedulers_in_one_process_have_pages_of_their_own():
    kwargs = {"port": 0, "dashboard": True, "dashboard_address": ":0"}
    async with Scheduler(**kwargs) as s, Scheduler(**kwargs) as t:
        for scheduler in (s, t):
            async with (
                Worker(scheduler.address, data=None),
                Client(scheduler.address, asynchronous=True) as c,
            ):
                handle = await dask_mlsched.install(c)
                assert "Bokeh" in await get(scheduler, PAGE)
                other = t if scheduler is s else s
                assert await missing(other, PAGE)
                assert f'href="{PAGE}"' not in await get(other, "status")
                await handle.uninstall()


@gen_test()
async def test_a_scheduler_that_closes_leaves_no_page_running():
    async with (
        Scheduler(port=0, dashboard=True, dashboard_address=":0") as s,
        Worker(s.address, data=None),
        Client(s.address, asynchronous=True) as c,
    ):
        await dask_mlsched.install(c)
        pages = plugin_of(s).pages
        assert urlsplit(c.dashboard_link).port == s.http_server.port
        assert "Bokeh" in await get(s, PAGE)  # a session that nobody closes
    assert pages.why_none == "the plugin is gone"
    assert DEVICE
