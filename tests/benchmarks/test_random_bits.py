from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dask_mlsched.benchmarks.block_products import random_tile
from dask_mlsched.benchmarks.random_bits import random_bits

MASK = 2**64 - 1


def split_mix(state: int) -> int:
    """SplitMix64 as it is written down, one number at a time."""
    z = state & MASK
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 & MASK
    z = (z ^ (z >> 27)) * 0x94D049BB133111EB & MASK
    return z ^ (z >> 31)


def test_numbers_are_those_of_split_mix_one_after_the_other():
    bits = random_bits((3,), 50)
    # The first number has the state itself, which is found by searching nothing: run it backwards.
    z = int(bits[0])
    for shift, factor in ((31, 0x94D049BB133111EB), (27, 0xBF58476D1CE4E5B9), (30, 1)):
        undone = z
        for _ in range(3):
            undone = z ^ (undone >> shift)
        z = undone * pow(factor, -1, 2**64) & MASK
    assert [split_mix(z + n * 0x9E3779B97F4A7C15) for n in range(50)] == bits.tolist()


@given(seed=st.lists(st.integers(0, 10**6), max_size=4), count=st.integers(0, 100))
def test_a_longer_sequence_begins_with_the_shorter_one(seed, count):
    assert (random_bits(seed, 100)[:count] == random_bits(tuple(seed), count)).all()


def test_other_seeds_have_other_numbers():
    seeds = [(), (0,), (0, 0), (1, 23), (12, 3)]
    assert len({int(random_bits(seed, 1)[0]) for seed in seeds}) == len(seeds)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_tiles_are_uniform_between_minus_one_and_one(dtype):
    tile = random_tile((0, 1), (200, 300), dtype)
    assert (tile.dtype, tile.shape) == (np.dtype(dtype), (200, 300))
    assert -1 <= tile.min() < -0.999
    assert 0.999 < tile.max() < 1
    assert abs(tile.mean()) < 0.01
    assert abs(tile.var() - 1 / 3) < 0.01
    assert len(np.unique(tile)) > 59_000


def test_a_tile_of_floats_is_that_of_doubles_but_for_digits():
    single, double = (random_tile((5,), (30, 30), dtype) for dtype in ("float32", "float64"))
    np.testing.assert_allclose(single, double, atol=2.0**-23)
