"""How accurate and how general models are: the gap between Dask alone and the best that they close.

For a model and a family, the *closed gap* is ``(T_base - T_model) / (T_base - T_best)``: 0 is Dask
alone, 1 the best that is known of. Families where the best is hardly better have no headroom, and
are left out, by name. A model's *accuracy* is its mean gap over the families that it is for; its
*generality* the share of all families of which it closes a quarter, and the gap of the worst one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any, Final

import numpy as np

from dask_mlsched.core.model_choice import BASELINE
from dask_mlsched.core.network import Network
from dask_mlsched.learning.default_model import default_network
from dask_mlsched.learning.instance import Instance
from dask_mlsched.learning.processes import Processes
from dask_mlsched.learning.specialise import after, specialise

#: What the best has to save of Dask's time for a family to count.
HEADROOM: Final = 0.02

#: Simulated runs in search of the best schedule of an instance.
BEST_RUNS: Final = 60


@dataclass(frozen=True)
class FamilyGaps:
    """What models come to for one family: mean makespans over those of Dask alone."""

    family: str
    #: The best that is known.
    best: float
    #: model -> its makespan.
    makespans: Mapping[str, float]

    @property
    def has_headroom(self) -> bool:
        """Whether there is something to win."""
        return 1 - self.best >= HEADROOM

    def gap(self, model: str) -> float:
        """Return the closed gap of a model; below 0 where it is slower than Dask alone."""
        return (1 - self.makespans[model]) / (1 - self.best)


@dataclass(frozen=True)
class GapTable:
    """The closed gaps of all models for all families."""

    models: tuple[str, ...]
    #: Those with headroom; and the names of those without.
    families: tuple[FamilyGaps, ...]
    left_out: tuple[str, ...]
    #: model -> the families that it is for; all, if it is not in here.
    covers: Mapping[str, Sequence[str]]
    #: Closed gap from which on a family counts as covered.
    covered_gap: float

    def accuracy(self, model: str) -> float | None:
        """Return the mean gap over the families that a model is for; None without any."""
        meant = self.covers.get(model)
        gaps = [each.gap(model) for each in self.families if meant is None or each.family in meant]
        return fmean(gaps) if gaps else None

    def generality(self, model: str) -> float | None:
        """Return the share of all families that a model covers; None without any."""
        if not self.families:
            return None
        return fmean(each.gap(model) >= self.covered_gap for each in self.families)

    def worst(self, model: str) -> FamilyGaps | None:
        """Return the family of which a model closes least; None without any."""
        return min(self.families, key=lambda each: each.gap(model), default=None)

    @property
    def front(self) -> tuple[str, ...]:
        """The models of which none is both more accurate and more general: Pareto's front."""
        points = {
            model: (accuracy, generality)
            for model in self.models
            if (accuracy := self.accuracy(model)) is not None
            and (generality := self.generality(model)) is not None
        }
        return tuple(
            model
            for model, point in points.items()
            if not any(
                all(o >= p for o, p in zip(other, point, strict=True)) and other != point
                for other in points.values()
            )
        )

    def as_json(self) -> dict[str, Any]:
        """Return all of it for machines."""
        return {
            "format": "mlsched-generality",
            "version": 1,
            "covered_gap": self.covered_gap,
            "families": [
                {
                    "family": each.family,
                    "best": each.best,
                    "makespans": dict(each.makespans),
                    "gaps": {model: each.gap(model) for model in self.models},
                }
                for each in self.families
            ],
            "left_out": list(self.left_out),
            "models": [
                {
                    "model": model,
                    "accuracy": self.accuracy(model),
                    "generality": self.generality(model),
                    "worst_family": None if (worst := self.worst(model)) is None else worst.family,
                    "worst_gap": None if worst is None else worst.gap(model),
                    "on_front": model in self.front,
                }
                for model in self.models
            ],
        }


def gap_table(
    models: Mapping[str, Network | None],
    instances: Mapping[str, Sequence[Instance]],
    *,
    covers: Mapping[str, Sequence[str]],
    covered_gap: float,
    best: BestKnown | None = None,
    processes: int = 1,
) -> GapTable:
    """Run all models on the instances of all families.

    Parameters
    ----------
    models
        By their names; None is Dask alone.
    instances
        Of each family, at least one.
    covers
        See `GapTable`.
    best
        Remembers the best schedules that are known.
    processes
        How many runs are simulated at a time.
    """
    known = BestKnown() if best is None else best
    everything = [each for some in instances.values() for each in some]
    names = list(models)
    with Processes(everything, processes) as running:
        places = range(len(everything))
        calls = [(place, models[name]) for name in names for place in places]
        took = np.array(running.call(_makespan, calls)).reshape(len(names), len(everything))
        best_of_all = np.minimum(known.makespans(running), took.min(0, initial=np.inf))
    families, at = [], 0
    for family, some in instances.items():
        here = slice(at, at + len(some))
        at += len(some)
        families.append(
            FamilyGaps(
                family,
                float(best_of_all[here].mean()),
                {name: float(took[row, here].mean()) for row, name in enumerate(names)},
            )
        )
    return GapTable(
        tuple(names),
        tuple(each for each in families if each.has_headroom),
        tuple(each.family for each in families if not each.has_headroom),
        covers,
        covered_gap,
    )


class BestKnown:
    """The best schedules of instances: searched for once, as long as these are asked for."""

    def __init__(self) -> None:
        #: By the instance: its makespan over that of Dask alone. Instances are kept alive, so
        #: that no other takes the place of one that is gone.
        self._found: dict[int, tuple[Instance, float]] = {}

    def makespans(self, processes: Processes) -> list[float]:
        """Return the best makespans of the instances of some processes."""
        missing = [
            place for place, each in enumerate(processes.instances) if id(each) not in self._found
        ]
        found = processes.call(_best_makespan, [(place,) for place in missing])
        for place, makespan in zip(missing, found, strict=True):
            instance = processes.instances[place]
            self._found[id(instance)] = instance, makespan
        # Whoever trains for months must not keep what is not asked for any more.
        self._found = {id(each): self._found[id(each)] for each in processes.instances}
        return [self._found[id(each)][1] for each in processes.instances]


def _makespan(instance: Instance, network: Network | None) -> float:
    """Return the makespan over that of Dask alone; of Dask alone itself, 1."""
    return 1.0 if network is None else instance.run(network).makespan


def _best_makespan(instance: Instance) -> float:
    found = specialise(
        instance.dag,
        instance.machine,
        instance.settings,
        instance.order,
        default_network(),
        expired=after(BEST_RUNS),
        rng=np.random.default_rng(0),
    )
    return min(1.0, found.foretold[found.arm][0] / instance.stock_makespan)


def with_baseline(models: Mapping[str, Network | None]) -> dict[str, Network | None]:
    """Put Dask alone first."""
    return {BASELINE: None, **models}
