"""The process that learns, with few instances: for the schedulers of tests."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))

from core.networks import random_network
from dask_mlsched.core import features, judgement
from dask_mlsched.core.network import Network
from dask_mlsched.learning import beliefs, family_update, frame_streams, merging, promotion
from dask_mlsched.learning.catalogue_maker import CatalogueMaker
from dask_mlsched.learning.challengers import Challenger
from dask_mlsched.learning.online import serve
from dask_mlsched.learning.shipped import Shipped
from learning.instances import NEAREST, factorization, product, scored_by


def command(how: str) -> tuple[str, ...]:
    """Return what a scheduler is to run.

    Parameters
    ----------
    how
        What searches come to: "accepted" a random network, whatever it is worth; "bad" one that
        every gate refuses; "endless" never comes to an end, and "patient" neither, but asks for
        the time; "nearest" is one that runs what misses least, whatever it is worth; "trusting" is
        the same as "bad". In these two no simulation says what models are worth; what is said of
        generalists is that they are no better than Dask alone, or that they are good.
    """
    return (sys.executable, __file__, how)


def accepted() -> Network:
    """Return the network that is accepted."""
    return random_network(np.random.default_rng(7), features.COUNT, (0, 0))


def challenged(how: str, elapsed: Callable[[], float]) -> Challenger:
    while how in ("endless", "patient"):
        time.sleep(0.01)
        if how == "patient":
            elapsed()
    network = {"accepted": accepted(), "nearest": NEAREST}.get(how, scored_by(missing=1.0))
    # Of a fit, nothing nearer to the champion is tried, which might be good.
    return Challenger(network, "fit", -1.0)


def main(how: str) -> None:
    """Serve the process's own input and output."""
    # Workers in the scheduler's own process share its time: no simulation could foretell that.
    judgement.TOLERANCE = 1e9  # type: ignore[misc]  # final, but for this
    for module in (family_update, merging):
        module.challenger = lambda *_, elapsed, **__: challenged(how, elapsed)
    if how in ("accepted", "nearest"):
        family_update._objection = lambda *_: None
    if how in ("nearest", "trusting"):
        CatalogueMaker.estimate = CatalogueMaker._models_for  # type: ignore[method-assign]
        beliefs.elsewhere = lambda *_: (0.5 if how == "trusting" else 0.0, 0.1)
        promotion.fallen = lambda *_, **__: None
    tell = frame_streams.begin(19)
    with contextlib.suppress(BrokenPipeError, KeyboardInterrupt):
        serve(
            frame_streams.take,
            tell,
            lambda: Shipped([factorization(6), product(5)], [product(4)]),
            abandoned=frame_streams.abandoned,
        )


if __name__ == "__main__":
    main(sys.argv[1])
