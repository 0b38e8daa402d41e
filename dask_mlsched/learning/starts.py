"""Where a search begins: at the best of the networks that are known, and of plain scores."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from dask_mlsched.core.network import Network
from dask_mlsched.learning.processes import Processes
from dask_mlsched.learning.specialise import linear
from dask_mlsched.learning.verdict import judge

#: Greedy, as scores of single features; see `specialise`.
_PLAIN: Final = ({"missing": -1.0, "incoming": -0.1}, {"missing": -1.0, "root": -0.02})


def best_start(processes: Processes, known: Sequence[Network], like: Network) -> Network:
    """Return the network that costs least on some instances; of equals, the first that is known.

    Parameters
    ----------
    known
        At least one.
    like
        Plain scores are for its standardised features.
    """
    plain = [linear(like, **weights) for weights in _PLAIN]
    return min((*known, *plain), key=lambda each: judge(processes, each).cost)
