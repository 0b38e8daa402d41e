"""The decisions that runs come to: how features differ there, and what units make of them."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from dask_mlsched.core import features
from dask_mlsched.core.network import CLIP, Floats, Network
from dask_mlsched.learning.instance import Instance

#: Decisions that are looked at in one run, evenly spread.
_LOOKS = 40
#: Deviations below are of features, or units, that are the same everywhere.
_CONSTANT = 1e-4


def visited(instance: Instance, network: Network) -> Floats:
    """Return [N, F] the features of the actions of some decisions of a run."""
    run = instance.rollout(network)
    step = max(1, len(instance.dag) // _LOOKS)
    rows, number = [np.empty((0, features.COUNT), np.float32)], 0
    while (decision := run.until(number)) is not None:
        rows.append(decision.features)
        run.take(decision.preferred)
        number = decision.number + step
    return np.concatenate(rows)


def standard(rows: Floats) -> tuple[Floats, Floats]:
    """Return [F] mean and [F] deviation of features [N, F]; 1 where they are all the same."""
    precise = rows.astype(np.float64)
    mean, scale = precise.mean(0), precise.std(0)
    scale[scale < _CONSTANT] = 1.0
    return mean.astype(np.float32), scale.astype(np.float32)


def hidden_deviation(network: Network, rows: Floats) -> npt.NDArray[np.float64]:
    """Return [H2] the deviation of the last hidden units over rows [N, F]; 1 for silent ones."""
    z = np.clip((rows - network.mean) / network.scale, -CLIP, CLIP)
    h = np.maximum(np.maximum(z @ network.w1 + network.b1, 0) @ network.w2 + network.b2, 0)
    deviation: npt.NDArray[np.float64] = h.astype(np.float64).std(0)
    deviation[deviation < _CONSTANT] = 1.0
    return deviation
