"""Clusters with every store: their limits, what runs on them, and looking without moving."""

from __future__ import annotations

import dataclasses
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from distributed import Client, Worker, wait

from dask_mlsched.benchmarks import clusters
from dask_mlsched.benchmarks.clusters import STORES, Conditions, find_store, peek
from dask_mlsched.benchmarks.comparison import compare
from dask_mlsched.benchmarks.contender import contender
from dask_mlsched.benchmarks.disk import DiskError
from dask_mlsched.benchmarks.optional import MissingDependencyError
from dask_mlsched.benchmarks.problem import Problem
from dask_mlsched.benchmarks.runner import run_arm
from dask_mlsched.benchmarks.workloads import find
from dask_mlsched.extension.device_store import DeviceStore
from dask_mlsched.extension.devices import EmulatedDevice
from dask_mlsched.extension.devices.cuda import PinnedCopy
from dask_mlsched.extension.emulated_host_file import EmulatedHostFile
from dask_mlsched.extension.moves import Move
from dask_mlsched.extension.worker_plugin import (
    MLWorkerPlugin,
    worker_history,
    worker_statistics,
)
from sample_tasks import SlowToPickle
from stand_in_device import ENVIRONMENT

#: Four of the arrays below fit.
LIMIT = 4 * 80_000


@pytest.fixture
def problem(tmp_path: Path) -> Problem:
    return find("gemm").build(tmp_path, tiles=4, size=64)


def conditions(**changes: Any) -> Conditions:
    return Conditions(**{"device_memory_limit": LIMIT, "bandwidth": 1e9, **changes})


def make(number: int) -> np.ndarray[Any, Any]:
    return np.full(10_000, float(number))


def look(dask_worker: Worker, keys: list[str]) -> tuple[dict[str, float], list[str], list[str]]:
    before = list(dask_worker.data.fast)
    values = {key: value[0] for key, value in peek(dask_worker.data, keys).items()}
    return values, before, list(dask_worker.data.fast)


def test_a_store_that_does_not_exist_is_named_with_those_that_do():
    with pytest.raises(
        ValueError, match=r"'tape'.*host-file, device, disk, dask-cuda, cuda"
    ) as info:
        find_store("tape")
    assert "\n" not in str(info.value)


def test_what_a_store_needs_is_asked_for_before_a_run(tmp_path: Path):
    find_store("host-file").require(conditions(), 10**18)
    with pytest.raises(DiskError, match="bytes free"):
        find_store("disk").require(conditions(directory=tmp_path), 10**18)


def test_without_dask_cuda_one_line_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "dask_cuda", None)
    for name in ("dask-cuda", "cuda"):
        with (
            pytest.raises(MissingDependencyError, match="on GPUs; install it with: pip") as info,
            find_store(name).start(conditions()),
        ):
            pass
        assert "\n" not in str(info.value)


def test_looking_at_an_emulated_device_moves_nothing():
    store = EmulatedHostFile(device_memory_limit=LIMIT, bandwidth="10GB/s", latency="1us")
    for number in range(6):
        store[f"a{number}"] = make(number)
    store["text"] = "x"
    resident = list(store.device)
    found = peek(store, [*(f"a{number}" for number in range(6)), "text", "none"])
    assert {key: value[0] for key, value in found.items()} == {
        **{f"a{number}": number for number in range(6)},
        "text": "x",
    }
    assert (list(store.device), store.statistics.loads) == (resident, 0)


def test_looking_at_our_own_store_moves_nothing():
    device = EmulatedDevice(1e10, 1e-6)
    store = DeviceStore(device_memory_limit=LIMIT, device=device, loads_ahead=False)
    for number in range(6):
        store[f"a{number}"] = make(number)
    store["text"] = "x"
    before = store.resident(), store.statistics.as_dict()
    found = peek(store, [*(f"a{number}" for number in range(6)), "text", "none"])
    assert {key: value[0] for key, value in found.items()} == {
        **{f"a{number}": number for number in range(6)},
        "text": "x",
    }
    assert (store.resident(), store.statistics.as_dict()) == before


def test_what_our_own_store_keeps_of_a_gpus_array_is_put_together():
    class Gpu(EmulatedDevice):
        """Keeps on the host what CudaDevice does."""

        def to_host(self, value: Any) -> Any:
            copy, seconds = super().to_host(value)
            return PinnedCopy({}, [copy], [True]), seconds

        def to_device(self, copy: Any) -> Any:
            return super().to_device(copy.frames[0])

    store = DeviceStore(device_memory_limit=LIMIT, device=Gpu(1e10, 1e-6), loads_ahead=False)
    for number in range(6):
        store[f"a{number}"] = make(number)
    (found,) = peek(store, ["a0"]).values()
    assert (found == make(0)).all()


@pytest.mark.integration
def test_our_own_store_is_compared_with_that_of_dask_cuda(problem: Problem):
    contenders = [contender("stock"), contender("greedy", "device")]
    limits = conditions(device_memory_limit=problem.device_memory_limit(3))
    compared = compare(problem, limits, contenders, repeats=1)
    assert compared.results_equal
    (worker,) = compared.arms[1].status["workers"].values()
    assert worker["kind"] == "device-store"


@pytest.fixture
def spilling(tmp_path: Path) -> Iterator[Client]:
    with (
        find_store("disk").start(conditions(directory=tmp_path)) as cluster,
        Client(cluster) as client,
    ):
        client.register_plugin(MLWorkerPlugin())
        yield client


@pytest.mark.integration
def test_workers_on_disk_spill_what_exceeds_the_limit_and_looking_moves_nothing(
    spilling: Client, tmp_path: Path
):
    futures = spilling.map(make, range(6), key="make", pure=False)
    values = spilling.gather(spilling.map(lambda array: array[0], futures))
    assert values == [0, 1, 2, 3, 4, 5]
    (before,) = spilling.run(worker_statistics).values()
    assert (before["kind"], before["limit"]) == ("spill-buffer", LIMIT)
    assert before["evictions"] >= 2
    files = [path for path in tmp_path.rglob("*") if path.is_file() and "storage" in path.parts]
    assert len(files) >= 2
    ((seen, order, later),) = spilling.run(look, keys=[f.key for f in futures]).values()
    assert list(seen.values()) == values
    assert order == later
    (after,) = spilling.run(worker_statistics).values()
    assert (after["loads"], after["evictions"]) == (before["loads"], before["evictions"])


@pytest.mark.integration
def test_pickling_is_part_of_what_a_move_takes(spilling: Client):
    futures = spilling.map(SlowToPickle, range(8), pure=False)
    wait(futures)  # else each is read right after it was made
    spilling.gather(spilling.map(lambda value: 1, futures, pure=False))
    (history,) = spilling.run(worker_history).values()
    # The tasks' own results are moved, too, when they are the oldest.
    moves = [Move(*row) for row in history if row[3] > 1000]
    for direction, least in (("evict", SlowToPickle.WRITE), ("load", SlowToPickle.READ)):
        seconds = [move.seconds for move in moves if move.direction == direction]
        assert len(seconds) >= 4
        assert min(seconds) >= least


@pytest.mark.integration
def test_on_disk_ours_manages_from_the_first_task_on_and_results_are_equal(problem: Problem):
    contenders = [contender(policy, "disk") for policy in ("stock", "greedy", "darts-luf")]
    limit = problem.device_memory_limit(3)
    compared = compare(problem, conditions(device_memory_limit=limit), contenders, repeats=1)
    assert compared.results_equal
    stock, *ours = compared.arms
    assert stock.status == {}
    assert stock.totals["bytes_loaded"] > 0
    for arm in ours:
        assert arm.status["decisions"] == problem.tasks()
        assert arm.status["unmanaged"] == {}
        assert arm.status["errors"] == arm.status["policy_failures"] == 0
        (worker,) = arm.status["workers"].values()
        assert (worker["kind"], worker["limit"]) == ("spill-buffer", limit)


@pytest.mark.integration
@pytest.mark.dask_cuda
# Its processes end without closing their sockets, and it warns of the GPU that is not there.
@pytest.mark.filterwarnings("default")
def test_on_dask_cudas_store_arrays_are_made_on_the_device(problem: Problem, monkeypatch):
    pytest.importorskip("dask_cuda")
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    standing_in = dataclasses.replace(STORES["dask-cuda"], library="stand_in_device")
    monkeypatch.setattr(clusters, "STORES", {**STORES, "dask-cuda": standing_in})
    limits = conditions(device_memory_limit=problem.device_memory_limit(3))
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        arms = [
            run_arm(problem, contender(policy, "dask-cuda"), limits)
            for policy in ("stock", "greedy")
        ]
    for arm in arms:
        assert arm.matches_reference
        assert arm.digest is None
        assert arm.totals["bytes_loaded"] > 0
        assert arm.compute_seconds > 0
    (worker,) = arms[1].status["workers"].values()
    assert worker["kind"] == "device-host-file"
    assert arms[1].status["decisions"] == problem.tasks()
