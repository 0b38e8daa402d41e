"""Compiled runs of small DAGs for tests of what is made of them."""

from __future__ import annotations

import numpy as np

from core.recorded_simulations import MACHINE_LIMIT, block_product
from dask_mlsched.core.chooser import Settings
from dask_mlsched.core.compiled.rollout import Rollout
from dask_mlsched.core.costs import CopyCost, Costs
from dask_mlsched.core.dag import Dag
from dask_mlsched.core.machine import Machine
from dask_mlsched.core.network import Network
from dask_mlsched.core.scores import FEWEST_MISSING, score

COPY = CopyCost(bandwidth=1e8, latency=1e-5)


#: Runs what misses most.
MOST_MISSING = score(missing=1.0)


def product_rollout(
    network: Network = FEWEST_MISSING,
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
