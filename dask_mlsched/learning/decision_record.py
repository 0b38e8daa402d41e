"""One decision as it lies in the replay buffer: a fixed number of bytes, checked by their sum.

A record is *complete* when its checksum is that of its bytes, and *labelled* when the label is that
of its costs; each is written after what it vouches for. The costs have a sum of their own, because
they come when the record has long been complete.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from dask_mlsched.core.network import Floats

#: Records of one buffer, a structured array.
Records: TypeAlias = npt.NDArray[np.void]
Source: TypeAlias = Literal["live", "simulated"]

#: A shortlist and HOLD.
MAX_ACTIONS: Final = 33
SOURCES: Final[tuple[Source, ...]] = ("live", "simulated")

#: All but the two checksums, features and costs, in the order of `dtype`; little-endian, no gaps.
_HEAD: Final = struct.Struct("<QQQddfiHHBB10x")
#: Where the head begins, after the two checksums.
HEAD_AT: Final = 8
FEATURES_AT: Final = HEAD_AT + _HEAD.size


class InvalidDecisionError(ValueError):
    """Something that is no decision or no label: one line with the field and what was expected."""


@dataclass(frozen=True, slots=True)
class DecisionRecord:
    """A decision, what was chosen, and where it comes from."""

    #: [A, F] candidates in Dask's order, HOLD last if it was legal.
    features: Floats
    has_hold: bool
    #: The row that was chosen, and the log of the probability that it had.
    taken: int
    log_propensity: float
    worker: int
    #: Seconds since the epoch.
    time: float
    #: Of the run and of the family of its DAG, as far as they are known.
    run: int
    family: int
    median_task_seconds: float
    source: Source = "live"

    @property
    def actions(self) -> int:
        """A, how many actions there were."""
        return len(self.features)


def record_dtype(features: int) -> np.dtype[np.void]:
    """Return the layout of a record with so many features."""
    return np.dtype(
        [
            ("checksum", "<u4"),
            ("label", "<u4"),
            ("sequence", "<u8"),
            ("run", "<u8"),
            ("family", "<u8"),
            ("time", "<f8"),
            ("median_task_seconds", "<f8"),
            ("log_propensity", "<f4"),
            ("worker", "<i4"),
            ("actions", "<u2"),
            ("taken", "<u2"),
            ("has_hold", "u1"),
            ("source", "u1"),
            ("reserved", "V10"),
            ("features", "<f4", (MAX_ACTIONS, features)),
            ("costs", "<f4", (MAX_ACTIONS,)),
            # So that all records begin at a multiple of eight bytes.
            ("padding", "V4" if features % 2 == 0 else "V8"),
        ]
    )


def check_decision(decision: DecisionRecord, features: int) -> None:
    """Raise unless a decision can be recorded.

    Raises
    ------
    InvalidDecisionError
        If its features are of another shape or type or not finite, or a field is out of range.
    """
    x = decision.features
    if x.dtype != np.float32 or x.ndim != 2 or x.shape[1] != features:
        msg = f"features are {x.dtype} {x.shape}; expected float32 [A, {features}]"
        raise InvalidDecisionError(msg)
    if not 1 <= len(x) <= MAX_ACTIONS:
        msg = f"there are {len(x)} actions; expected 1 to {MAX_ACTIONS}: shorten the shortlist"
        raise InvalidDecisionError(msg)
    if not 0 <= decision.taken < len(x):
        msg = f"taken is {decision.taken}; expected the row of one of the {len(x)} actions"
        raise InvalidDecisionError(msg)
    if decision.source not in SOURCES:
        msg = f"source is {decision.source!r}; expected one of {', '.join(SOURCES)}"
        raise InvalidDecisionError(msg)
    if not np.isfinite(x).all():
        msg = "features hold a value that is not finite; expected none: mend the feature"
        raise InvalidDecisionError(msg)


def encode(decision: DecisionRecord, sequence: int) -> tuple[npt.NDArray[np.uint8], int]:
    """Return the bytes of a record's head, and the checksum of these and of its features.

    Raises
    ------
    InvalidDecisionError
        If a number does not fit its field.
    """
    d = decision
    try:
        head = _HEAD.pack(
            *(sequence, d.run, d.family, d.time, d.median_task_seconds, d.log_propensity),
            *(d.worker, d.actions, d.taken, d.has_hold, SOURCES.index(d.source)),
        )
    except (struct.error, OverflowError) as error:
        msg = (
            f"run is {d.run}, family {d.family}, worker {d.worker}: {error}; "
            "expected numbers of 64, 64 and 31 bits"
        )
        raise InvalidDecisionError(msg) from None
    features = np.ascontiguousarray(d.features).data
    return np.frombuffer(head, np.uint8), _nonzero(zlib.crc32(features, zlib.crc32(head)))


def checksum_of(record: npt.NDArray[np.uint8], features: int) -> int:
    """Return what the checksum of a record should be, given all of its bytes."""
    # The number of actions says how many rows count; what is behind them is of older records.
    actions = int.from_bytes(record[_ACTIONS_AT : _ACTIONS_AT + 2].tobytes(), "little")
    end = FEATURES_AT + 4 * features * min(actions, MAX_ACTIONS)
    return _nonzero(zlib.crc32(record[HEAD_AT:end].data))


def label_of(costs: Floats) -> int:
    """Return what vouches for a record's costs, [33]."""
    return _nonzero(zlib.crc32(costs.data))


def check_costs(costs: npt.ArrayLike, actions: int) -> Floats:
    """Return [33] costs, with NaN behind the last action.

    Raises
    ------
    InvalidDecisionError
        Unless there is one for each action, 0 or more or NaN, and one that is a number.
    """
    given = np.asarray(costs, np.float32)
    if given.shape != (actions,):
        msg = f"costs are of shape {given.shape}; expected one for each of the {actions} actions"
        raise InvalidDecisionError(msg)
    known = given[~np.isnan(given)]
    if not known.size or not np.isfinite(known).all() or known.min() < 0:
        msg = (
            f"costs are {np.array2string(given, threshold=9)}; expected regrets, 0 or more, "
            "and NaN only where there is no label"
        )
        raise InvalidDecisionError(msg)
    filled = np.full(MAX_ACTIONS, np.nan, np.float32)
    filled[:actions] = given
    return filled


def _nonzero(checksum: int) -> int:
    """Keep 0 free for what has not been written."""
    return checksum or 1


_ACTIONS_AT: Final = HEAD_AT + struct.calcsize("<QQQddfi")
