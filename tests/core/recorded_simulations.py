"""Traces of simulated runs, whose costs are known."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any
from unittest import mock

import numpy as np

from dask_mlsched.core import events as ev
from dask_mlsched.core import policies, simulator
from dask_mlsched.core.chooser import Settings
from dask_mlsched.core.costs import CopyCost, Costs
from dask_mlsched.core.dag import Dag, DagTask
from dask_mlsched.core.machine import Machine
from dask_mlsched.core.recorder import RecordedController, Recorder
from dask_mlsched.core.simulator import SimulatedRun, simulate
from dask_mlsched.core.trace import Header, Trace
from dask_mlsched.core.trace_codec import decode

#: Bytes of a device on which a product of 3 or 4 blocks a side does not fit.
MACHINE_LIMIT = 500_000

#: Nothing here is nothing, and loads are quicker than evictions.
COSTS = Costs(
    load=CopyCost(2e8, 2e-5),
    evict=CopyCost(1e8, 1e-5),
    send=CopyCost(5e7, 1e-4),
    message=1e-3,
    task=5e-4,
)


def block_product(tiles: int, seed: int = 0) -> Dag:
    """Make a product of blocks of sizes and times that differ, accumulated along k."""
    rng = random.Random(seed)
    reads: dict[str, list[str]] = {}
    for i in range(tiles):
        for j in range(tiles):
            for k in range(tiles):
                inputs = [f"A-{i}-{k}", f"B-{k}-{j}", *([f"C-{i}-{j}-{k - 1}"] if k else [])]
                for operand in inputs[:2]:
                    reads.setdefault(operand, [])
                reads[f"C-{i}-{j}-{k}"] = inputs
    return Dag.build(
        "product",
        [
            DagTask(key, deps, rng.randrange(10_000, 100_000), rng.uniform(1e-3, 4e-3), key[0])
            for key, deps in reads.items()
        ],
    )


def recorded(
    dag: Dag, machine: Machine, policy: str, **settings: object
) -> tuple[SimulatedRun, Trace]:
    """Simulate a policy, and record what its controller is told and says."""
    run, data = recorded_bytes(dag, machine, policy, **settings)
    return run, decode(data)


@contextmanager
def reporting_fetches() -> Iterator[list[tuple[int, int, int]]]:
    """Have simulated workers report what they fetch, as real ones do; yield (from, to, array)."""
    kind = simulator._Simulation
    at, receive = kind.at, kind._receive
    asked: dict[tuple[int, int], tuple[int, float]] = {}
    sent: list[tuple[int, int, int]] = []

    def noting_at(self: Any, time: float, action: Callable[..., None], *arguments: int) -> None:
        if getattr(action, "__func__", None) is reporting_receive:
            _, array = arguments
            asked[arguments] = min(self._holders[array]), self.now  # type: ignore[index]
        at(self, time, action, *arguments)

    def reporting_receive(self: Any, name: int, array: int) -> None:
        source, since = asked.pop((name, array))
        sent.append((source, name, array))
        fetches = ((source, self.now - since, ((array, self.nbytes[array]),)),)
        self.controller.handle(ev.ArraysMoved(self.now, name, (), 0, 0.0, (), fetches))
        receive(self, name, array)

    with mock.patch.multiple(kind, at=noting_at, _receive=reporting_receive):
        yield sent


def recorded_bytes(
    dag: Dag, machine: Machine, policy: str, **settings: object
) -> tuple[SimulatedRun, bytes]:
    """Do the same; return the trace as it is in a file."""
    chosen = replace(Settings(bandwidth=1e8, network_bandwidth=5e7), **settings)  # type: ignore[arg-type]
    parts: list[bytes] = []
    mode = "observe" if policy == "stock" else "manage"
    recorder = Recorder(Header("1", 0.0, policy, mode, chosen), parts.append, limit=10**9)
    made = None if policy == "stock" else policies.make(policy, random.Random(chosen.seed))
    run = simulate(
        dag,
        machine,
        made,
        order=np.arange(len(dag)),
        settings=chosen,
        stock=policy == "stock",
        controller=lambda *made_of: RecordedController(*made_of, recorder),
    )
    recorder.close()
    return run, b"".join(parts)
