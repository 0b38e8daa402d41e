"""A number that tells programs apart, and not runs of one program: keys and times are not in it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from itertools import pairwise
from typing import Final

from dask_mlsched.core.dag import Dag

_MASK: Final = (1 << 64) - 1


def dag_digest(dag: Dag) -> int:
    """Digest the shape of a DAG: prefixes, edges and sizes, these to a factor of two.

    What a task is made of goes into its number, and the sum of all numbers into the DAG's: the
    order of tasks depends on their keys, and must not matter. Some 10 microseconds a task.

    Returns
    -------
    int
        Of 63 bits.
    """
    prefixes, prefix = dag.prefixes, dag.prefix.tolist()
    sizes, given = dag.nbytes.tolist(), dag.given.tolist()
    starts, sources = dag.starts.tolist(), dag.sources.tolist()
    made: list[int] = []
    for task, (start, stop) in enumerate(pairwise(starts)):
        inputs = sorted(made[source] for source in sources[start:stop])
        own = (prefixes[prefix[task]], sizes[task].bit_length(), given[task])
        made.append(_number([repr(own), *map(str, inputs)]))
    return _number([str(len(dag)), str(sum(made) & _MASK)]) >> 1


def _number(parts: Iterable[str]) -> int:
    digest = hashlib.blake2b("\0".join(parts).encode(errors="replace"), digest_size=8).digest()
    return int.from_bytes(digest, "little")
