"""Chooses the model for a graph: by its fingerprint a family, among its arms by Thompson sampling.

A graph is of a family that is known if their fingerprints are nearly the same, and then the choice
is among that family's arms. For any other graph there are Dask alone, the generalist, and the best
models of up to three families that are near, whose worth is believed in less the further they are.
Of each arm a worth is drawn from what is believed, and the largest is taken (Thompson 1933,
Biometrika 25): what is uncertain is tried, what is known to be worse is not. A generalist on trial
decides in half of the runs: it is to be seen in real runs before it may take over.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np

from dask_mlsched.core.model_choice import (
    BASELINE,
    ArrivingTask,
    Belief,
    Catalogue,
    Choice,
    Considered,
    KnownFamily,
)
from dask_mlsched.learning.fingerprint import Fingerprint, Fingerprinter, similarity

#: So many near families are looked at.
NEAREST: Final = 3

#: Share of the runs that go to a generalist on trial, where there is one.
TRIALS: Final = 0.5

#: What is added to the uncertainty of another family's model, for each unit of distance.
FAR_DEVIATION: Final = 0.5


@dataclass(frozen=True, slots=True)
class Neighbour:
    """A family that is known, and how similar a graph is to it."""

    family: KnownFamily
    similarity: float


class Chooser:
    """A `dask_mlsched.core.model_choice.ModelChooser`.

    Parameters
    ----------
    seed
        Of what is drawn.
    """

    def __init__(self, seed: int = 0) -> None:
        self._rng = np.random.default_rng(seed)
        self._catalogue: Catalogue | None = None
        self._prototypes: list[Fingerprint] = []
        #: family -> its fingerprint as it was told, and read.
        self._parsed: dict[str, tuple[Mapping[str, Any], Fingerprint]] = {}
        self._run = Fingerprinter()

    @property
    def fingerprint(self) -> Fingerprint:
        """Of what has arrived in the run."""
        return self._run.fingerprint

    def take(self, catalogue: Catalogue) -> None:
        """Choose from this one from now on.

        Raises
        ------
        dask_mlsched.learning.fingerprint.FingerprintError
            If a family's fingerprint cannot be used; the catalogue before stays.
        """
        # Most families are as they were: to read hundreds of labels of each takes milliseconds.
        parsed = {
            each.name: self._parsed[each.name]
            if each.name in self._parsed and self._parsed[each.name][0] == each.fingerprint
            else (each.fingerprint, Fingerprint.from_json(each.fingerprint))
            for each in catalogue.families
        }
        self._parsed = parsed
        self._catalogue = catalogue
        self._prototypes = [parsed[each.name][1] for each in catalogue.families]

    def begin_run(self) -> None:
        """Forget the graphs so far."""
        self._run.clear()

    def graph_arrived(self, tasks: Iterable[ArrivingTask]) -> None:
        """Take in tasks that belong to the run."""
        self._run.add(tasks)

    def choose(self) -> Choice | None:
        """Choose for what has arrived since the run began; None before any catalogue."""
        if self._catalogue is None:
            return None
        found = self._run.fingerprint
        neighbours = [
            Neighbour(family, similarity(found, prototype))
            for family, prototype in zip(self._catalogue.families, self._prototypes, strict=True)
        ]
        return choose(self._catalogue, neighbours, self._rng)


def choose(
    catalogue: Catalogue, neighbours: Sequence[Neighbour], rng: np.random.Generator
) -> Choice:
    """Choose the model for a graph.

    Parameters
    ----------
    neighbours
        The families of the catalogue, with the graph's similarity to each.
    rng
        Draws; the same one gives the same choice.
    """
    near = sorted(neighbours, key=lambda each: -each.similarity)
    best = near[0] if near else None
    known = best.family if best is not None and best.similarity >= catalogue.same_family else None
    if known is not None and known.sent_back is not None:
        arms: tuple[Belief, ...] = (Belief(BASELINE, 0.0, 0.0),)
        why = f"{known.name} is left to Dask alone: {known.sent_back}"
    elif known is not None:
        arms, why = known.arms or (Belief(BASELINE, 0.0, 0.0),), f"a graph of family {known.name}"
    else:
        arms = _for_unknown(catalogue, near)
        why = "no family is known yet" if best is None else f"a new family; {_nearest(best)}"
    considered = tuple(Considered(arm, float(rng.normal(arm.mean, arm.deviation))) for arm in arms)
    # Of equals the first: arms stand with Dask alone first.
    chosen = max(considered, key=lambda each: each.drawn)
    tried = next((each for each in considered if each.belief.model == catalogue.trial), None)
    if tried is not None and rng.random() < TRIALS:
        chosen, why = tried, f"{why}; on trial"
    return Choice(
        model=chosen.belief.model,
        network=catalogue.network(chosen.belief.model),
        family=None if known is None else known.name,
        similarity=0.0 if best is None else best.similarity,
        nearest=None if best is None else best.family.name,
        why=why if known is not None and known.sent_back else f"{why}; {_told(chosen)}",
        considered=considered,
    )


def _for_unknown(catalogue: Catalogue, near: Sequence[Neighbour]) -> tuple[Belief, ...]:
    """Return what there is for any graph, and the best models of near families."""
    arms = {belief.model: belief for belief in catalogue.unknown}
    for neighbour in near[:NEAREST]:
        family = neighbour.family
        if (
            neighbour.similarity < catalogue.near_family
            or family.sent_back is not None
            or not family.arms
        ):
            continue
        best = max(family.arms, key=lambda arm: arm.mean)
        far = FAR_DEVIATION * (1 - neighbour.similarity)
        arms.setdefault(
            best.model,
            replace(
                best,
                mean=best.mean * neighbour.similarity,
                deviation=math.hypot(best.deviation, far),
                runs=0,
            ),
        )
    return tuple(arms.values())


def _nearest(neighbour: Neighbour) -> str:
    return f"the nearest is {neighbour.family.name} ({neighbour.similarity:.2f})"


def _told(chosen: Considered) -> str:
    belief = chosen.belief
    if belief.model == BASELINE:
        return "Dask alone is believed to be best"
    return (
        f"{belief.model} is believed to take {math.exp(-belief.mean):.2f} of Dask's time "
        f"(within {belief.deviation:.2f}, {belief.runs} runs)"
    )
