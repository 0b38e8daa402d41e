"""What the experiment is held to: new families, merged models, and no family left behind."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Final

from dask_mlsched.benchmarks.lifelong_ours import Played
from dask_mlsched.benchmarks.lifelong_stream import Phase
from dask_mlsched.learning.generality import HEADROOM

#: Share of the specialist's gap that is wanted after so many runs of a new family.
SHARE: Final = 0.8
FIRST_RUNS: Final = 3

#: The merged model may take so many times as long as the joint training.
MERGED: Final = 1.02

#: So many runs of a family may together take so many times as long as Dask alone.
WINDOW: Final = 5
BEHIND: Final = 1.05


@dataclass(frozen=True)
class Run:
    """A run of the stream, and what everybody came to in it."""

    number: int
    phase: Phase
    workload: str
    #: What we did.
    played: Played
    #: Contender -> makespan over that of Dask alone, without scatter.
    makespans: Mapping[str, float]
    #: The best makespan that is known.
    best: float

    @property
    def has_headroom(self) -> bool:
        """Whether there is something to win."""
        return 1 - self.best >= HEADROOM

    def gap(self, contender: str) -> float:
        """Return the share of what can be won that a contender won."""
        return (1 - self.makespans[contender]) / (1 - self.best)


@dataclass(frozen=True)
class Goal:
    """A goal, and what was reached."""

    name: str
    #: In words, such as "0.80 or more".
    wanted: str
    figure: float
    met: bool


def goals(runs: Sequence[Run], merged_over_joint: float) -> tuple[Goal, ...]:
    """Hold an experiment to its goals."""
    share = new_family_share(runs)
    family, worst = worst_window(runs)
    return (
        Goal(
            f"new family: our gap after {FIRST_RUNS} runs over its specialist's",
            f"{SHARE:.2f} or more",
            share,
            share >= SHARE,
        ),
        Goal(
            "merged model: makespan over that of joint training",
            f"{MERGED:.2f} or less",
            merged_over_joint,
            merged_over_joint <= MERGED,
        ),
        Goal(
            f"worst {WINDOW} runs of one family: time over Dask alone ({family})",
            f"{BEHIND:.2f} or less",
            worst,
            worst <= BEHIND,
        ),
    )


def new_family_share(runs: Iterable[Run]) -> float:
    """Return our mean gap in the later runs of the new family, over that of its specialist."""
    new = [run for run in runs if run.phase == "new"][FIRST_RUNS:]
    return mean_gap(new, "ours") / mean_gap(new, "specialist")


def mean_gap(runs: Iterable[Run], contender: str) -> float:
    """Return a contender's mean gap over the runs in which there is something to win."""
    return fmean(run.gap(contender) for run in runs if run.has_headroom)


def worst_window(runs: Iterable[Run]) -> tuple[str, float]:
    """Return the family that was furthest behind Dask alone over any consecutive runs of it.

    Fewer runs than a window count as one.

    Returns
    -------
    tuple of str and float
        The family, and the mean of what its runs took over Dask alone.
    """
    by_family: dict[str, list[float]] = {}
    for run in runs:
        by_family.setdefault(run.workload, []).append(run.played.taken)
    found = {
        family: max(
            fmean(taken[start : start + WINDOW]) for start in range(max(1, len(taken) - WINDOW + 1))
        )
        for family, taken in by_family.items()
    }
    family = max(found, key=lambda each: found[each])
    return family, found[family]
