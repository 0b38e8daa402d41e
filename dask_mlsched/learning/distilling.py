"""One linear score that chooses as several networks do, each on the runs of its own family.

The networks are run on instances of their families, and at some decisions their preferences are
noted. A softmax regression then makes the score whose choices are most like theirs; families count
alike (policy distillation: Rusu et al. 2016, arXiv:1511.06295, section 3, with a linear student).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from dask_mlsched.core.network import CLIP, Floats, Network, forward
from dask_mlsched.learning.instance import Instance
from dask_mlsched.learning.specialise import linear

#: Decisions that are noted in one run.
_LOOKS: Final = 60

#: Steps of the regression, and what the weights are drawn to 0 by.
_STEPS: Final = 300
_RATE: Final = 0.3
_DECAY: Final = 1e-3

#: A teacher's preferences are made so sharp: their deviation in one decision.
_SHARPNESS: Final = 2.0

_Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Lesson:
    """A network, and runs of the family that it is for."""

    network: Network
    instances: Sequence[Instance]


def distil(lessons: Sequence[Lesson], like: Network) -> Network:
    """Make a linear score that chooses as the networks of some lessons do.

    Parameters
    ----------
    like
        Whose standardised features it is for.
    """
    rows, targets, starts, weights = _noted(lessons, like)
    score = np.zeros(rows.shape[1])
    slope = np.zeros_like(score)
    segment = np.repeat(np.arange(len(starts) - 1), np.diff(starts))
    for _ in range(_STEPS if len(rows) else 0):
        p = _softmax(rows @ score, segment, starts)
        gradient = rows.T @ ((p - targets) * weights[segment]) + _DECAY * score
        slope = 0.9 * slope + gradient
        score = score - _RATE * slope / 10
    made = linear(like)
    return made._replace(skip=score.astype(np.float32))


def _noted(
    lessons: Sequence[Lesson], like: Network
) -> tuple[_Floats, _Floats, npt.NDArray[np.int64], _Floats]:
    """Run the lessons.

    Returns
    -------
    tuple of array
        [R, F] standardised features of all actions; [R] the teachers' probabilities of them;
        [D + 1] where each decision begins; [D] what it counts.
    """
    rows: list[_Floats] = [np.empty((0, like.mean.size))]
    targets: list[_Floats] = [np.empty(0)]
    lengths: list[int] = []
    counts: list[float] = []
    for lesson in lessons:
        before = len(lengths)
        for instance in lesson.instances:
            run = instance.rollout(lesson.network)
            step, number = max(1, len(instance.dag) // _LOOKS), 0
            while (decision := run.until(number)) is not None:
                wanted = _sharp(lesson.network, decision.features)
                if len(decision.features) > 1 and wanted is not None:
                    standard = (decision.features - like.mean) / like.scale
                    rows.append(np.clip(standard, -CLIP, CLIP).astype(np.float64))
                    targets.append(wanted)
                    lengths.append(len(decision.features))
                run.take(decision.preferred)
                number = decision.number + step
        counts += [1 / max(1, len(lengths) - before)] * (len(lengths) - before)
    starts = np.concatenate([[0], np.cumsum(np.array(lengths, np.int64))]).astype(np.int64)
    total = max(1e-12, sum(counts))
    return np.concatenate(rows), np.concatenate(targets), starts, np.array(counts) / total


def _sharp(network: Network, features: Floats) -> _Floats | None:
    """Return the probabilities of actions, as sure of themselves for every teacher.

    None if a score is no number: weights that are may overflow.
    """
    scores = np.empty((len(features), 2), np.float32)
    forward(network, np.ascontiguousarray(features), scores)
    scaled = scores[:, 0].astype(np.float64)
    if not np.isfinite(scaled).all():
        return None
    scaled = (scaled - scaled.max()) * (_SHARPNESS / max(1e-6, float(scaled.std())))
    p = np.exp(scaled)
    return np.asarray(p / p.sum(), np.float64)


def _softmax(
    scores: _Floats, segment: npt.NDArray[np.int64], starts: npt.NDArray[np.int64]
) -> _Floats:
    """Return the probabilities of the actions of each decision."""
    highest = np.maximum.reduceat(scores, starts[:-1])
    p = np.exp(scores - highest[segment])
    return np.asarray(p / np.add.reduceat(p, starts[:-1])[segment], np.float64)
