"""Whether a new network may take over: what it comes to on a frozen suite, beside the present one.

LEARNING, section 5, *Promote*, as far as it can be simulated: better over the whole suite by half a
hundredth, not worse on this cluster's own runs, and no family clearly worse than two hundredths.
All families count alike, however many instances they have; each program of this cluster is one.

Of a single DAG, a network that is nearly the same may be better or worse by a twentieth, and with
ten families one is unlucky nearly always. So what ships has several instances to a family, and a
family is *clearly* worse if it is by its mean less one standard error. How far instances of a
family scatter is taken over all of them together, for three say little about that.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, geometric_mean
from typing import Final

from dask_mlsched.core.network import Network
from dask_mlsched.learning.instance import Instance
from dask_mlsched.learning.verdict import Verdict, by_family, judge_here

#: Shares of the makespan: so much has to be won overall; a family may lose so much for certain,
#: and so much by its mean, whatever the scatter.
GAIN: Final = 0.005
LOSS: Final = 0.02
MOST_LOSS: Final = 0.1


@dataclass(frozen=True)
class Suite:
    """The instances to judge on."""

    #: Of this cluster's runs, and those that ship.
    own: Sequence[Instance]
    shipped: Sequence[Instance]

    @property
    def instances(self) -> tuple[Instance, ...]:
        """All of them, the own ones first."""
        return (*self.own, *self.shipped)


@dataclass(frozen=True)
class Comparison:
    """The makespans of a challenger over those of the champion."""

    #: Geometric mean over the families; over own runs, None without any.
    overall: float
    own: float | None
    #: The family that is worst: its name, its geometric mean, and that less one standard error.
    worst_family: str
    worst: float
    worst_certainly: float
    #: Geometric means of the makespans of both over those of Dask alone, over all instances.
    champion: float
    challenger: float
    #: A family may lose so much for certain.
    loss: float = LOSS

    @property
    def objection(self) -> str | None:
        """Say why the challenger may not take over; None if it may."""
        if not self.overall <= 1 - GAIN:
            return f"{self.overall:.4f} of the makespan over the suite; expected {1 - GAIN} at most"
        if self.own is not None and not self.own <= 1:
            return f"{self.own:.4f} of the makespan of own runs; expected 1 at most"
        family = f"of the makespan of family {self.worst_family!r}"
        if not self.worst_certainly <= 1 + self.loss:
            return (
                f"{self.worst:.4f} {family}, {self.worst_certainly:.4f} for certain; "
                f"expected {1 + self.loss} at most"
            )
        if not self.worst <= 1 + MOST_LOSS:
            return f"{self.worst:.4f} {family}; expected {1 + MOST_LOSS} at most"
        return None

    @property
    def figures(self) -> dict[str, float]:
        """Return the figures by their names, for records."""
        figures = {
            "overall": self.overall,
            "worst": self.worst,
            "worst_certainly": self.worst_certainly,
            "champion": self.champion,
            "challenger": self.challenger,
        }
        return figures if self.own is None else {**figures, "own": self.own}


def judged(suite: Suite, network: Network) -> Verdict:
    """Run a network on all instances of a suite; there is one at least."""
    return judge_here(suite.instances, network)


def compare(suite: Suite, before: Verdict, challenger: Network, loss: float = LOSS) -> Comparison:
    """Run a challenger on a suite, given what the champion came to there."""
    after = judged(suite, challenger)
    ratios = [
        new.makespan / old.makespan
        for old, new in zip(before.outcomes, after.outcomes, strict=True)
    ]
    families = by_family(suite.instances, [math.log(ratio) for ratio in ratios])
    means = {family: fmean(logs) for family, logs in families.items()}
    scatter = _scatter(families, means)
    certainly = {
        family: mean - scatter / math.sqrt(len(families[family])) for family, mean in means.items()
    }
    worst = max(certainly, key=lambda family: certainly[family])
    own = len(suite.own)
    return Comparison(
        overall=math.exp(fmean(means.values())),
        own=geometric_mean(ratios[:own]) if own else None,
        worst_family=worst,
        worst=math.exp(means[worst]),
        worst_certainly=math.exp(certainly[worst]),
        champion=before.makespan,
        challenger=after.makespan,
        loss=loss,
    )


def _scatter(families: Mapping[str, Sequence[float]], means: Mapping[str, float]) -> float:
    """Return the standard deviation within families; 0 where each has one instance."""
    squares = sum((log - means[family]) ** 2 for family, logs in families.items() for log in logs)
    free = sum(map(len, families.values())) - len(families)
    return math.sqrt(squares / free) if free else 0.0
