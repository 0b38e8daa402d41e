"""Labels of tasks after Weisfeiler and Lehman: what a task is made of, a few steps down.

A task's next label is a hash of its own and of the *set* of labels that it reads: how many tasks
have one label does not matter, so that inner tasks have the same label in small and in large DAGs.
Only dependencies are looked at, never readers: a label does not change when a DAG grows.

After Shervashidze, Schweitzer, van Leeuwen, Mehlhorn and Borgwardt (2011), Weisfeiler-Lehman Graph
Kernels, JMLR 12, sections 2.1 and 3.1; there, the labels of all neighbours count, each as often as
it is there. Whatever changes a label here needs another version (`fingerprint_record`).
"""

from __future__ import annotations

import hashlib
import re
from functools import lru_cache
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

from dask_mlsched.core.compiled.jit import compiled
from dask_mlsched.core.dag import Booleans, Integers

Labels: TypeAlias = npt.NDArray[np.uint64]

#: How often labels are refined. Three steps down tell a task's place in its algorithm; more tell
#: its distance to where the algorithm began, of which large DAGs have more.
ROUNDS: Final = 3

#: Unlabelled, a task begins as the number of its dependencies; so many or more are one.
_MOST_INPUTS: Final = 3

_DIGITS: Final = re.compile(r"[0-9]+")

# Of splitmix64: Steele, Lea and Flood (2014), Fast Splittable Pseudorandom Number Generators,
# OOPSLA, section 4. Whole numbers here, so that compiled code is made anew if they change; unsigned
# where they are used, for numba makes a float of a signed and an unsigned number.
_GAMMA: Final = 0x9E3779B97F4A7C15
_FIRST: Final = 0xBF58476D1CE4E5B9
_SECOND: Final = 0x94D049BB133111EB


def canonical(prefix: str) -> str:
    """Return what a prefix has in common with those of the same program at another size.

    Each run of the digits 0 to 9 becomes one ``#``: most number a level, a step or an operand.

    Examples
    --------
    >>> canonical("combine12-sum")
    'combine#-sum'
    """
    return _DIGITS.sub("#", prefix)


@lru_cache(maxsize=4096)
def prefix_label(prefix: str) -> int:
    """Return the label, of 64 bits, that tasks of a prefix begin with."""
    text = canonical(prefix).encode(errors="replace")
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "little")


def input_labels(inputs: Integers) -> Labels:
    """Return the labels [n] that tasks with so many dependencies [n] begin with, unlabelled."""
    classes = [prefix_label(f"inputs: {'i' * i}") for i in range(_MOST_INPUTS + 1)]
    labels: Labels = np.array(classes, np.uint64)[np.minimum(inputs, _MOST_INPUTS)]
    return labels


@compiled
def _mixed(number: np.uint64) -> np.uint64:
    number = (number ^ (number >> np.uint64(30))) * np.uint64(_FIRST)
    number = (number ^ (number >> np.uint64(27))) * np.uint64(_SECOND)
    return number ^ (number >> np.uint64(31))


@compiled
def refine(labels: Labels, starts: Integers, sources: Integers, first: int) -> None:
    """Work out rounds 1 and later of k tasks, in place; some 10 ns an edge and round.

    What is made of each distinct label is summed up, so that their order does not matter. A label
    is distinct if it is not yet in a small table, where it leaves the task's number as a mark.

    Parameters
    ----------
    labels
        [rounds + 1, at least first + k], whole for the first tasks, of the k others round 0.
    starts, sources
        [k + 1] and [m]: task ``first + i`` reads ``sources[starts[i]:starts[i + 1]]``, numbers of
        tasks below ``first + k``, in any order.
    first
        How many tasks stand before the k.
    """
    most = 1
    for i in range(len(starts) - 1):
        most = max(most, starts[i + 1] - starts[i])
    size = 2
    while size < 2 * most:
        size *= 2
    last = np.uint64(size - 1)
    seen = np.empty(size, np.uint64)
    for step in range(1, len(labels)):
        before = labels[step - 1]
        marks = np.full(size, -1, np.int64)
        for i in range(len(starts) - 1):
            total = np.uint64(0)
            for edge in range(starts[i], starts[i + 1]):
                label = before[sources[edge]]
                slot = label & last
                while marks[slot] == i and seen[slot] != label:
                    slot = (slot + np.uint64(1)) & last
                if marks[slot] != i:
                    marks[slot] = i
                    seen[slot] = label
                    total += _mixed(label + np.uint64(_GAMMA))
            labels[step, first + i] = _mixed(_mixed(before[first + i]) + total)


@compiled
def tally(labels: Labels, counted: Booleans) -> tuple[Labels, Integers, Integers]:
    """Count the labels [n] of the tasks that count [n].

    Returns
    -------
    tuple of array
        [u] the distinct labels in the order of their first tasks, [u] how many tasks have each,
        and [u] that first task.
    """
    size = 2
    while size < 2 * len(labels):
        size *= 2
    last = np.uint64(size - 1)
    places = np.full(size, -1, np.int64)
    distinct = np.empty(len(labels), np.uint64)
    counts = np.zeros(len(labels), np.int64)
    firsts = np.empty(len(labels), np.int64)
    found = 0
    for i in range(len(labels)):
        if not counted[i]:
            continue
        slot = labels[i] & last
        while places[slot] >= 0 and distinct[places[slot]] != labels[i]:
            slot = (slot + np.uint64(1)) & last
        if places[slot] < 0:
            places[slot] = found
            distinct[found] = labels[i]
            firsts[found] = i
            found += 1
        counts[places[slot]] += 1
    return distinct[:found], counts[:found], firsts[:found]


@compiled
def deepen(
    depths: Integers, order: Integers, starts: Integers, sources: Integers, made: Booleans
) -> None:
    """Work out how many tasks the longest path to each of k tasks has, in place.

    Parameters
    ----------
    depths
        [at least first + k], known of the first tasks; 0 of what no task makes.
    order
        [k] numbers below k, dependencies first.
    starts, sources
        What `refine` takes.
    made
        [k] whether a task makes the array.
    """
    first = len(depths) - len(made)
    for i in order:
        deepest = 0
        for edge in range(starts[i], starts[i + 1]):
            deepest = max(deepest, depths[sources[edge]])
        depths[first + i] = deepest + 1 if made[i] else 0
