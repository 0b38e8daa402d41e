"""What a model is believed to be worth for a family: simulated first, then what real runs say.

The gain ``log(T_baseline / T)`` of a model has a normal prior: around the simulated estimate, as
wide as the simulation errs; or, without one, around what the model is worth for other families, as
wide as families differ. Each real run is one observation of it. Dask alone has the gain 0.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import fmean, pstdev
from typing import Final

from dask_mlsched.core.model_choice import BASELINE, Belief
from dask_mlsched.learning.family import Family

#: Deviations of the logarithm: of a simulated estimate from what real runs come to, which is what
#: the gate of recorded runs lets through; and of real runs among each other.
SIMULATION: Final = 0.05
NOISE: Final = 0.05

#: Of a model of which nothing is known but what its card says.
UNSEEN: Final = 0.1

#: The latest runs of a model count, so that one whose graphs drift is seen as it is.
LATEST: Final = 20

#: An estimate below this is not tried: Dask alone is foretold to be clearly faster.
FORETOLD_SLOWER: Final = -0.02


def belief(family: Family, model: str, elsewhere: tuple[float, float] | None = None) -> Belief:
    """Return what a model is believed to be worth for a family.

    Parameters
    ----------
    elsewhere
        Mean and deviation of the gain of the model for other families, where there is no estimate.
    """
    if model == BASELINE:
        return Belief(BASELINE, 0.0, 0.0, len(family.runs_of(BASELINE)))
    estimate = family.estimates.get(model)
    if estimate is not None:
        mean, deviation = estimate, SIMULATION
    else:
        mean, deviation = elsewhere or (0.0, UNSEEN)
    gains = [run.gain for run in family.runs_of(model) if run.known][-LATEST:]
    return Belief(model, *_posterior(mean, deviation, gains), len(gains))


def _posterior(mean: float, deviation: float, gains: Sequence[float]) -> tuple[float, float]:
    """Return mean and deviation of a normal mean after observations of known scatter."""
    precision, observed = deviation**-2, len(gains) * NOISE**-2
    middle = (mean * precision + sum(gains) * NOISE**-2) / (precision + observed)
    return middle, math.sqrt(1 / (precision + observed))


def elsewhere(families: Sequence[Family], model: str, card: float | None) -> tuple[float, float]:
    """Return what a model is worth for families in general: mean and deviation of its gain.

    Parameters
    ----------
    card
        The gain that its card tells of; counts as one family more. None if it tells of none.
    """
    known = [
        belief(family, model).mean
        for family in families
        if model in family.estimates or family.runs_of(model)
    ]
    if card is not None:
        known.append(card)
    if not known:
        return 0.0, UNSEEN
    return fmean(known), max(UNSEEN, pstdev(known))


def arms(
    family: Family,
    models: Sequence[str],
    general: Mapping[str, tuple[float, float]],
) -> tuple[Belief, ...]:
    """Return what there is to choose from for a family, Dask alone first.

    Left out are models that are banned there, and those that a simulation foretells to be slower
    than Dask alone, unless real runs have shown otherwise.

    Parameters
    ----------
    models
        Those that may be asked, without `BASELINE`.
    general
        model -> what it is worth elsewhere, where that is known.
    """
    found = [belief(family, model, general.get(model)) for model in models]
    allowed = [
        each for each in found if family.may_decide(each.model) and each.mean > FORETOLD_SLOWER
    ]
    return (belief(family, BASELINE), *allowed)
