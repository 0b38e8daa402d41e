from __future__ import annotations

import pytest
import yaml
from distributed import Client, Event
from distributed.cluster_dump import DumpArtefact

import dask_mlsched
from dask_mlsched.extension.state_dump import MOST_TASKS
from live_scheduler import (
    cluster_test,
    device_cluster,
    installed,
    plugin_of,
    tree,
    tree_total,
)
from sample_tasks import wait_then

pytestmark = pytest.mark.integration


def state_in(dump):
    return dump["scheduler"]["extensions"]["mlsched"]


@pytest.mark.parametrize("dump_format", ["msgpack", "yaml"])
def test_a_dump_holds_our_state(tmp_path, dump_format):
    with device_cluster(1, processes=False) as cluster, Client(cluster) as client:
        handle = dask_mlsched.install(client, trace="memory")
        assert tree(client, 16).result() == tree_total(16)
        go = Event("go")
        waiting = client.map(wait_then, ["go"] * 10, range(10))
        tuple_key = client.submit(wait_then, "go", 1, key=("a", 1))
        while handle.status()["parked"] < 9:  # one runs, and one waits for its thread
            pass
        url = str(tmp_path / "dump")
        client.dump_cluster_state(url, format=dump_format)
        status = handle.status()
        go.set()
        assert len(client.gather([*waiting, tuple_key])) == 11
        suffix = {"msgpack": ".msgpack.gz", "yaml": ".yaml"}[dump_format]
        dump = DumpArtefact.from_url(url + suffix)
        state = state_in(dump)
        assert state["status"]["managing"]
        assert state["status"]["decisions"] == status["decisions"] >= 32
        assert state["status"]["workers"].keys() == status["workers"].keys()
        assert len(state["parked"]) == status["parked"] > 0
        (worker,) = status["workers"]
        assert worker in state["parked"][0]["parked"]["missing_bytes"]
        assert state["decided"][-1]["decision"]["worker"] == worker
        # What Dask itself makes of a dump.
        assert len(dump.scheduler_tasks_in_state("no-worker")) == status["parked"]
        dump.to_yamls(tmp_path / "tree")
        written = yaml.safe_load((tmp_path / "tree" / "scheduler" / "extensions.yaml").read_text())
        assert written["mlsched"] == state
        handle.uninstall()
        client.dump_cluster_state(url, format=dump_format)
        assert "mlsched" not in DumpArtefact.from_url(url + suffix)["scheduler"]["extensions"]


@cluster_test([1])
async def test_what_is_excluded_is_left_out(c, s, a):
    async with installed(c, s):
        await tree(c, 16)
        state = state_in(await s.get_cluster_state(exclude=["decided", "workers", "run_spec"]))
        assert state.keys() == {"status", "parked"}
        assert "workers" not in state["status"]
        assert "extensions" not in (await s.get_cluster_state(exclude=["extensions"]))["scheduler"]


@cluster_test([1])
async def test_it_does_not_grow_with_the_tasks(c, s, a):
    async with installed(c, s):
        go = Event("go")
        futures = c.map(wait_then, ["go"] * (MOST_TASKS + 50), range(MOST_TASKS + 50))
        while len(s.unrunnable) <= MOST_TASKS:
            await c.scheduler.identity()
        state = state_in(await s.get_cluster_state(exclude=[]))
        assert len(state["parked"]) == MOST_TASKS < state["status"]["parked"]
        await go.set()
        await c.gather(futures)
        state = state_in(await s.get_cluster_state(exclude=[]))
        assert len(state["decided"]) == MOST_TASKS
        assert state["decided"][-1]["state"] == "memory"


@cluster_test([1])
async def test_an_error_of_ours_leaves_dask_its_dump(c, s, a):
    async with installed(c, s) as (_, plugin):
        recording, plugin.recording = plugin.recording, None
        state = await s.get_cluster_state(exclude=[])
        plugin.recording = recording
        assert "AttributeError" in state_in(state)["error"]
        assert state["scheduler"]["workers"].keys() == {a.address}


@cluster_test([1])
async def test_it_goes_with_the_plugin(c, s, a):
    first = await dask_mlsched.install(c)
    await dask_mlsched.install(c, policy="fifo")
    assert state_in(await s.get_cluster_state(exclude=[]))["status"]["policy"] == "fifo"
    await plugin_of(s).uninstall()
    assert "mlsched" not in s.extensions
    await first.uninstall()
