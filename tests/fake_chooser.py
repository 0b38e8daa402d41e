"""A chooser whose choices are scripted: by the prefixes that a run's graph has."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar

import numpy as np

from core.networks import random_network
from dask_mlsched.core import features
from dask_mlsched.core.model_choice import (
    BASELINE,
    ArrivingTask,
    Belief,
    Catalogue,
    Choice,
    Considered,
    KnownFamily,
)
from dask_mlsched.core.network import Network

GENERALIST = "generalist/v0001"
SPECIALIST = "blocks/v0002"


def network_of_model(model: str) -> Network:
    """Return the network that a model of this name has in all tests."""
    return random_network(np.random.default_rng(sum(model.encode())), features.COUNT, (0, 0))


def family(name: str, model: str, sent_back: str | None = None) -> KnownFamily:
    """Return a family of graphs that have this prefix, which has one model."""
    arms = (Belief(BASELINE, 0.0, 0.0), Belief(model, 0.3, 0.1, 4))
    return KnownFamily(name, {"prefix": name}, arms, sent_back)


def catalogue(number: int = 1, *families: KnownFamily, unknown: str = GENERALIST) -> Catalogue:
    """Return what there is to choose from: `unknown` for graphs of no family.

    A model without a network is `BASELINE`.
    """
    models = {GENERALIST, unknown, *(arm.model for each in families for arm in each.arms)}
    networks = {model: network_of_model(model) for model in sorted(models - {BASELINE})}
    arms = (Belief(unknown, 0.1, 0.2),)
    return Catalogue(number, GENERALIST, arms, families, networks)


class FakeChooser:
    """A `ModelChooser`: a graph with a family's prefix is of it, and takes its last arm."""

    made: ClassVar[list[FakeChooser]] = []

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.catalogue: Catalogue | None = None
        self.runs = 0
        self.tasks: list[ArrivingTask] = []
        self.made.append(self)
        #: Raised by the next calls, if anything.
        self.error: Exception | None = None

    def take(self, catalogue: Catalogue) -> None:
        if any("prefix" not in each.fingerprint for each in catalogue.families):
            msg = "a fingerprint without a prefix"
            raise ValueError(msg)
        self.catalogue = catalogue

    def begin_run(self) -> None:
        self.runs += 1
        self.tasks = []

    def graph_arrived(self, tasks: Iterable[ArrivingTask]) -> None:
        if self.error is not None:
            raise self.error
        self.tasks += tasks

    def choose(self) -> Choice | None:
        if self.catalogue is None:
            return None
        prefixes = {prefix for _, prefix, _, given in self.tasks if not given}
        for each in self.catalogue.families:
            if each.fingerprint["prefix"] in prefixes:
                sent_back = each.sent_back is not None
                arm = Belief(BASELINE, 0.0, 0.0) if sent_back else each.arms[-1]
                return self._choice(arm, each.name)
        return self._choice(self.catalogue.unknown[-1], None)

    def _choice(self, arm: Belief, name: str | None) -> Choice:
        assert self.catalogue is not None
        network = self.catalogue.network(arm.model)
        near: dict[str, Any] = {"similarity": 1.0 if name else 0.0, "nearest": name}
        drawn = (Considered(arm, arm.mean),)
        return Choice(arm.model, network, name, why="it was told so", considered=drawn, **near)
