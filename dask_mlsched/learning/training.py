"""Training as a whole: its settings, its curve, and what it comes to."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, TypeAlias

from dask_mlsched.core.network import Network
from dask_mlsched.learning.fit import FitSettings
from dask_mlsched.learning.labelling import LabelSettings
from dask_mlsched.learning.search import SearchSettings
from dask_mlsched.learning.verdict import Verdict

Stage: TypeAlias = Literal["search", "learn", "refine"]
Ended: TypeAlias = Literal["rounds", "budget"]


class TrainingError(ValueError):
    """A training that cannot be: one line with what was found, what was expected, and the cure."""


@dataclass(frozen=True)
class TrainSettings:
    """How a network is trained; with the same instances, it says what comes out."""

    seed: int = 0
    #: Of the linear score.
    search: SearchSettings = field(default_factory=SearchSettings)
    #: Rounds of search between two looks at the instances held out.
    judge_every: int = 5
    #: Rounds of roll out, label, fit.
    rounds: int = 2
    label: LabelSettings = field(default_factory=LabelSettings)
    #: Gently: what it starts from is better than what any labels alone lead to.
    fit: FitSettings = field(
        default_factory=lambda: FitSettings(
            hidden=(16, 16), epochs=40, warm_up=0.0, learning_rate=3e-4
        )
    )
    #: Of the linear part and of what follows the hidden layers, after each fit.
    refine: SearchSettings = field(default_factory=lambda: SearchSettings(rounds=25, sigma=0.1))
    #: Looks without a better network after which a stage ends.
    patience: int = 8
    #: One instance of so many of a family is held out.
    holdout: int = 3
    #: Seconds of all together; None for as long as it takes.
    budget: float | None = None

    def __post_init__(self) -> None:
        """Refuse what cannot be trained with."""
        for name in ("judge_every", "patience", "holdout"):
            value = getattr(self, name)
            if value < 1:
                msg = f"{name} is {value!r}; expected at least 1"
                raise TrainingError(msg)
        if self.budget is not None and not 0 < self.budget < math.inf:
            msg = f"a budget of {self.budget!r} seconds; expected more than 0, or None"
            raise TrainingError(msg)

    def identity(self) -> dict[str, str]:
        """Tell trainings apart whose states are not each other's; time may be added later."""
        return {name: str(value) for name, value in asdict(self).items() if name != "budget"}


@dataclass(frozen=True)
class Point:
    """One look at how a training stands."""

    stage: Stage
    #: Rounds of the stage that are done, and fits before it.
    number: int
    fits: int
    #: Seconds since the training began, pauses left out.
    seconds: float
    #: Mean cost of what the stage tried last, on what it learns from; of a fit, its loss.
    learnt: float
    #: On the instances held out: mean cost, geometric means and the worst ratio to Dask alone.
    cost: float
    bytes_moved: float
    makespan: float
    worst: float
    #: Decisions with labels so far.
    decisions: int
    #: Whether it is the best so far.
    best: bool

    @classmethod
    def of(
        cls,
        stage: Stage,
        number: int,
        fits: int,
        seconds: float,
        learnt: float,
        verdict: Verdict,
        decisions: int,
        *,
        best: bool,
    ) -> Point:
        """Note a verdict."""
        return cls(
            stage=stage,
            number=number,
            fits=fits,
            seconds=seconds,
            learnt=learnt,
            cost=verdict.cost,
            bytes_moved=verdict.bytes_moved,
            makespan=verdict.makespan,
            worst=verdict.worst_makespan,
            decisions=decisions,
            best=best,
        )


@dataclass(frozen=True)
class Trained:
    """What a training came to."""

    #: What was chosen, the best linear score, and the best of all on the instances held out.
    network: Network
    linear: Network
    best: Network
    curve: tuple[Point, ...]
    #: Why it ended.
    ended: Ended

    def as_json(self) -> dict[str, Any]:
        """Return the curve for machines."""
        return {"ended": self.ended, "curve": [asdict(point) for point in self.curve]}


#: Called with what is going on, the share of its stage that is done, and the last point.
OnProgress: TypeAlias = Callable[[str, float, Point | None], None]
