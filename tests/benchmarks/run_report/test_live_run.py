"""The report of a live run, against what its workers' own clocks said."""

from __future__ import annotations

import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from distributed import Client, wait

import dask_mlsched
from dask_mlsched.benchmarks.run_report.findings import find
from dask_mlsched.benchmarks.run_report.page import page
from dask_mlsched.core.trace import Trace
from dask_mlsched.core.trace_codec import decode
from dask_mlsched.extension.worker_plugin import worker_history
from dask_mlsched.learning.default_model import default_network
from live_scheduler import device_cluster
from sample_tasks import chunk, total

pytestmark = pytest.mark.integration

#: As many tasks make chunks as read them; together these are larger than the devices.
CHUNKS = 48


def _recorded(client: Client, handle: Any, path: Path) -> tuple[Trace, list[tuple[Any, ...]]]:
    """Return the trace and all copies that workers know of, once the last was reported."""
    history = client.run(worker_history)
    # Time, key, direction, bytes, seconds. What takes no time is no copy.
    moves = [move for each in history.values() for move in each if move[4] > 0]
    for _ in range(100):
        trace = decode(handle.save_trace(path).read_bytes())
        if sum(copy.seconds > 0 for copy in trace.copies()) == len(moves):
            return trace, moves
        time.sleep(0.05)
    raise AssertionError("the last copies were not reported in five seconds")


@pytest.mark.parametrize("store", ["host-file", "device"])
@pytest.mark.parametrize("mode", ["manage", "observe"])
def test_a_live_run_is_reported_as_it_was(mode: str, store: str, tmp_path: Path):
    with device_cluster(2, store=store) as cluster, Client(cluster) as client:
        handle = dask_mlsched.install(client, trace="memory", mode=mode, policy="greedy-hold")
        chunks = client.map(chunk, [10] * CHUNKS, range(CHUNKS))
        wait(chunks)
        sums = client.gather(client.map(total, chunks))
        assert sums == [1250.0 * number for number in range(CHUNKS)]
        trace, moves = _recorded(client, handle, tmp_path / "run")
        addresses = set(handle.status()["workers"])
        handle.uninstall()
    assert moves
    found = find(trace, "run", default_network(), decisions=2)
    assert found.run.loaded.nbytes[-1] == sum(m[3] for m in moves if m[2] == "load")
    assert found.run.evicted.nbytes[-1] == sum(m[3] for m in moves if m[2] == "evict")
    assert {worker.address for worker in found.timeline.workers} == addresses
    assert (found.calibration.unequal, found.left_over) == (None, None)
    assert found.decided.by_dask == (0 if mode == "manage" else 2 * CHUNKS)
    for worker in found.timeline.workers:
        shown = worker.seconds()
        there = (worker.end - worker.start) * len(worker.threads)
        assert sum(shown.values()) == pytest.approx(there)
        assert shown["load"] + shown["evict"] <= len(worker.threads) * worker.copy_seconds() + 1e-6
        assert all(one.end <= other.start + 1e-9 for one, other in pairwise(worker.copies))
    text = page(found, title="Live", top=2)
    assert all(address in text for address in addresses)


def test_arrays_that_were_resident_already_are_no_loads_that_somebody_saved(tmp_path: Path):
    few = 4  # which fit on the device
    with device_cluster(1) as cluster, Client(cluster) as client:
        chunks = client.map(chunk, [10] * few, range(few))
        wait(chunks)
        handle = dask_mlsched.install(client, trace="memory", policy="greedy")
        assert client.gather(client.map(total, chunks)) == [1250.0 * n for n in range(few)]
        trace, moves = _recorded(client, handle, tmp_path / "run")
        handle.uninstall()
    assert not [move for move in moves if move[2] == "load"]
    found = find(trace, "run", default_network(), decisions=2)
    assert (found.calibration.left_over, found.run.figures.bytes_loaded) == (few, 0)
    assert found.calibration.left_over_bytes >= few * 10_000
    assert (found.alone, found.least_loaded) == (None, None)
    assert "Dask alone is left out" in page(found, title="Live", top=2)
