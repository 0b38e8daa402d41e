"""What tells a DAG by, as a record: compared, merged, and kept as JSON."""

from __future__ import annotations

import heapq
import math
import reprlib
import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Self, TypeAlias

from dask_mlsched.learning.fingerprint_labels import ROUNDS

#: Of the algorithm: to be raised whenever a DAG's fingerprint changes.
FINGERPRINT_VERSION: Final = 1

#: So many labels of a round are kept, those of the most tasks; of equals, the smallest numbers,
#: which are the same in other DAGs. Known algorithms have fewer; a DAG without any pattern, as
#: many as tasks.
LABELS_KEPT: Final = 256

#: Labels in ascending order, each with the square root of its share of the tasks.
Histogram: TypeAlias = tuple[tuple[int, float], ...]

_CURE: Final = "take the fingerprint of the DAG again"


class FingerprintError(ValueError):
    """A record that is no fingerprint of this version: one line with what was found and a cure."""


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """What tells a DAG by, but for keys, sizes of arrays and times."""

    #: 16 hexadecimal digits of the prefixes and of which read which: as a rule the same for all
    #: sizes of one program.
    family: str
    #: [ROUNDS + 1] of the labels that begin with prefixes. Round 0 counts all tasks, later ones
    #: those with dependencies: labels of others say nothing new.
    rounds: tuple[Histogram, ...]
    #: [ROUNDS + 1] of those that begin with the number of dependencies.
    structure: tuple[Histogram, ...]
    #: Tasks that run, given arrays not among them, and their dependencies.
    tasks: int
    edges: int
    #: Tasks of the longest path, and the most tasks whose longest paths have one length.
    depth: int
    width: int

    @property
    def width_over_depth(self) -> float:
        """How broad the DAG is; 0 without tasks."""
        return self.width / self.depth if self.depth else 0.0

    def to_json(self) -> dict[str, Any]:
        """Return it for `json.dumps`: labels as 16 hexadecimal digits. At most some 100 kB."""
        return {
            "version": FINGERPRINT_VERSION,
            "family": self.family,
            "rounds": [_histogram_to_json(each) for each in self.rounds],
            "structure": [_histogram_to_json(each) for each in self.structure],
            **{name: getattr(self, name) for name in _COUNTS},
        }

    @classmethod
    def from_json(cls, record: object) -> Self:
        """Take back what `to_json` returned.

        Raises
        ------
        FingerprintError
            If it is of another version, or none at all.
        """
        if not isinstance(record, dict):
            raise _damaged("a record", record, "a dictionary")
        version = record.get("version")
        if version != FINGERPRINT_VERSION or isinstance(version, bool):
            msg = f"a fingerprint of version {version!r}; expected {FINGERPRINT_VERSION}; {_CURE}"
            raise FingerprintError(msg)
        family = record.get("family")
        if not _is_label(family):
            raise _damaged("family", family, "16 hexadecimal digits")
        rounds, structure = (_rounds(name, record.get(name)) for name in ("rounds", "structure"))
        counts = {name: record.get(name) for name in _COUNTS}
        for name, count in counts.items():
            if not isinstance(count, int) or isinstance(count, bool) or count < 0:
                raise _damaged(name, count, "a whole number, 0 or more")
        return cls(str(family), rounds, structure, **counts)  # type: ignore[arg-type] # as checked


_COUNTS: Final = ("tasks", "edges", "depth", "width")


def similarity(a: Fingerprint, b: Fingerprint) -> float:
    """Say how alike two DAGs are, sizes and keys aside: from 0 to 1.

    The mean cosine over the rounds that one of them has. Small DAGs are less like large ones than
    these among themselves: more of their tasks stand where the algorithm begins. Without tasks a
    DAG is like none. Some 20 microseconds.
    """
    return _mean_cosine(a.rounds, b.rounds)


def structural_similarity(a: Fingerprint, b: Fingerprint) -> float:
    """Say the same without prefixes: for programs whose tasks have other names each time."""
    return _mean_cosine(a.structure, b.structure)


def _mean_cosine(a: Sequence[Histogram], b: Sequence[Histogram]) -> float:
    cosines = [_cosine(x, y) for x, y in zip(a, b, strict=True) if x or y]
    return statistics.fmean(cosines) if cosines else 0.0


def _cosine(a: Histogram, b: Histogram) -> float:
    weights = dict(b)
    return min(1.0, math.fsum(w * weights[label] for label, w in a if label in weights))


def histogram(counts: Mapping[int, float]) -> Histogram:
    """Make the histogram of labels of so many tasks each."""
    kept = heapq.nsmallest(LABELS_KEPT, counts.items(), key=lambda each: (-each[1], each[0]))
    total = math.fsum(count for _, count in kept)
    return tuple((label, math.sqrt(count / total)) for label, count in sorted(kept))


def merged(fingerprints: Sequence[Fingerprint]) -> Fingerprint:
    """Make the prototype of a family: what is most like all of these, large and small ones alike.

    Its weights are their mean, which has the largest sum of cosines with them; its family is the
    most frequent, of equals the first; its counts are medians.

    Raises
    ------
    ValueError
        If there are none.
    """
    if not fingerprints:
        msg = "no fingerprints to merge; give one at least"
        raise ValueError(msg)
    return Fingerprint(
        Counter(each.family for each in fingerprints).most_common(1)[0][0],
        _mean([each.rounds for each in fingerprints]),
        _mean([each.structure for each in fingerprints]),
        *(statistics.median_low(getattr(each, name) for each in fingerprints) for name in _COUNTS),
    )


def _mean(several: Sequence[Sequence[Histogram]]) -> tuple[Histogram, ...]:
    means = []
    for histograms in zip(*several, strict=True):
        weights: dict[int, list[float]] = {}
        for each in histograms:
            for label, weight in each:
                weights.setdefault(label, []).append(weight)
        # Squared, as roots are drawn again; summed without error, so that order does not matter.
        squares = {label: math.fsum(each) ** 2 for label, each in weights.items()}
        means.append(histogram(squares))
    return tuple(means)


def _histogram_to_json(weights: Histogram) -> dict[str, float]:
    return {f"{label:016x}": weight for label, weight in weights}


def _rounds(name: str, record: object) -> tuple[Histogram, ...]:
    if not isinstance(record, list) or len(record) != ROUNDS + 1:
        raise _damaged(name, record, f"a list of {ROUNDS + 1} rounds")
    return tuple(_histogram(f"{name}[{i}]", each) for i, each in enumerate(record))


def _histogram(name: str, record: object) -> Histogram:
    if not isinstance(record, dict) or len(record) > LABELS_KEPT:
        raise _damaged(name, record, f"a dictionary of {LABELS_KEPT} labels or fewer")
    for label, weight in record.items():
        if not _is_label(label):
            raise _damaged(f"a label in {name}", label, "16 hexadecimal digits")
        if type(weight) not in {float, int} or not 0 < weight <= 1:
            raise _damaged(f"a weight in {name}", weight, "a number above 0, up to 1")
    squares = math.fsum(weight * weight for weight in record.values())
    if record and not math.isclose(squares, 1, rel_tol=1e-6):
        raise _damaged(f"the sum of squares in {name}", squares, "1")
    return tuple(sorted((int(label, 16), float(weight)) for label, weight in record.items()))


def _is_label(value: object) -> bool:
    return isinstance(value, str) and len(value) == 16 and set(value) <= set("0123456789abcdef")


def _damaged(name: str, found: object, expected: str) -> FingerprintError:
    shown = reprlib.repr(found)
    return FingerprintError(
        f"a damaged fingerprint: {name} is {shown}; expected {expected}; {_CURE}"
    )
