from __future__ import annotations

import pytest
from distributed import Client, LocalCluster
from distributed.utils_test import gen_cluster

import dask_mlsched
from dask_mlsched.config import ConfigError
from dask_mlsched.extension.handle import Handle, NotInstalledError
from live_scheduler import (
    assert_nothing_left,
    cluster_test,
    device_cluster,
    plugin_of,
    plugins_of,
    tree,
    tree_total,
)

pytestmark = pytest.mark.integration


def test_the_whole_surface_with_an_ordinary_client():
    with device_cluster(2, processes=False) as cluster, Client(cluster) as client:
        handle = dask_mlsched.install(client, policy="greedy")
        assert isinstance(handle, Handle)
        assert repr(handle) == f"<mlsched on {cluster.scheduler_address}>"
        result = tree(client, 16)
        assert result.result() == tree_total(16)
        assert handle.status()["policy"] == "greedy"
        assert handle.explain(result)["managed"]
        assert handle.set_policy("fifo") is None
        assert handle.set_mode("observe") is None
        assert handle.status()["mode"] == "observe"
        assert handle.uninstall() is None
        assert handle.uninstall() is None
        with pytest.raises(NotInstalledError, match=r"call dask_mlsched\.install\(client\)"):
            handle.status()
        assert_nothing_left(cluster.scheduler)


@cluster_test([1])
async def test_with_an_asynchronous_client_everything_is_awaited(c, s, a):
    handle = await dask_mlsched.install(c)
    assert (await handle.status())["managing"]
    await handle.set_mode("off")
    assert not (await handle.status())["managing"]
    await handle.uninstall()
    await handle.uninstall()
    assert_nothing_left(s)


@cluster_test([1])
async def test_a_bad_value_changes_nothing(c, s, a):
    handle = await dask_mlsched.install(c)
    for mode in ("on", "", "Manage"):
        with pytest.raises(ConfigError, match=f"mlsched.mode is '{mode}'; expected one of off, "):
            await handle.set_mode(mode)
    with pytest.raises(ConfigError, match=r"mlsched.policy is 'best'; expected one of learned, "):
        await handle.set_policy("best")
    with pytest.raises(ConfigError, match=r"cannot be made .*ModuleNotFoundError"):
        await handle.set_policy("nowhere.Policy")
    status = await handle.status()
    assert (status["mode"], status["policy"]) == ("manage", "learned")
    await handle.uninstall()


@gen_cluster(client=True)
async def test_bad_settings_are_refused_before_anything_is_sent(c, s, a, b):
    for settings in ({"mode": "on"}, {"lookahead": "two"}, {"nonsense": 1}):
        with pytest.raises(ConfigError):
            dask_mlsched.install(c, **settings)
    assert not plugins_of(s)


@cluster_test([1])
async def test_a_second_handle_speaks_with_the_same_plugin(c, s, a):
    first = await dask_mlsched.install(c)
    async with Client(s.address, asynchronous=True) as d:
        second = Handle(d)
        await second.set_mode("observe")
        assert (await first.status())["mode"] == "observe"
        await second.uninstall()
    await first.uninstall()
    assert_nothing_left(s)


def test_uninstalling_when_the_client_is_closed_does_nothing():
    with device_cluster(1, processes=False) as cluster:
        with Client(cluster) as client:
            handle = dask_mlsched.install(client)
        assert handle.uninstall() is None
        assert "closed" in repr(handle)
        assert plugin_of(cluster.scheduler)


def test_uninstalling_on_a_cluster_that_is_closing_or_closed_does_nothing():
    cluster = device_cluster(1, processes=False)
    client = Client(cluster)
    handle = dask_mlsched.install(client)
    plugin = plugin_of(cluster.scheduler)
    results = client.map(sum, [[1]] * 50)
    cluster.close()
    assert handle.uninstall() is None
    assert plugin.controller is None
    assert not plugin.errors
    assert len(results) == 50
    client.close()
    assert handle.uninstall() is None


def test_a_cluster_of_processes_without_tiers_is_left_alone():
    with (
        LocalCluster(
            n_workers=1, threads_per_worker=1, memory_limit=0, dashboard_address=":0"
        ) as cluster,
        Client(cluster) as client,
    ):
        handle = dask_mlsched.install(client)
        assert client.submit(sum, [1, 2]).result() == 3
        status = handle.status()
        assert not status["managing"]
        assert [worker["kind"] for worker in status["workers"].values()] == [None]
        handle.uninstall()
        assert_nothing_left(cluster.scheduler)


@cluster_test([1])
async def test_a_handle_on_a_cluster_without_the_plugin_says_so(c, s, a):
    handle = Handle(c)
    for call in (handle.status, lambda: handle.explain("x"), lambda: handle.set_mode("off")):
        with pytest.raises(NotInstalledError, match=r"call dask_mlsched\.install\(client\)"):
            await call()
    await handle.uninstall()
