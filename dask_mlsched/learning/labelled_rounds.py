"""The labelled decisions of a training: a replay buffer for each round, in its folder.

A round that was killed while it was being written is written again from its beginning, so its
buffer has to be one that nothing else is in.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from dask_mlsched.core import features
from dask_mlsched.core.network import Floats
from dask_mlsched.learning.decisions import Decisions
from dask_mlsched.learning.labelling import Labelled
from dask_mlsched.learning.replay import ReplayBuffer
from dask_mlsched.learning.replay_file import SUFFIX


class LabelledRounds:
    """The buffers in one folder, from round 1 on."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def path(self, number: int) -> Path:
        """Name the buffer of a round."""
        return self._folder / f"round-{number:02d}{SUFFIX}"

    def write(self, number: int, decisions: Sequence[Labelled]) -> None:
        """Write the decisions of a round in place of what there is of it.

        Raises
        ------
        dask_mlsched.learning.replay_file.ReplayError
            If the buffer cannot be made.
        """
        path = self.path(number)
        path.unlink(missing_ok=True)
        with ReplayBuffer.create(path, features.NAMES, max(1, len(decisions))) as buffer:
            for each in decisions:
                buffer.label(buffer.add(each.record), each.costs)

    def read(self, until: int) -> Decisions:
        """Return the decisions of the rounds up to one, oldest first.

        Raises
        ------
        dask_mlsched.learning.replay_file.ReplayError
            If a buffer is missing or damaged.
        """
        rounds = []
        for number in range(1, until + 1):
            with ReplayBuffer.open(self.path(number), features.NAMES) as buffer:
                rounds.append(buffer.records(labelled=True))
        return Decisions.from_records(np.concatenate(rounds))


def joined(first: Decisions, second: Decisions | None) -> Decisions:
    """Put decisions behind others; groups of the one are never groups of the other."""
    if second is None:
        return first
    actions = max(first.costs.shape[1], second.costs.shape[1])
    parts = [_padded(each, actions) for each in (first, second)]
    groups = [
        np.array([zlib.crc32(bytes([which]) + group.tobytes()) for group in each.groups])
        for which, each in enumerate((first, second))
    ]
    return Decisions.from_arrays(
        np.concatenate([part.features for part in parts]),
        np.concatenate([part.costs for part in parts]),
        np.concatenate([part.legal for part in parts]),
        np.concatenate(groups),
    )


def evened(decisions: Decisions) -> Decisions:
    """Divide costs by the mean cost of their run, so that all runs weigh alike.

    In median task times the mean costs of runs differ by a factor of a thousand: where most tasks
    take hardly any time, a copy takes hundreds of them.
    """
    costs = decisions.costs.copy()
    for group in np.unique(decisions.groups):
        which = decisions.groups == group
        mean = float(np.nanmean(costs[which]))
        if mean > 0:
            costs[which] /= np.float32(mean)
    return Decisions(decisions.features, costs, decisions.legal, decisions.groups)


def legal_rows(decisions: Decisions) -> Floats:
    """Return [N, F] the features of all actions of all decisions."""
    rows: Floats = decisions.features[decisions.legal]
    return rows


def _padded(decisions: Decisions, actions: int) -> Decisions:
    more = actions - decisions.costs.shape[1]
    return Decisions(
        np.pad(decisions.features, ((0, 0), (0, more), (0, 0))),
        np.pad(decisions.costs, ((0, 0), (0, more)), constant_values=np.nan),
        np.pad(decisions.legal, ((0, 0), (0, more))),
        decisions.groups,
    )
