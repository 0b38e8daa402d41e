"""A new model for one family: searched on from the best there is, and put to the family's gate.

A family that has no model of its own gets one if that saves clearly more of Dask's time than the
generalist does: it is *split* off. The next version of a model of its own has to be better than the
one before. Both are judged on variants of the family's runs that no search has seen.
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
from dask_mlsched.learning.verdict import judge

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
    generalist: Network,
    own: Network | None,
    others: Sequence[Network],
    variants: Variants,
    decisions: Decisions | None,
    thresholds: Thresholds,
    *,
    seed: int,
    elapsed: Callable[[], float],
    seconds: float,
) -> FamilyAttempt:
    """Search for a better model for a family, and judge it.

    Parameters
    ----------
    generalist, own, others
        What serves in general; the family's own model, if it has one; models of near families.
    variants
        Of the family's runs.
    decisions
        Labelled ones of the family; None without any.
    elapsed, seconds
        How long it has taken so far, and may take, on any clock.
    """
    kind: Kind = "split" if own is None else "update"
    known = [generalist, *([] if own is None else [own]), *others]
    with Processes(variants.searched) as processes:
        start = best_start(processes, known, generalist)
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
    if any(network is each for each in (generalist, own)):
        nothing = "nothing better was found on what was searched with"
        return FamilyAttempt(kind, None, None, nothing, {})
    made_by: MadeBy = "search" if made is None else made.made_by
    figures, objection = _judged(network, generalist, own, variants, thresholds)
    return FamilyAttempt(kind, network, made_by, objection, figures)


def _judged(
    network: Network,
    generalist: Network,
    own: Network | None,
    variants: Variants,
    thresholds: Thresholds,
) -> tuple[dict[str, float], str | None]:
    with Processes(variants.judged) as processes:
        after, general = (
            [each.makespan for each in judge(processes, each).outcomes]
            for each in (network, generalist)
        )
        before = None if own is None else [e.makespan for e in judge(processes, own).outcomes]
    # Makespans are over Dask alone, so differences are shares of its time.
    saved = [theirs - ours for theirs, ours in zip(general, after, strict=True)]
    low, high = mean_interval(saved)
    figures = {
        "makespan": geometric_mean(after),
        "generalist": geometric_mean(general),
        "saved": fmean(saved),
        "variants": float(len(saved)),
    }
    if before is not None:
        figures["before"] = geometric_mean(before)
        ratio = figures["makespan"] / figures["before"]
        if ratio <= 1 - thresholds.update_gain:
            return figures, None
        return figures, (
            f"{ratio:.4f} of the makespan of the version before; "
            f"expected {1 - thresholds.update_gain} at most"
        )
    if len(saved) > 1:
        figures |= {"saved_low": low, "saved_high": high}
    if figures["saved"] < thresholds.split_gain or not low > 0:
        return figures, (
            f"saves {figures['saved']:.4f} of Dask's time beside the generalist, {low:.4f} for "
            f"certain; expected {thresholds.split_gain}, and above 0 for certain"
        )
    return figures, None
