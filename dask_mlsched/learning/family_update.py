"""A new model for one family: searched on from the best there is, and put to the family's gate.

A family that is served by a generalist, or shares a model with others, gets one of its own if that
saves clearly more of Dask's time: it is *split* off. The next version of a model of its own has to
be better than the one before. Both are judged on variants of the family's runs that no search has
seen.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean, geometric_mean
from typing import Final, Literal, TypeAlias

from dask_mlsched.core.network import Network
from dask_mlsched.core.thresholds import Thresholds
from dask_mlsched.learning.challengers import MadeBy, challenger
from dask_mlsched.learning.decisions import Decisions
from dask_mlsched.learning.gate import Suite
from dask_mlsched.learning.processes import Processes
from dask_mlsched.learning.search import SearchSettings
from dask_mlsched.learning.starts import best_start
from dask_mlsched.learning.statistics import mean_interval
from dask_mlsched.learning.variants import Variants
from dask_mlsched.learning.verdict import judge_here

Kind: TypeAlias = Literal["split", "update"]

#: Wide: nothing but this family has to stay as it is.
SEARCH: Final = SearchSettings(population=12, elites=4, sigma=0.4)


@dataclass(frozen=True, eq=False)
class FamilyAttempt:
    """What came of an attempt."""

    kind: Kind
    #: None if nothing better was found.
    network: Network | None
    made_by: MadeBy | None
    #: Why it may not take over; None if it may.
    objection: str | None
    figures: dict[str, float]


def attempt(
    serving: Network,
    others: Sequence[Network],
    variants: Variants,
    decisions: Decisions | None,
    thresholds: Thresholds,
    *,
    kind: Kind,
    seed: int,
    elapsed: Callable[[], float],
    seconds: float,
) -> FamilyAttempt:
    """Search for a better model for a family, and judge it.

    Parameters
    ----------
    serving, others
        What serves the family now, and other networks to begin at: of near families, for one.
    variants
        Of the family's runs.
    decisions
        Labelled ones of the family; None without any.
    elapsed, seconds
        How long it has taken so far, and may take, on any clock.
    """
    with Processes(variants.searched) as processes:
        start = best_start(processes, (serving, *others), serving)
    made = challenger(
        start,
        Suite(variants.searched, ()),
        decisions,
        seed=seed,
        elapsed=elapsed,
        seconds=seconds,
        search=SEARCH,
    )
    network = start if made is None else made.network
    if network is serving:
        nothing = "nothing better was found on what was searched with"
        return FamilyAttempt(kind, None, None, nothing, {})
    made_by: MadeBy = "search" if made is None else made.made_by
    before, after = (
        [outcome.makespan for outcome in judge_here(variants.judged, each).outcomes]
        for each in (serving, network)
    )
    figures = _figures(before, after)
    return FamilyAttempt(kind, network, made_by, _objection(kind, figures, thresholds), figures)


def _figures(before: Sequence[float], after: Sequence[float]) -> dict[str, float]:
    """Return what both come to, as shares of Dask's time."""
    saved = [old - new for old, new in zip(before, after, strict=True)]
    low, high = mean_interval(saved)
    figures = {
        "makespan": geometric_mean(after),
        "before": geometric_mean(before),
        "saved": fmean(saved),
        "variants": float(len(saved)),
    }
    # Of a single variant nobody knows how much is luck.
    return figures if len(saved) < 2 else {**figures, "saved_low": low, "saved_high": high}


def _objection(kind: Kind, figures: dict[str, float], thresholds: Thresholds) -> str | None:
    if kind == "update":
        ratio = figures["makespan"] / figures["before"]
        if ratio <= 1 - thresholds.update_gain:
            return None
        return (
            f"{ratio:.4f} of the makespan of the version before; "
            f"expected {1 - thresholds.update_gain} at most"
        )
    if figures["makespan"] >= 1:
        return f"{figures['makespan']:.4f} of Dask's time; expected less than Dask alone takes"
    low = figures.get("saved_low", -1.0)
    if figures["saved"] >= thresholds.split_gain and low > 0:
        return None
    return (
        f"saves {figures['saved']:.4f} of Dask's time, {low:.4f} for certain; expected "
        f"{thresholds.split_gain}, and more than 0 for certain"
    )
