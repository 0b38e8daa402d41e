from __future__ import annotations

import asyncio
from typing import Any

import dask.array as da
import numpy as np
import pytest
import scipy.sparse
from distributed import Client, LocalCluster, Worker

from dask_mlsched import LocalDeviceCluster
from dask_mlsched.extension.device_store import DeviceStore
from dask_mlsched.extension.devices import EmulatedDevice
from dask_mlsched.extension.emulated_host_file import EmulatedHostFile

pytestmark = pytest.mark.integration

DEVICE = {"device_memory_limit": "1MB", "bandwidth": "10GB/s", "latency": "1us"}
QUIET: dict[str, Any] = {"dashboard_address": ":0"}


def store_of(dask_worker: Worker) -> EmulatedHostFile:
    store = dask_worker.data
    assert isinstance(store, EmulatedHostFile)
    return store


def evictions(dask_worker: Worker) -> int:
    return store_of(dask_worker).statistics.evictions


def limit(dask_worker: Worker) -> float:
    return store_of(dask_worker).buffer.n


def product(n: int, chunks: int) -> da.Array:
    x = da.from_array(np.arange(n * n, dtype="f8").reshape(n, n) % 7, chunks=chunks)
    return x @ x.T + x


def test_results_are_the_same_when_arrays_exceed_the_device():
    expected = product(512, 128).compute(scheduler="synchronous")
    with LocalDeviceCluster(2, **DEVICE, **QUIET) as cluster, Client(cluster) as client:
        result = product(512, 128).persist()
        np.testing.assert_array_equal(result.compute(), expected)
        # Sixteen chunks of 128 kB; eight of them fit.
        assert sum(client.run(evictions).values()) > 0
        assert set(client.run(limit).values()) == {1_000_000}


def test_sparse_results_are_the_same_when_arrays_exceed_the_device():
    rng = np.random.default_rng(0)
    blocks = [scipy.sparse.random_array((300, 300), density=0.2, rng=rng) for _ in range(8)]
    with (
        LocalDeviceCluster(processes=False, **DEVICE, **QUIET) as cluster,
        Client(cluster) as client,
    ):
        squares = [client.submit(lambda b: b.tocsr() @ b.tocsr(), block) for block in blocks]
        results = client.gather(squares)
        assert client.run(evictions)[cluster.workers[0].address] > 0
    for block, result in zip(blocks, results, strict=True):
        assert abs(result - block.tocsr() @ block.tocsr()).max() == 0


def test_every_worker_has_a_device_of_its_own_when_the_cluster_grows():
    with (
        LocalDeviceCluster(1, processes=False, **DEVICE, **QUIET) as cluster,
        Client(cluster) as client,
    ):
        cluster.scale(3)
        client.wait_for_workers(3)
        stores = {id(store_of(worker)) for worker in cluster.workers.values()}
        assert len(stores) == 3
        cluster.scale(1)


def test_a_restarted_worker_has_an_empty_device():
    with LocalDeviceCluster(1, **DEVICE, **QUIET) as cluster, Client(cluster) as client:
        client.submit(np.ones, 1000, key="x").result()
        client.restart()
        assert list(client.run(lambda dask_worker: len(store_of(dask_worker))).values()) == [0]
        assert client.submit(np.ones, 1000).result().sum() == 1000


def test_it_can_be_asynchronous():
    async def run() -> None:
        async with (
            LocalDeviceCluster(1, processes=False, asynchronous=True, **DEVICE, **QUIET) as cluster,
            Client(cluster, asynchronous=True) as client,
        ):
            assert (await client.submit(np.ones, 10)).sum() == 10
            assert store_of(cluster.workers[0]).buffer.n == 1_000_000

    asyncio.run(run())


def test_it_is_a_local_cluster_with_one_worker_of_one_thread():
    with LocalDeviceCluster(processes=False, **QUIET) as cluster:
        assert isinstance(cluster, LocalCluster)
        (worker,) = cluster.workers.values()
        assert worker.state.nthreads == 1
        assert store_of(worker).buffer.n == 64_000_000


def test_the_hosts_memory_limit_spills_nothing():
    # A worker that is over every threshold of its process from the start.
    with (
        LocalDeviceCluster(processes=False, memory_limit="100MB", **DEVICE, **QUIET) as cluster,
        Client(cluster) as client,
    ):
        (worker,) = cluster.workers.values()
        worker.memory_manager.memory_pause_fraction = False
        future = client.submit(np.ones, 1000, key="x")
        future.result()
        client.sync(worker.memory_manager.memory_monitor, worker)
        assert worker.monitor.get_process_memory() > 0.7 * 100e6
        assert list(store_of(worker).device) == [future.key]
        assert evictions(worker) == 0


@pytest.mark.parametrize(
    ("parameter", "value"),
    [("device_memory_limit", "big"), ("bandwidth", 0), ("latency", "-1us")],
)
def test_a_wrong_parameter_is_named_before_anything_starts(parameter: str, value: Any):
    with pytest.raises(ValueError, match=f"^{parameter} is {value!r}; expected"):
        LocalDeviceCluster(**{**DEVICE, parameter: value})


def test_an_unknown_store_is_named_before_anything_starts():
    with pytest.raises(ValueError, match=r"^store is 'disk'; expected 'host-file' or 'device'$"):
        LocalDeviceCluster(store="disk")  # type: ignore[arg-type]


def device_store_of(dask_worker: Worker) -> DeviceStore:
    store = dask_worker.data
    assert isinstance(store, DeviceStore)
    return store


def test_our_own_store_gives_the_same_results_in_processes():
    expected = product(512, 128).compute(scheduler="synchronous")
    with (
        LocalDeviceCluster(2, store="device", **DEVICE, **QUIET) as cluster,
        Client(cluster) as client,
    ):
        np.testing.assert_array_equal(product(512, 128).compute(), expected)
        evicted = client.run(lambda dask_worker: device_store_of(dask_worker).statistics.evictions)
        assert sum(evicted.values()) > 0
        limits = client.run(lambda dask_worker: device_store_of(dask_worker).limit)
        assert set(limits.values()) == {1_000_000}


def test_workers_of_one_process_share_neither_store_nor_device():
    with LocalDeviceCluster(2, store="device", processes=False, **DEVICE, **QUIET) as cluster:
        stores = [device_store_of(worker) for worker in cluster.workers.values()]
        devices = [store.device for store in stores]
        assert devices[0] is not devices[1]
        engines = []
        for device in devices:
            assert isinstance(device, EmulatedDevice)
            engines.append(device._load)
        assert {engine.bandwidth for engine in engines} == {1e10}
        assert {engine.latency for engine in engines} == {1e-6}
        # Of one engine, one copy would wait for another.
        assert engines[0].busy is not engines[1].busy


def test_a_store_of_someone_elses_is_refused():
    with pytest.raises(TypeError, match=r"brings its own store; leave it out"):
        LocalDeviceCluster(data=dict)
