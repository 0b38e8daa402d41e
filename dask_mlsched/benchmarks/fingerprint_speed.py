"""How long a DAG's fingerprint takes: compiled, bit by bit, and in plain Python beside them.

By turns in one process, by processor time; building the DAG is not timed, nor is compiling, for
which one small DAG goes before.
"""

from __future__ import annotations

import hashlib
import statistics
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final, TypeAlias, TypeVar

from dask_mlsched.benchmarks.rollout_speed import Family, OnStep, build
from dask_mlsched.core.dag import Dag
from dask_mlsched.learning.fingerprint import (
    LABELS_KEPT,
    ROUNDS,
    Fingerprinter,
    NewTask,
    fingerprint,
)
from dask_mlsched.learning.fingerprint_labels import canonical

#: Of one round: label -> tasks.
_Counts: TypeAlias = Counter[str]

_Given = TypeVar("_Given")

_FAMILY: Final[Family] = "gemm"


@dataclass(frozen=True)
class FingerprintTimes:
    """How long one DAG's fingerprint took; all of ``[i]`` ran one after the other."""

    family: str
    tasks: int
    edges: int
    #: Seconds of `fingerprint`, of `Fingerprinter`, which is handed all tasks at once, and of
    #: `plain_counts`.
    compiled: Sequence[float]
    added: Sequence[float]
    plain: Sequence[float]

    @property
    def ratios(self) -> tuple[float, ...]:
        """How many times as long plain Python took as compiled code, pair by pair."""
        return tuple(p / c for p, c in zip(self.plain, self.compiled, strict=True))

    @property
    def milliseconds(self) -> tuple[float, float, float]:
        """The medians: compiled, bit by bit, plain."""
        compiled, added, plain = (
            1e3 * statistics.median(each) for each in (self.compiled, self.added, self.plain)
        )
        return compiled, added, plain


def time_fingerprints(
    tasks: Sequence[int], *, repeats: int = 3, on_step: OnStep | None = None
) -> list[FingerprintTimes]:
    """Time products of about so many tasks, so often each."""
    fingerprint(build(_FAMILY, 4))  # compiles
    rows = []
    for count in tasks:
        dag = build(_FAMILY, count)
        if on_step is not None:
            on_step(f"fingerprint, {len(dag):,} tasks")
        new = [(task.key, task.prefix, task.dependencies, task.given) for task in dag.tasks()]
        times = [
            (
                _seconds(fingerprint, dag),
                _seconds(_added, new),
                _seconds(plain_counts, dag),
            )
            for _ in range(repeats)
        ]
        rows.append(
            FingerprintTimes(_FAMILY, len(dag), len(dag.sources), *zip(*times, strict=True))
        )
    return rows


def _seconds(work: Callable[[_Given], object], given: _Given) -> float:
    started = time.thread_time()
    work(given)
    return time.thread_time() - started


def _added(tasks: Sequence[NewTask]) -> object:
    fingerprinter = Fingerprinter()
    fingerprinter.add(tasks)
    return fingerprinter.fingerprint


def plain_counts(dag: Dag) -> tuple[list[list[int]], list[list[int]]]:
    """Count labels as fingerprints do, without compiled code or arrays.

    Returns
    -------
    tuple of list
        For labels that begin with prefixes and those that do with the number of dependencies,
        [ROUNDS + 1] how many tasks have each of those that are kept, in descending order.
    """
    starts, sources, given = dag.starts.tolist(), dag.sources.tolist(), dag.given.tolist()
    reads = [sources[start:stop] for start, stop in pairwise(starts)]
    prefixes = [canonical(dag.prefixes[prefix]) for prefix in dag.prefix.tolist()]
    made = [task for task in range(len(dag)) if not given[task]]
    readers = [task for task in made if reads[task]]
    rounds = []
    for begin in (prefixes, [str(min(len(inputs), 3)) for inputs in reads]):
        labels, counts = begin, [_kept(begin, made)]
        for _ in range(ROUNDS):
            labels = [_digest(labels, task, inputs) for task, inputs in enumerate(reads)]
            counts.append(_kept(labels, readers))
        rounds.append(counts)
    return rounds[0], rounds[1]


def _kept(labels: Sequence[str], tasks: Sequence[int]) -> list[int]:
    counts: _Counts = Counter(labels[task] for task in tasks)
    return [count for _, count in counts.most_common(LABELS_KEPT)]


def _digest(labels: Sequence[str], task: int, inputs: Sequence[int]) -> str:
    parts = [labels[task], *sorted({labels[source] for source in inputs})]
    return hashlib.blake2b("\0".join(parts).encode(), digest_size=8).hexdigest()
