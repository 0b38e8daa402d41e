"""What there is to choose from, as the scheduler is told it: models, and what each is worth."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import Final

from dask_mlsched.core.model_choice import BASELINE, Belief, Catalogue, KnownFamily, Origin
from dask_mlsched.core.network import Network
from dask_mlsched.learning import beliefs
from dask_mlsched.learning.family import Family
from dask_mlsched.learning.models_in_use import ModelsInUse
from dask_mlsched.learning.verdict import judge_here

#: The makespan over Dask's of the model that ships, on DAGs that its training has not seen.
SHIPPED_MAKESPAN: Final = 0.661

#: Models whose origin is told.
LONGEST_LINEAGE: Final = 64


class CatalogueMaker:
    """Makes catalogues of the models of one library.

    Parameters
    ----------
    operations
        Knows the models, and the families that they serve.
    """

    def __init__(self, operations: ModelsInUse) -> None:
        self._operations = operations

    def _models_for(self, family: Family) -> list[str]:
        """List the models that may be asked for a family: generalists, its own, its neighbours'."""
        operations = self._operations
        neighbours = operations.families.near(family, operations.thresholds)
        near = [operations.own(each) for each in neighbours]
        general = [operations.champion, operations.challenger]
        if operations.champion in family.banned:
            # It is better served by the one before than by nobody.
            general.append(operations.previous)
        found = [*general, operations.own(family), *near]
        return [
            ref
            for ref in dict.fromkeys(found)
            if ref is not None and ref != BASELINE and operations.is_there(ref)
        ]

    def estimate(self, family: Family) -> list[str]:
        """Simulate what has no estimate yet; forget what is not asked any more.

        Returns
        -------
        list of str
            The models that may be asked.
        """
        models = self._models_for(family)
        family.estimates = {ref: gain for ref, gain in family.estimates.items() if ref in models}
        missing = [ref for ref in models if ref not in family.estimates]
        some = self._operations.variants(family)
        instances = (*some.searched, *some.judged)
        if not missing or not instances:
            return models
        for ref in missing:
            verdict = judge_here(instances, self._operations.network(ref))
            family.estimates[ref] = -math.log(verdict.makespan)
        return models

    def make(self, number: int) -> Catalogue:
        """Say what there is to choose from.

        Raises
        ------
        OSError, dask_mlsched.learning.library.LibraryError
            If the library cannot be read, or a family cannot be written.
        """
        operations = self._operations
        champion, challenger = operations.champion, operations.challenger
        if not operations.is_there(champion):
            champion = BASELINE
        general = dict(self._general())
        families = []
        for family in self._operations.families:
            before = dict(family.estimates)
            models = self.estimate(family)
            if family.estimates != before:
                self._operations.families.save(family)
            arms = beliefs.arms(family, models, general)
            families.append(
                KnownFamily(family.name, family.prototype.to_json(), arms, family.sent_back)
            )
        unknown = [Belief(BASELINE, 0.0, 0.0)]
        if champion != BASELINE:
            unknown.append(Belief(champion, *general[champion]))
        named = {arm.model for arms in (unknown, *(each.arms for each in families)) for arm in arms}
        networks: dict[str, Network] = {
            ref: operations.network(ref) for ref in sorted({*named, champion} - {BASELINE})
        }
        return Catalogue(
            number,
            champion,
            tuple(unknown),
            tuple(families),
            networks,
            trial=challenger if challenger in networks else None,
            same_family=self._operations.thresholds.same_family,
            near_family=self._operations.thresholds.near_family,
            lineage=self._lineage(networks),
        )

    def _lineage(self, refs: Iterable[str]) -> dict[str, Origin]:
        """Look up where models come from, and what those were made from."""
        library = self._operations.library
        known: dict[str, Origin] = {}
        waiting = list(refs)
        while waiting and len(known) < LONGEST_LINEAGE:
            ref = waiting.pop(0)
            if ref in known or not self._operations.is_there(ref):
                continue
            card = library.card(ref)
            parents = tuple(map(str, card.parents))
            known[ref] = Origin(card.made_by, parents, card.date, card.reason)
            waiting += parents
        return known

    def _general(self) -> Iterator[tuple[str, tuple[float, float]]]:
        """Yield what generalists are worth for families in general."""
        operations = self._operations
        for ref in (operations.champion, operations.challenger, operations.previous):
            if ref is not None and ref != BASELINE and operations.is_there(ref):
                card = operations.library.card(ref)
                # One that somebody made champion by hand counts as what he takes it for: as good
                # as the model that ships. Otherwise one bad run would keep it from ever being
                # asked again, and from going back.
                makespan = card.figures.get("challenger", SHIPPED_MAKESPAN)
                told = -math.log(makespan) if makespan > 0 else None
                yield ref, beliefs.elsewhere(list(operations.families), ref, told)
