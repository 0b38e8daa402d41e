"""Which DAG is this? A fingerprint that the same program has at other sizes, and others have not.

Made of labels (`fingerprint_labels`) and the figures that depend on size; compared and kept as
`fingerprint_record` says. Keys, sizes of arrays and times are not in it: for those see `dag_scale`.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Hashable, Iterable, Sequence
from itertools import chain
from typing import TypeAlias

import numpy as np

from dask_mlsched.core.dag import Booleans, Dag, Integers
from dask_mlsched.core.topology import topological
from dask_mlsched.learning.fingerprint_labels import (
    ROUNDS,
    Labels,
    deepen,
    input_labels,
    prefix_label,
    refine,
    tally,
)
from dask_mlsched.learning.fingerprint_record import (
    FINGERPRINT_VERSION,
    LABELS_KEPT,
    Fingerprint,
    FingerprintError,
    histogram,
    merged,
    similarity,
    structural_similarity,
)

__all__ = [
    "FINGERPRINT_VERSION",
    "LABELS_KEPT",
    "ROUNDS",
    "Fingerprint",
    "FingerprintError",
    "Fingerprinter",
    "NewTask",
    "fingerprint",
    "merged",
    "similarity",
    "structural_similarity",
]

#: Key, prefix, keys of its dependencies, and whether no task makes it: it is there already.
NewTask: TypeAlias = tuple[Hashable, str, Sequence[Hashable], bool]


def fingerprint(dag: Dag) -> Fingerprint:
    """Take the fingerprint of a whole DAG: some 0.15 microseconds a task, once compiled."""
    prefixes = np.array([prefix_label(prefix) for prefix in dag.prefixes], np.uint64)
    counts = _Counts(len(dag))
    counts.add(prefixes[dag.prefix], dag.starts, dag.sources, ~dag.given, np.arange(len(dag)))
    return counts.fingerprint


class Fingerprinter:
    """Takes the fingerprint of a DAG that arrives bit by bit; the same as that of the whole.

    It is exact: nothing that is added changes the label of what was there. A million tasks take
    some 70 MB beside their keys.
    """

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Forget all tasks."""
        self._numbers: dict[Hashable, int] = {}
        self._counts = _Counts(1024)

    def __len__(self) -> int:
        """Count the tasks, given arrays included."""
        return len(self._numbers)

    def add(self, tasks: Iterable[NewTask]) -> None:
        """Take tasks in: some 100 microseconds, and 1.5 each.

        Dependencies are earlier tasks, or others of these, in any order; others are passed over,
        and so are tasks that are there already, and the dependencies of given ones.

        Raises
        ------
        CircleError
            If tasks wait for each other; as after any other error, none is then taken in.
        """
        numbers, first = self._numbers, len(self._numbers)
        try:
            new = [task for task in tasks if numbers.setdefault(task[0], len(numbers)) >= first]
            new = new if len(new) == len(numbers) - first else _once(new)
            inputs = [
                () if given else {numbers[each] for each in dependencies if each in numbers}
                for _, _, dependencies, given in new
            ]
            counts = np.fromiter(map(len, inputs), np.int64, len(new))
            starts = np.concatenate([[0], np.cumsum(counts)])
            sources = np.fromiter(chain.from_iterable(inputs), np.int64, int(starts[-1]))
            labels = np.array([prefix_label(task[1]) for task in new], np.uint64)
            made = np.array([not task[3] for task in new], np.bool_)
            order = _order(counts, sources - first)
        except BaseException:
            # Their keys are numbered already; they are the last.
            while len(numbers) > first:
                numbers.popitem()
            raise
        self._counts.add(labels, starts, sources, made, order)

    @property
    def fingerprint(self) -> Fingerprint:
        """That of all tasks so far."""
        return self._counts.fingerprint


def _once(tasks: Iterable[NewTask]) -> list[NewTask]:
    """Keep the first task of each key."""
    kept: dict[Hashable, NewTask] = {}
    for task in tasks:
        kept.setdefault(task[0], task)
    return list(kept.values())


def _order(counts: Integers, sources: Integers) -> Integers:
    """Return tasks [k], dependencies first; sources below 0 are there already."""
    inside = sources >= 0
    owners = np.repeat(np.arange(len(counts)), counts)[inside]
    return topological(np.bincount(owners, minlength=len(counts)), sources[inside])


class _Counts:
    """How many tasks have which label; tasks are numbered as they come.

    Parameters
    ----------
    capacity
        Room is made for so many tasks.
    """

    def __init__(self, capacity: int) -> None:
        #: Tasks so far, and [2 * (ROUNDS + 1), room] their labels: of prefixes, then of structure.
        self._known = 0
        self._labels: Labels = np.zeros((2 * (ROUNDS + 1), capacity), np.uint64)
        #: [room] and, by depth, how many tasks; none runs at depth 0.
        self._depths: Integers = np.zeros(capacity, np.int64)
        self._at_depth: Integers = np.zeros(1, np.int64)
        self._tallies: list[Counter[int]] = [Counter() for _ in self._labels]
        self._edges = 0
        #: Labels of prefixes that read and are read.
        self._edge_types: set[tuple[int, int]] = set()

    def add(
        self,
        prefixes: Labels,
        starts: Integers,
        sources: Integers,
        made: Booleans,
        order: Integers,
    ) -> None:
        """Count k more tasks.

        Parameters
        ----------
        prefixes, made
            [k] labels of their prefixes, and whether a task makes the array.
        starts, sources
            What `refine` takes.
        order
            [k] numbers below k, dependencies first.
        """
        first, stop = self._known, self._known + len(made)
        self._make_room(stop)
        inputs = np.diff(starts)
        for row, begin in ((0, prefixes), (ROUNDS + 1, input_labels(inputs))):
            labels = self._labels[row : row + ROUNDS + 1]
            labels[0, first:stop] = begin
            refine(labels, starts, sources, first)
        self._known = stop
        deepen(self._depths[:stop], order, starts, sources, made)
        depths = np.bincount(self._depths[first:stop][made], minlength=len(self._at_depth))
        depths[: len(self._at_depth)] += self._at_depth
        self._at_depth = depths
        self._edges += len(sources)
        self._tally(starts, sources, made)

    def _make_room(self, needed: int) -> None:
        room = self._labels.shape[1]
        if needed > room:
            more = max(needed, 2 * room) - room
            self._labels = np.pad(self._labels, ((0, 0), (0, more)))
            self._depths = np.pad(self._depths, (0, more))

    def _tally(self, starts: Integers, sources: Integers, made: Booleans) -> None:
        first = self._known - len(made)
        reads = np.diff(starts) > 0
        for row, counter in enumerate(self._tallies):
            counted = reads if row % (ROUNDS + 1) else made
            distinct, counts, firsts = tally(self._labels[row, first : self._known], counted)
            for label, count, task in zip(
                distinct.tolist(), counts.tolist(), firsts.tolist(), strict=True
            ):
                if row == 1 and label not in counter:
                    # All tasks of one label of round 1 read the same prefixes.
                    read = self._labels[0, sources[starts[task] : starts[task + 1]]]
                    own = int(self._labels[0, first + task])
                    self._edge_types.update((own, each) for each in set(read.tolist()))
                counter[label] += count

    @property
    def fingerprint(self) -> Fingerprint:
        rounds = tuple(map(histogram, self._tallies))
        return Fingerprint(
            family=self._family(),
            rounds=rounds[: ROUNDS + 1],
            structure=rounds[ROUNDS + 1 :],
            tasks=int(self._at_depth.sum()),
            edges=self._edges,
            depth=len(self._at_depth) - 1,
            width=int(self._at_depth.max()),
        )

    def _family(self) -> str:
        """Digest which prefixes read which, and those that neither read nor are read.

        Data that are given and data that tasks make are one family.
        """
        alone = set(self._tallies[0]) - set(chain.from_iterable(self._edge_types))
        types = [*sorted(self._edge_types), *((label,) for label in sorted(alone))]
        lines = "\n".join(" ".join(f"{label:016x}" for label in each) for each in types)
        return hashlib.blake2b(lines.encode(), digest_size=8).hexdigest()
