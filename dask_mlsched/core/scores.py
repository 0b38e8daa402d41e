"""Linear scores made by hand: what networks are compared with, and what stands in for one."""

from __future__ import annotations

from typing import Final

import numpy as np

from dask_mlsched.core import features
from dask_mlsched.core.network import Network, linear


def score(**weights: float) -> Network:
    """Make a network that is a weighted sum of the features that are named.

    Raises
    ------
    ValueError
        If there is no such feature.

    Examples
    --------
    >>> float(score(missing=-1.0).skip.sum())
    -1.0
    """
    row = np.zeros(features.COUNT)
    for name, weight in weights.items():
        if name not in features.NAMES:
            msg = f"there is no feature {name!r}; expected some of {', '.join(features.NAMES)}"
            raise ValueError(msg)
        row[features.NAMES.index(name)] = weight
    return linear(row)


#: Prefers what misses fewest bytes, and the first in Dask's order among equals. HOLD is chosen if
#: the successor that is waited for misses less than every candidate.
FEWEST_MISSING: Final = score(missing=-1.0)
