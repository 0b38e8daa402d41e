"""How sure a difference is: intervals and tests for a handful of figures.

Nothing is assumed about how figures scatter but that a difference is as likely to be one way as the
other where there is none.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Final

import numpy as np

#: Up to so many figures, all ways to flip their signs are gone through.
_EXACT: Final = 12
_DRAWS: Final = 4096


def mean_interval(
    figures: Sequence[float], confidence: float = 0.95, seed: int = 0
) -> tuple[float, float]:
    """Return where the mean lies, by the bootstrap's percentiles (Efron 1979).

    Parameters
    ----------
    figures
        At least one; of a single one, nothing is known of the scatter: the interval is all numbers.
    confidence
        Of the interval, both sides alike.
    """
    values = np.asarray(figures, np.float64)
    if len(values) < 2:
        return -np.inf, np.inf
    rng = np.random.default_rng(seed)
    means = values[rng.integers(len(values), size=(_DRAWS, len(values)))].mean(1)
    outside = (1 - confidence) / 2
    low, high = np.quantile(means, [outside, 1 - outside])
    return float(low), float(high)


def chance_above(figures: Sequence[float], level: float = 0.0) -> float:
    """Return the probability of a mean this far above a level if there were no difference.

    By flipping the signs of what is above and below (Fisher's randomization test, one-sided): with
    n figures it cannot be below ``2**-n``.
    """
    values = np.asarray(figures, np.float64) - level
    if not len(values):
        return 1.0
    if len(values) <= _EXACT:
        signs = np.array(list(itertools.product((1.0, -1.0), repeat=len(values))))
    else:
        rng = np.random.default_rng(0)
        signs = rng.choice((1.0, -1.0), (_DRAWS, len(values)))
    means = (signs * values).mean(1)
    # What is equal but for rounding counts.
    return float((means >= values.mean() - 1e-12).mean())
