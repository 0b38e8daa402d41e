"""Edges as arrays: an order in which they point forward, and the same edges turned around."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

Integers: TypeAlias = npt.NDArray[np.int64]

#: Where a node is when dependencies are followed; 0 for one that has not been seen.
_VISITED, _DONE = 1, 2


class CircleError(ValueError):
    """There is no order: some nodes wait for each other."""

    #: Each waits for the next, and the last for the first.
    circle: Sequence[int]

    def __init__(self, circle: Sequence[int]) -> None:
        super().__init__(f"{len(circle)} nodes wait for each other; expected none")
        self.circle = circle


def topological(counts: Integers, sources: Integers) -> Integers:
    """Sort nodes so that dependencies come first; of what may stand anywhere, what is first now.

    It is the order in which a depth-first search leaves the nodes, so a node that has to move
    moves to just before the first that needs it. Nodes that stand right already cost no search.

    Parameters
    ----------
    counts, sources
        [n] and [m]: how many dependencies each node has, and all of them one after the other.

    Returns
    -------
    Integers
        [n] nodes.

    Raises
    ------
    CircleError
        If there is no such order.

    Examples
    --------
    >>> topological(np.array([1, 0, 1]), np.array([2, 1])).tolist()
    [1, 2, 0]
    """
    n = len(counts)
    if np.all(sources < np.repeat(np.arange(n), counts)):
        return np.arange(n)
    # A list answers one index at a time several times faster than an array.
    ends = np.cumsum(counts).tolist()
    deps = sources.tolist()
    # Where each node's next dependency to follow stands.
    following = [0, *ends[:-1]]
    order: list[int] = []
    state = bytearray(n)
    for first in range(n):
        path = [] if state[first] else [first]
        while path:
            node = path[-1]
            state[node] = _VISITED
            i, end = following[node], ends[node]
            while i < end and state[deps[i]] == _DONE:
                i += 1
            following[node] = i
            if i == end:
                state[node] = _DONE
                order.append(path.pop())
            elif state[deps[i]] == _VISITED:
                raise CircleError(path[path.index(deps[i]) :])
            else:
                path.append(deps[i])
    return np.array(order, np.int64)


def row_starts(rows: Integers, n: int) -> Integers:
    """Tell where each of n rows begins among edges that are sorted by row: [n + 1].

    Examples
    --------
    >>> row_starts(np.array([0, 0, 2]), 3).tolist()
    [0, 2, 2, 3]
    """
    starts = np.zeros(n + 1, np.int64)
    np.cumsum(np.bincount(rows, minlength=n), out=starts[1:])
    return starts


def transposed(starts: Integers, sources: Integers) -> tuple[Integers, Integers]:
    """Turn edges around: [n + 1] starts, and [m] the readers of each node in ascending order."""
    n = len(starts) - 1
    readers = np.repeat(np.arange(n), np.diff(starts))[np.argsort(sources, kind="stable")]
    return row_starts(sources, n), readers
