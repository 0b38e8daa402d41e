"""Networks for tests, and the formula that they follow, in double precision."""

from __future__ import annotations

import numpy as np

from dask_mlsched.core.network import CLIP, Network, shapes


def random_network(
    rng: np.random.Generator, features: int, hidden: tuple[int, int] = (32, 32)
) -> Network:
    """Make a network whose scores are of the order of one."""
    arrays = {}
    for name, shape in shapes(features, hidden).items():
        size = shape[0] if len(shape) == 2 else 4
        arrays[name] = (rng.normal(size=shape) / np.sqrt(max(size, 1))).astype(np.float32)
    arrays["scale"] = rng.uniform(0.5, 2, features).astype(np.float32)
    return Network(**arrays)


def by_formula(network: Network, x: np.ndarray) -> np.ndarray:
    """Return [A, 2] preference and g."""
    n = Network(*(array.astype(np.float64) for array in network))
    z = np.clip((x - n.mean) / n.scale, -CLIP, CLIP)
    h = np.maximum(np.maximum(z @ n.w1 + n.b1, 0) @ n.w2 + n.b2, 0)
    heads = h @ n.w3 + n.b3
    heads[:, 0] += z @ n.skip
    return heads
