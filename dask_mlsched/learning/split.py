"""Which instances are learnt from, and which are held out to judge by."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from dask_mlsched.learning.instance import Instance


@dataclass(frozen=True)
class Places:
    """Places of instances in their sequence."""

    learnt: tuple[int, ...]
    #: Those learnt from, if there are too few to hold any out.
    held: tuple[int, ...]
    #: Those learnt from, by family.
    families: tuple[tuple[int, ...], ...]

    def one_of_each_family(self, rng: np.random.Generator) -> list[int]:
        """Draw one instance of each family: all count alike, however many they have."""
        return [int(rng.choice(places)) for places in self.families]


def split(instances: Sequence[Instance], every: int) -> Places:
    """Hold out the second of every so many instances of each family.

    Families with a single instance are learnt from. Which are held out depends on nothing but
    their order, so that figures of several trainings can be compared.
    """
    families: dict[str, list[int]] = {}
    for place, instance in enumerate(instances):
        families.setdefault(instance.family, []).append(place)
    held = sorted(place for places in families.values() for place in places[1 :: max(every, 2)])
    learnt = [place for place in range(len(instances)) if place not in held]
    return Places(
        tuple(learnt),
        tuple(held or learnt),
        tuple(tuple(place for place in places if place in learnt) for places in families.values()),
    )
