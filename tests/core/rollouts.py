"""Compiled runs of small DAGs for tests of what is made of them."""

from __future__ import annotations

import numpy as np

from core.recorded_simulations import MACHINE_LIMIT, block_product
from dask_mlsched.core import features
from dask_mlsched.core.chooser import Settings
from dask_mlsched.core.compiled.rollout import Rollout
from dask_mlsched.core.costs import CopyCost, Costs
from dask_mlsched.core.dag import Dag
from dask_mlsched.core.machine import Machine
from dask_mlsched.core.network import Network, linear

COPY = CopyCost(bandwidth=1e8, latency=1e-5)


def scored_by(**weights: float) -> Network:
    """Make a linear score of the features that are named."""
    row = np.zeros(features.COUNT)
    for name, weight in weights.items():
        row[features.NAMES.index(name)] = weight
    return linear(row)


#: Runs what misses least, and holds if that misses less.
NEAREST = scored_by(missing=-1.0)
#: Runs what misses most.
FARTHEST = scored_by(missing=1.0)


def product_rollout(
    network: Network = NEAREST,
    tiles: int = 3,
    *,
    limit: int | None = MACHINE_LIMIT,
    may_hold: bool = True,
    dag: Dag | None = None,
) -> Rollout:
    """Begin a product of blocks that does not fit on the device, unless it is told otherwise."""
    dag = dag or block_product(tiles)
    machine = Machine(limit, costs=Costs(COPY, COPY, COPY))
    settings = Settings(bandwidth=COPY.bandwidth)
    return Rollout(dag, machine, settings, np.arange(len(dag)), network, may_hold=may_hold)
