"""Whether a generalist on trial may take over, and whether one that did has to go back.

The trial is of real runs. Each one is paired with what the champion is believed to come to for the
same family: by its own real runs there as far as there are any, and by simulation. Programs of a
family differ: by how much the champion gains more or less in this one, a simulation says too.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING

from dask_mlsched.core.network import Network
from dask_mlsched.core.thresholds import Thresholds
from dask_mlsched.learning.beliefs import NOISE, belief
from dask_mlsched.learning.family import Family, Run
from dask_mlsched.learning.generality import BestKnown, GapTable, gap_table
from dask_mlsched.learning.instance import Instance
from dask_mlsched.learning.statistics import mean_interval

if TYPE_CHECKING:
    from dask_mlsched.learning.operations import Operations


@dataclass(frozen=True)
class Verdict:
    """What a trial came to."""

    #: Why it may take over.
    reason: str
    #: Why it may not; None if it may.
    objection: str | None
    figures: dict[str, float]


def verdict(
    families: Sequence[Family],
    challenger: str,
    champion: str,
    thresholds: Thresholds,
    simulated: Callable[[Family, str], Mapping[str, float]] = lambda _family, _model: {},
) -> Verdict | None:
    """Judge the trial of a generalist; None while there are too few runs.

    It may take over if the makespans of its runs are not above the champion's for certain on the
    wrong side: the lower end of the interval of the mean gain is at least 0; and no family is
    slower by more than a threshold, for certain: of a single run, some is luck.

    Parameters
    ----------
    simulated
        Returns the simulated gains of a model in the programs of a family.
    """
    trial = [
        (family, runs)
        for family in families
        # Where nothing is known of the champion, there is nothing to compare with.
        if champion in family.estimates or any(run.known for run in family.runs_of(champion))
        if (runs := [run for run in family.runs_of(challenger) if run.known])
    ]
    if sum(len(runs) for _, runs in trial) < max(2, thresholds.promote_pairs):
        return None
    pairs = {family.name: _pairs(family, runs, champion, simulated) for family, runs in trial}
    every = [gain for gains in pairs.values() for gain in gains]
    low, high = mean_interval(every)
    figures = {
        "pairs": float(len(every)),
        "ratio": math.exp(-fmean(every)),
        "ratio_low": math.exp(-high),
        "ratio_high": math.exp(-low),
    }
    best_case = {name: fmean(each) + NOISE / math.sqrt(len(each)) for name, each in pairs.items()}
    worst = min(best_case, key=lambda name: best_case[name])
    figures["worst"] = math.exp(-fmean(pairs[worst]))
    figures["worst_certainly"] = math.exp(-best_case[worst])
    told = {name: round(each, 4) for name, each in figures.items()}
    reason = f"{figures['ratio']:.3f} of the champion's time in {len(every)} real runs"
    if figures["worst_certainly"] > 1 + thresholds.promote_live_loss:
        objection = (
            f"{figures['worst']:.3f} of the champion's time for family {worst}, "
            f"{figures['worst_certainly']:.3f} for certain; "
            f"expected {1 + thresholds.promote_live_loss} at most"
        )
        return Verdict(reason, objection, told)
    if low >= 0:
        return Verdict(reason, None, told)
    if high < 0 or len(every) >= 4 * thresholds.promote_pairs:
        objection = (
            f"{reason}, {math.exp(-high):.3f} to {math.exp(-low):.3f}; expected 1 at most for "
            "certain"
        )
        return Verdict(reason, objection, told)
    return None


def _pairs(
    family: Family,
    runs: Sequence[Run],
    champion: str,
    simulated: Callable[[Family, str], Mapping[str, float]],
) -> list[float]:
    """Return by how much more each run gained than the champion is believed to."""
    believed = belief(family, champion).mean
    programs = simulated(family, champion)
    usual = fmean(programs.values()) if programs else 0.0
    return [run.gain - believed - (programs.get(run.program, usual) - usual) for run in runs]


def fallen(
    operations: Operations,
    families: Sequence[Family],
    champion: str,
    previous: str,
    thresholds: Thresholds,
    best: BestKnown | None = None,
) -> tuple[str, dict[str, float]] | None:
    """Compare a champion with the one before on the families' suites.

    Returns
    -------
    tuple of str and dict, or None
        Why it has to go back, with figures; None if it may stay.
    """
    every = {
        family.name: judged for family in families if (judged := operations.variants(family).judged)
    }
    if not every:
        return None
    networks = {ref: operations.network(ref) for ref in (champion, previous)}
    # Where it is as fast as the one before, nobody has to search for what is best there.
    instances = {
        family: judged
        for family, judged in every.items()
        if _mean_makespan(judged, networks[champion]) > _mean_makespan(judged, networks[previous])
    }
    if not instances:
        return None
    table = gap_table(
        networks,
        instances,
        covers={},
        covered_gap=thresholds.covered_gap,
        best=best,
    )
    return _worse(table, champion, previous, thresholds)


def _mean_makespan(instances: Sequence[Instance], network: Network) -> float:
    return fmean(instance.run(network).makespan for instance in instances)


def _worse(
    table: GapTable, champion: str, previous: str, thresholds: Thresholds
) -> tuple[str, dict[str, float]] | None:
    for each in table.families:
        now, before = each.gap(champion), each.gap(previous)
        figures = {"gap": round(now, 4), "gap_before": round(before, 4)}
        covered = thresholds.covered_gap
        if before >= covered and before - now > thresholds.rollback_gap:
            why = f"closes {now:.2f} of the gap of family {each.family}, {before:.2f} before"
            return why, figures
        if now < covered <= before:
            return f"does not cover family {each.family} any more: {now:.2f} of its gap", figures
    return None
