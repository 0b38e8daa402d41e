"""Small instances to train on: a run takes a millisecond."""

from __future__ import annotations

import numpy as np

from dask_mlsched.benchmarks.families.factorizations import cholesky
from dask_mlsched.benchmarks.families.products import gemm
from dask_mlsched.benchmarks.training_set import instance_of
from dask_mlsched.core import features
from dask_mlsched.core.network import Network, linear
from dask_mlsched.learning.instance import Instance


def product(tiles: int = 4, ratio: float = 2.0) -> Instance:
    """Multiply two dense matrices."""
    dag = gemm(tiles=tiles, size=32)
    return instance_of(dag, name=f"gemm {tiles}", family="gemm", memory_ratio=ratio)


def factorization(tiles: int = 5, ratio: float = 2.0) -> Instance:
    """Factor a matrix."""
    dag = cholesky(tiles=tiles, size=32)
    return instance_of(dag, name=f"cholesky {tiles}", family="cholesky", memory_ratio=ratio)


def few() -> list[Instance]:
    """Two families of two instances each."""
    return [product(4), product(5), factorization(5), factorization(6)]


def scored_by(**weights: float) -> Network:
    """Make a linear score of the features that are named."""
    row = np.zeros(features.COUNT)
    for name, weight in weights.items():
        row[features.NAMES.index(name)] = weight
    return linear(row)


#: Runs what misses least.
NEAREST = scored_by(missing=-1.0)
