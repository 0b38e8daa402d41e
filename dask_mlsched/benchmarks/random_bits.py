"""Random numbers that are the same, bit by bit, whichever array library makes them.

Counter-based: number n of a sequence follows from n and the seed alone, by integer arithmetic that
every library and device does alike.
"""

from __future__ import annotations

import hashlib
import importlib
from collections.abc import Sequence
from typing import Any

import numpy as np

#: 2**64 over the golden ratio.
_ODD = 0x9E3779B97F4A7C15


def random_bits(seed: Sequence[int], count: int, library: str = "numpy") -> Any:
    """Return 64 random bits each, [count] unsigned integers, as an array of `library`.

    The generator SplitMix64 (Steele, Lea, Flood: Fast splittable pseudorandom number generators.
    OOPSLA 2014), started at a hash of the seed; all numbers at once.

    Examples
    --------
    >>> (random_bits((1, 2), 3) == random_bits((1, 2), 5)[:3]).all().item()
    True
    """
    start = hashlib.blake2b(repr(tuple(seed)).encode(), digest_size=8).digest()
    bits = importlib.import_module(library).arange(count, dtype=np.uint64)
    bits *= np.uint64(_ODD)
    bits += np.uint64(int.from_bytes(start, "little"))
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        bits ^= bits >> np.uint64(shift)
        bits *= np.uint64(factor)
    bits ^= bits >> np.uint64(31)
    return bits
