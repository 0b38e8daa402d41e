"""Labelled decisions as arrays: what a network is fitted to."""

from __future__ import annotations

import zlib
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from dask_mlsched.core.network import Floats
from dask_mlsched.learning.decision_record import Records

#: Deviations below this share of the mean are rounding: the feature is constant.
_CONSTANT = 1e-5


class InvalidDecisionsError(ValueError):
    """Arrays that are no decisions to learn from: one line with what was found and expected."""


@dataclass(frozen=True)
class Decisions:
    """N decisions of at most A actions with F features each.

    Raises
    ------
    InvalidDecisionsError
        If the arrays do not fit each other, a cost is below 0, or a feature of a legal action is
        not finite.
    """

    #: [N, A, F]; what is behind the last action of a decision may be anything.
    features: Floats
    #: [N, A] regrets in median task times; NaN where there is none.
    costs: Floats
    #: [N, A] which actions there were.
    legal: npt.NDArray[np.bool_]
    #: [N] decisions of one group, such as those of one run, are held out together.
    groups: npt.NDArray[np.uint64]

    def __post_init__(self) -> None:
        n, actions = self.costs.shape if self.costs.ndim == 2 else (-1, -1)
        found = (self.features.shape[:2], self.legal.shape, self.groups.shape)
        if self.features.ndim != 3 or found != ((n, actions), (n, actions), (n,)):
            msg = (
                f"features, costs, legal and groups are of shapes {self.features.shape}, "
                f"{self.costs.shape}, {self.legal.shape}, {self.groups.shape}; "
                "expected [N, A, F], [N, A], [N, A], [N]"
            )
            raise InvalidDecisionsError(msg)
        legal_costs = self.costs[self.legal]
        if (legal_costs < 0).any() or np.isinf(legal_costs).any():
            msg = f"a cost is {np.nanmin(legal_costs)} or infinite; expected regrets, 0 or more"
            raise InvalidDecisionsError(msg)
        wrong = self.legal & ~np.isfinite(self.features).all(-1)
        if wrong.any():
            number, action = np.argwhere(wrong)[0].tolist()
            msg = (
                f"decision {number} has a feature of action {action} that is not finite; "
                "expected none: leave the decision out, or mend the feature"
            )
            raise InvalidDecisionsError(msg)

    def __len__(self) -> int:
        return len(self.costs)

    @property
    def labelled(self) -> npt.NDArray[np.bool_]:
        """[N, A] which actions are legal and have a cost."""
        return self.legal & ~np.isnan(self.costs)

    def take(self, which: npt.NDArray[np.intp]) -> Decisions:
        """Return some of the decisions."""
        return Decisions(
            self.features[which], self.costs[which], self.legal[which], self.groups[which]
        )

    def standard(self) -> tuple[Floats, Floats]:
        """Return [F] mean and [F] scale of the features of legal actions; scale 1 for constants."""
        rows = self.features[self.legal].astype(np.float64)
        mean, scale = rows.mean(0), rows.std(0)
        scale[scale <= _CONSTANT * np.maximum(np.abs(mean), _CONSTANT)] = 1
        return mean.astype(np.float32), scale.astype(np.float32)

    def checksum(self) -> int:
        """Tell these decisions from others."""
        crc = 0
        for array in (self.features, self.costs, self.legal, self.groups):
            crc = zlib.crc32(np.ascontiguousarray(array).data, crc)
        return crc

    @classmethod
    def from_arrays(
        cls,
        features: npt.ArrayLike,
        costs: npt.ArrayLike,
        legal: npt.ArrayLike | None = None,
        groups: npt.ArrayLike | None = None,
    ) -> Decisions:
        """Convert arrays; by default every action is legal, and every decision its own group."""
        c = np.asarray(costs, np.float32)
        return cls(
            np.asarray(features, np.float32),
            c,
            np.ones(c.shape, np.bool_) if legal is None else np.asarray(legal, np.bool_),
            np.arange(len(c), dtype=np.uint64)
            if groups is None
            else np.asarray(groups).astype(np.uint64),
        )

    @classmethod
    def from_records(cls, records: Records) -> Decisions:
        """Take the decisions of a replay buffer; those of one run are a group."""
        actions = int(records["actions"].max(initial=1))
        legal = np.arange(actions) < records["actions"][:, None]
        return cls(
            np.ascontiguousarray(records["features"][:, :actions]),
            np.ascontiguousarray(records["costs"][:, :actions]),
            legal,
            records["run"].copy(),
        )
