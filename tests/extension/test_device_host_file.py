"""dask-cuda's cluster and its real store, with arrays that stand in for those of a GPU."""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterator
from typing import Any

import dask.array as da
import numpy as np
import pytest
from distributed import Client, Worker

from dask_mlsched.extension.worker_plugin import (
    NAME,
    TOPIC,
    MLWorkerPlugin,
    worker_history,
    worker_statistics,
)
from stand_in_device import ENVIRONMENT, StandInArray, to_device, to_host

pytestmark = [
    pytest.mark.dask_cuda,
    pytest.mark.integration,
    # Its processes end without closing their sockets, and it warns of the GPU that is not there.
    pytest.mark.filterwarnings("default"),
]

#: Seven chunks of the product fit.
LIMIT = 1_000_000


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("default")
        for name, value in ENVIRONMENT.items():
            patch.setenv(name, value)
        dask_cuda = pytest.importorskip("dask_cuda")
        from dask_cuda.device_host_file import DeviceHostFile

        with (
            dask_cuda.LocalCUDACluster(
                n_workers=1,
                data=(DeviceHostFile, {"device_memory_limit": LIMIT}),
                device_memory_limit=LIMIT,
                dashboard_address=":0",
            ) as cluster,
            Client(cluster) as client,
        ):
            yield client


def product(*, on_device: bool) -> da.Array:
    x = da.from_array(np.arange(512 * 512, dtype="f8").reshape(512, 512) % 7, chunks=128)
    if on_device:
        x = x.map_blocks(to_device, meta=to_device(np.empty((0, 0))))
    return x @ x.T + x


def resident(dask_worker: Worker) -> dict[Any, str]:
    return {key: type(value).__name__ for key, value in dask_worker.data.device.items()}


def test_its_moves_are_counted_and_results_stay_the_same(client: Client):
    client.register_plugin(MLWorkerPlugin(snapshot_interval=0.05))
    result = product(on_device=True).persist()
    blocks = result.compute()
    assert set(next(iter(client.run(resident).values())).values()) == {StandInArray.__name__}
    expected = product(on_device=False).compute(scheduler="synchronous")
    np.testing.assert_array_equal(to_host(blocks), expected)

    (hello,) = [msg for _, msg in client.get_events(TOPIC) if msg["op"] == "tier"]
    assert (hello["kind"], hello["limit"]) == ("device-host-file", LIMIT)
    (statistics,) = client.run(worker_statistics).values()
    (history,) = client.run(worker_history).values()
    assert statistics["evictions"] > statistics["loads"] > 0
    assert statistics["errors"] == statistics["callback_errors"] == 0
    assert statistics["bytes_loaded"] == sum(m[3] for m in history if m[2] == "load")
    assert all(0 < move[4] < 1 for move in history)
    # A load is reported when the evictions it made are over.
    assert all(move[5] <= LIMIT for move in history if move[2] == "load")


def test_its_reports_add_up_to_its_statistics(client: Client):
    for _ in range(100):
        reports = [msg for _, msg in client.get_events(TOPIC) if msg["op"] == "report"]
        moved = [move for msg in reports for move in msg["moves"]]
        (statistics,) = client.run(worker_statistics).values()
        if len(moved) == statistics["loads"] + statistics["evictions"]:
            break
        time.sleep(0.02)
    assert sum(m[2] for m in moved if m[1] == "load") == statistics["bytes_loaded"]
    assert sum(m[2] for m in moved if m[1] == "evict") == statistics["bytes_evicted"]


def test_unregistering_leaves_its_store_as_it_was(client: Client):
    client.unregister_worker_plugin(NAME)

    def hooks(dask_worker: Worker) -> list[Any]:
        buffer = dask_worker.data.device_buffer
        untouched = buffer.slow is dask_worker.data.device_host_func
        return [buffer.fast_to_slow_callbacks, buffer.slow_to_fast_callbacks, untouched]

    assert list(client.run(hooks).values()) == [[[], [], True]]
