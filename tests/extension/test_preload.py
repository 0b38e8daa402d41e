from __future__ import annotations

import dask
import pytest
from distributed import Client
from distributed.utils_test import gen_cluster

from dask_mlsched.extension.emulated_host_file import EmulatedHostFile
from dask_mlsched.extension.handle import Handle
from live_scheduler import (
    DEVICE,
    assert_no_errors,
    assert_nothing_left,
    device_cluster,
    plugin_of,
    plugins_of,
    tree,
    tree_total,
)

pytestmark = pytest.mark.integration

PRELOAD = {"distributed.scheduler.preload": ["dask_mlsched.extension.preload"]}


@gen_cluster(
    client=True,
    config={**PRELOAD, "mlsched.policy": "fifo"},
    worker_kwargs={"data": (EmulatedHostFile, DEVICE)},
)
async def test_a_scheduler_installs_it_by_configuration_alone(c, s, a, b):
    plugin = plugin_of(s)
    assert plugin.policy_name == "fifo"
    assert await tree(c, 16) == tree_total(16)
    status = await Handle(c).status()
    assert status["managing"]
    assert status["decisions"] == 32
    assert_no_errors(plugin)
    await Handle(c).uninstall()
    assert_nothing_left(s)


@gen_cluster(client=True, config={**PRELOAD, "mlsched.mode": "off"})
async def test_it_can_be_preloaded_switched_off(c, s, a, b):
    assert plugin_of(s).mode == "off"
    assert await c.submit(sum, [1, 2]) == 3


def test_a_local_cluster_takes_it_as_well():
    with (
        dask.config.set(PRELOAD),
        device_cluster(1, processes=False) as cluster,
        Client(cluster) as client,
    ):
        assert len(plugins_of(cluster.scheduler)) == 1
        assert client.gather(tree(client, 16)) == tree_total(16)
        handle = Handle(client)
        assert handle.status()["decisions"] == 32
        handle.uninstall()
        assert_nothing_left(cluster.scheduler)
