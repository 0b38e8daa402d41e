"""Runs to learn from, as a scheduler leaves them."""

from __future__ import annotations

import functools
from dataclasses import replace
from pathlib import Path

from core.recorded_simulations import COSTS, recorded_bytes
from dask_mlsched.core.calibration import Calibration, calibrate
from dask_mlsched.core.costs import CopyCost
from dask_mlsched.core.dag import Dag
from dask_mlsched.core.trace_codec import decode, encode
from dask_mlsched.core.training_message import RUN_SUFFIX, RUNS
from learning.instances import product

#: So that messages take little of the time, as they do live.
_SLOWER = 20_000


@functools.cache
def run_bytes(tiles: int = 4, started: float = 0.0, policy: str = "greedy") -> bytes:
    """Record a product of so many tiles a side, which began at some time."""
    usual = product(tiles)
    tasks = [replace(task, seconds=_SLOWER * task.seconds) for task in usual.dag.tasks()]
    # The DAG of a trace stands in Dask's order.
    dag = Dag.build("product", [tasks[i] for i in usual.order.argsort().tolist()])
    copy = CopyCost(usual.machine.costs.load.bandwidth / _SLOWER)
    machine = replace(usual.machine, costs=replace(COSTS, load=copy, evict=copy))
    data = recorded_bytes(dag, machine, policy, bandwidth=copy.bandwidth)[1]
    trace = decode(data)
    return encode(replace(trace, header=replace(trace.header, started=started)))


def calibration(tiles: int = 4) -> Calibration:
    return calibrate(decode(run_bytes(tiles)))


def leave(folder: Path, *runs: bytes) -> list[Path]:
    """Leave runs in the spool of a folder."""
    spool = folder / RUNS
    spool.mkdir(parents=True, exist_ok=True)
    there = len(list(spool.iterdir()))
    paths = [spool / f"{there + n:04d}{RUN_SUFFIX}" for n in range(len(runs))]
    for path, data in zip(paths, runs, strict=True):
        path.write_bytes(data)
    return paths
