"""Whole collections on a managed cluster: results are those of Dask alone."""

from __future__ import annotations

from collections.abc import Iterator

import dask
import dask.array as da
import numpy as np
import pytest
from distributed import Client

import dask_mlsched
from live_scheduler import (
    assert_no_errors,
    assert_nothing_left,
    device_cluster,
    plugin_of,
)

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def shared_client() -> Iterator[Client]:
    with device_cluster(2, processes=False) as cluster, Client(cluster) as client:
        yield client


@pytest.fixture
def managed(shared_client: Client) -> Iterator[Client]:
    handle = dask_mlsched.install(shared_client)
    scheduler = shared_client.cluster.scheduler
    plugin = plugin_of(scheduler)
    yield shared_client
    assert handle.status()["decisions"] > 0
    handle.uninstall()
    assert_no_errors(plugin)
    assert_nothing_left(scheduler)


def test_a_shuffle_of_a_data_frame(managed: Client):
    pd = pytest.importorskip("pandas")
    dd = pytest.importorskip("dask.dataframe")
    frame = pd.DataFrame({"x": np.arange(400) % 17, "y": np.arange(400.0)})
    with dask.config.set({"dataframe.shuffle.method": "p2p"}):
        shuffled = dd.from_pandas(frame, npartitions=8).shuffle("x").map_partitions(len)
        assert shuffled.compute().sum() == 400
        grouped = dd.from_pandas(frame, npartitions=8).groupby("x").y.sum(split_out=4).compute()
    pd.testing.assert_series_equal(grouped.sort_index(), frame.groupby("x").y.sum())


def test_a_rechunk(managed: Client):
    x = np.arange(10_000.0).reshape(100, 100)
    with dask.config.set({"array.rechunk.method": "p2p"}):
        y = da.from_array(x, chunks=(100, 10)).rechunk((10, 100)) + 1
        np.testing.assert_array_equal(y.compute(), x + 1)


def test_results_are_equal_on_and_off(shared_client: Client):
    rng = np.random.default_rng(0)
    x = da.from_array(rng.random((120, 120)), chunks=(40, 40))
    workload = {
        "product": x @ x.T,
        "mean": (x - x.mean(axis=0)).std(axis=1),
        "svd": da.linalg.svd_compressed(x, 3, seed=1)[1],
        "overlap": x.map_overlap(lambda block: block * 2, depth=1, boundary="none"),
    }
    off = {name: collection.compute() for name, collection in workload.items()}
    for policy in ("random", "greedy-hold"):
        handle = dask_mlsched.install(shared_client, policy=policy)
        for name, collection in workload.items():
            np.testing.assert_array_equal(collection.compute(), off[name])
        assert handle.status()["errors"] == 0
        handle.uninstall()
    assert_nothing_left(shared_client.cluster.scheduler)
