"""New models: of a family's own, shared by some, or a generalist; each has to pass its gate.

What passes is a version with a card that names parents, figures and reason, and an alias means it;
what does not leaves an event that says why.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Final

from dask_mlsched.core.network import Network
from dask_mlsched.learning import family_update, merging
from dask_mlsched.learning.decisions import Decisions
from dask_mlsched.learning.family import Family
from dask_mlsched.learning.merging import Parent
from dask_mlsched.learning.model_card import network_digest
from dask_mlsched.learning.model_ref import CHALLENGER, LibraryError
from dask_mlsched.learning.models_in_use import GENERALIST, ModelsInUse, family_alias
from dask_mlsched.learning.outcome import CHALLENGE, REJECTED, Effort, Outcome

#: Letters of the longest name of a model.
_LONGEST_NAME: Final = 64

#: Of so many models at least one is made.
LEAST_MERGED: Final = 2


def _shared_name(names: Sequence[str]) -> str:
    """Name a model after the families that share it."""
    whole = ".".join(sorted(names))
    if len(whole) <= _LONGEST_NAME:
        return whole
    return f"shared-{hashlib.blake2b(whole.encode(), digest_size=4).hexdigest()}"


class ModelMaking(ModelsInUse):
    """Makes models."""

    def update(
        self,
        family: Family,
        effort: Effort,
        *,
        decisions: Decisions | None = None,
        seed: int = 0,
    ) -> Outcome:
        """Try a better model for a family; the first of its own splits it off.

        Raises
        ------
        OSError, LibraryError
            If the library cannot be read or written, or the family has no runs to judge by.
        """
        self._check_runs(family)
        own = self.own(family)
        serving = self.champion if own is None else own
        shared = own is None or self.shares(own)
        near = (self.own(each) for each in self.families.near(family, self.thresholds))
        others = [ref for ref in dict.fromkeys((self.champion, *near)) if ref is not None]
        attempt = family_update.attempt(
            self.network(serving),
            [
                *(self.network(ref) for ref in others if ref != serving),
                *([self._found.pop(family.name)] if family.name in self._found else []),
            ],
            self.variants(family),
            decisions,
            self.thresholds,
            kind="split" if shared else "update",
            seed=seed,
            elapsed=effort.elapsed,
            seconds=effort.most,
        )
        figures = {name: round(each, 5) for name, each in attempt.figures.items()}
        if attempt.network is None or attempt.objection is not None:
            if attempt.network is not None:
                self._found[family.name] = attempt.network
            reason = f"{attempt.kind} of {family.name}: {attempt.objection}"
            return self.refuse(reason, figures, [serving], family.name)
        reason = (
            f"{figures['makespan']:.3f} of Dask's time on variants of its runs, "
            f"{figures['before']:.3f} with {serving}"
        )
        if self.own(family) != own or (own is None and self.champion != serving):
            reason = f"{attempt.kind} of {family.name}: what serves it has changed meanwhile"
            return self.refuse(reason, figures, [serving], family.name)
        ref = self._added(
            family.name,
            attempt.network,
            made_by=f"{attempt.kind} ({attempt.made_by})",
            reason=reason,
            parents=[serving],
            figures=figures,
            families=[family.name],
        )
        self.library.move({family_alias(family.name): ref}, f"{attempt.kind}: {reason}", figures)
        return Outcome(attempt.kind, reason, ref, family.name, figures)

    # Merge

    def merge(self, names: Sequence[str], effort: Effort, *, seed: int = 0) -> Outcome:
        """Make one model of those of some families, which shares them if it is as good.

        Raises
        ------
        OSError, LibraryError
            If the library cannot be read or written, fewer than two of the families have models
            of their own, or one has no runs to judge by.
        """
        parents = self._parents(names)
        refs = sorted(self.own_models(names))
        if len(refs) < LEAST_MERGED:
            msg = (
                f"families {', '.join(names)} have {len(refs)} models of their own; expected "
                f"{LEAST_MERGED} or more to merge"
            )
            raise LibraryError(msg)
        found = merging.merge(
            parents,
            self.network(self.champion),
            self.thresholds,
            seed=seed,
            elapsed=effort.elapsed,
            seconds=effort.most,
        )
        if found.objection is not None:
            reason = f"merge of {', '.join(names)}: {found.objection}"
            return self.refuse(reason, found.figures, refs)
        if refs != sorted(self.own_models(names)):
            reason = f"merge of {', '.join(names)}: what serves them has changed meanwhile"
            return self.refuse(reason, found.figures, refs)
        reason = f"serves {', '.join(names)} within {self.thresholds.merge_loss:.0%} of their own"
        # Also if it is the model of one of them: the newest one of the same weights is found, and
        # no family has the others any more.
        ref = self.library.add(
            _shared_name(names),
            found.network,
            made_by=f"merge ({found.made_by})",
            reason=reason,
            parents=refs,
            figures=found.figures,
            families=names,
        )
        self.library.move(
            {family_alias(name): ref for name in names}, f"merge: {reason}", found.figures
        )
        return Outcome("merge", reason, ref, None, found.figures)

    def closest(self) -> list[str] | None:
        """Return the two families whose models do best for each other; None if fewer have any.

        How well, the better of the two says, for it may serve both: the makespan of the other
        family over that with its own model.
        """
        owns = {
            each.name: own
            for each in self.families
            if (own := self.own(each)) is not None and self.variants(each).judged
        }
        parents = {name: self._parents([name])[0] for name in owns}
        best: tuple[float, list[str]] | None = None
        for one, other in combinations(owns, 2):
            if owns[one] == owns[other]:
                continue
            loss = min(
                merging.ratio_of(parents[one], parents[other].network),
                merging.ratio_of(parents[other], parents[one].network),
            )
            if best is None or loss < best[0]:
                best = loss, [one, other]
        return None if best is None else best[1]

    def generalise(
        self, effort: Effort, *, decisions: Decisions | None = None, seed: int = 0
    ) -> Outcome:
        """Make a generalist of all models and runs there are; it is on trial if it is better.

        Parameters
        ----------
        decisions
            Labelled ones, oldest first, to fit to; None to search alone.

        Raises
        ------
        OSError, LibraryError
            If the library cannot be read or written.
        """
        names = [each.name for each in self.families if self.variants(each).judged]
        if not names:
            reason = "generalist: nothing could be won in any run so far"
            return self.refuse(reason, {}, [self.champion])
        found = merging.generalise(
            self._parents(names),
            self.network(self.champion),
            self.shipped,
            decisions,
            self.thresholds,
            seed=seed,
            elapsed=effort.elapsed,
            seconds=effort.most,
        )
        own = (self.own(self.families[name]) for name in names)
        made_of = [ref for ref in dict.fromkeys((self.champion, *own)) if ref is not None]
        if found.objection is not None:
            reason = f"generalist of {len(names)} families: {found.objection}"
            return self.refuse(reason, found.figures, made_of)
        stands_for = ", ".join(found.families) or "none of the models of families"
        reason = (
            f"{found.figures['overall']:.4f} of the champion's makespan; as good as {stands_for}"
        )
        return self.challenge(
            found.network,
            made_by=f"merge ({found.made_by})",
            reason=reason,
            parents=made_of,
            figures=found.figures,
            families=found.families,
        )

    def _added(
        self,
        name: str,
        network: Network,
        *,
        made_by: str,
        reason: str,
        parents: Sequence[str],
        figures: Mapping[str, float],
        families: Sequence[str],
    ) -> str:
        """Add a version, or take the one that has the same weights.

        What a run says of a network must not be said of another version: recorded runs tell of
        networks, not of versions.
        """
        there = self.library.find(network_digest(network))
        if there is not None:
            return there
        return self.library.add(
            name,
            network,
            made_by=made_by,
            reason=reason,
            parents=parents,
            figures=figures,
            families=families,
        )

    def _parents(self, names: Sequence[str]) -> list[Parent]:
        """Return families with what serves them."""
        families = [self.families[name] for name in names]
        for family in families:
            self._check_runs(family)
        return [
            Parent(each.name, self.network(self.own(each) or self.champion), self.variants(each))
            for each in families
        ]

    def _check_runs(self, family: Family) -> None:
        if not self.variants(family).judged:
            msg = f"family {family.name!r} has no runs to judge by; let it run once more"
            raise LibraryError(msg)

    def challenge(
        self,
        network: Network,
        *,
        made_by: str,
        reason: str,
        parents: Sequence[str],
        figures: Mapping[str, float],
        families: Sequence[str] = (),
    ) -> Outcome:
        """Put a generalist that has passed its simulated gate on trial, which ends another's."""
        before = self.challenger
        ref = self._added(
            GENERALIST,
            network,
            made_by=made_by,
            reason=reason,
            parents=parents,
            figures=figures,
            families=families,
        )
        self.library.move({CHALLENGER: ref}, f"on trial: {reason}", figures)
        if before is not None:
            self.library.note(REJECTED, what=before, why=f"{ref} takes its place")
        return Outcome(CHALLENGE, reason, ref, None, figures)
