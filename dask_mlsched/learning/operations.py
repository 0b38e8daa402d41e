"""What is done to models: update and split, merge, promote and roll back, each with its gate.

By command or by itself, it is the same operation: it makes a version with a card that names
parents, figures and reason, moves aliases, and leaves an event; or it says in one why not.

The aliases are `champion`, the generalist that serves; `challenger`, one that is on trial;
`previous`, the champion before; and for each family that has a model of its own ``family:<name>``.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import Final

from dask_mlsched.core.model_choice import BASELINE
from dask_mlsched.core.network import Network
from dask_mlsched.core.thresholds import Thresholds
from dask_mlsched.learning import family_update, merging
from dask_mlsched.learning.decisions import Decisions
from dask_mlsched.learning.default_model import default_model, default_network
from dask_mlsched.learning.families import Families
from dask_mlsched.learning.family import Family
from dask_mlsched.learning.gate import Suite, compare, judged
from dask_mlsched.learning.library import Library
from dask_mlsched.learning.library_log import BACK, MOVED
from dask_mlsched.learning.merging import Parent
from dask_mlsched.learning.model_ref import CHALLENGER, CHAMPION, PREVIOUS, LibraryError
from dask_mlsched.learning.shipped import Shipped
from dask_mlsched.learning.specialise import linear
from dask_mlsched.learning.variants import Variants, variants

#: The name of all generalists.
GENERALIST: Final = "generalist"

#: Letters of the longest name of a model.
_LONGEST_NAME: Final = 64

#: Of so many models at least one is made.
LEAST_MERGED: Final = 2

#: Events that tell of what came to nothing, of trials, promotions, and of going back.
REFUSED: Final = "refused"
CHALLENGE: Final = "challenger"
PROMOTED: Final = "promoted"
REJECTED: Final = "rejected"
ROLLED_BACK: Final = "rolled back"

#: How the reason of a move begins that undoes another one.
_UNDOES: Final = "rolled back: "


@dataclass(frozen=True)
class Outcome:
    """What came of an operation, as the log tells it."""

    event: str
    reason: str
    model: str | None = None
    family: str | None = None
    figures: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Effort:
    """How long an operation may take, on any clock."""

    #: How long it has taken so far; asked before each network is run.
    elapsed: Callable[[], float]
    most: float

    @classmethod
    def counted(cls, networks: int) -> Effort:
        """Allow for so many networks to be run: the same everywhere."""
        runs = iter(range(networks + 1))
        return cls(lambda: next(runs, networks), networks)


def _shared_name(names: Sequence[str]) -> str:
    """Name a model after the families that share it."""
    whole = ".".join(sorted(names))
    if len(whole) <= _LONGEST_NAME:
        return whole
    return f"shared-{hashlib.blake2b(whole.encode(), digest_size=4).hexdigest()}"


def family_alias(family: str) -> str:
    """Return the alias of a family's own model."""
    return f"family:{family}"


class Operations:
    """What can be done to the models of one library.

    Parameters
    ----------
    library
        Open for writing. A champion is made of the model that ships, if there is none.
    families
        Whose runs there are.
    thresholds
        Of the gates.
    ship
        Makes the instances that ship; called once, when they are needed, for it takes seconds.
    """

    def __init__(
        self,
        library: Library,
        families: Families,
        thresholds: Thresholds,
        ship: Callable[[], Shipped],
    ) -> None:
        self.library = library
        self.families = families
        self.thresholds = thresholds
        self._ship = ship
        self._shipped: Shipped | None = None
        #: family -> what was found for it last and refused: the next search may begin there.
        self._found: dict[str, Network] = {}
        #: family -> the programs whose variants these are.
        self._variants: dict[str, tuple[tuple[str, ...], Variants]] = {}
        if CHAMPION not in library.aliases():
            self._begin()

    def _begin(self) -> None:
        model = default_model()
        ref = self.library.add(
            GENERALIST, model.network, made_by="shipped", reason="comes with the package"
        )
        self.library.move({CHAMPION: ref}, "the model that ships is the first champion")

    @property
    def shipped(self) -> Shipped:
        """The instances that ship."""
        if self._shipped is None:
            self._shipped = self._ship()
        return self._shipped

    # What there is

    @property
    def champion(self) -> str:
        """The generalist that serves."""
        return self.library.aliases()[CHAMPION]

    @property
    def challenger(self) -> str | None:
        """The generalist on trial."""
        return self.library.aliases().get(CHALLENGER)

    def own(self, family: Family) -> str | None:
        """Return the model that is a family's own; None if the generalist serves it.

        That is so where the family's own one cannot be loaded, too.
        """
        ref = self.library.aliases().get(family_alias(family.name))
        return ref if ref is not None and self.is_there(ref) else None

    def network(self, ref: str) -> Network:
        """Load a network; for `BASELINE`, one that leaves all in Dask's order."""
        network = self.library.network(ref)
        return linear(default_network()) if network is None else network

    def is_there(self, ref: str) -> bool:
        """Tell whether a version is there, and can be loaded."""
        try:
            self.library.network(ref)
        except LibraryError:
            return False
        return True

    def variants(self, family: Family) -> Variants:
        """Return variants of a family's runs; none without any."""
        instances = self.families.suite(family).instances
        programs = tuple(each.name for each in instances)
        known = self._variants.get(family.name)
        if known is None or known[0] != programs:
            known = self._variants[family.name] = programs, variants(instances)
        return known[1]

    def simulated(self, family: Family, ref: str) -> dict[str, float]:
        """Return the simulated gain of a model in each program that is kept of a family."""
        if ref == BASELINE:
            return {}
        network = self.network(ref)
        return {
            program: -math.log(instance.run(network).makespan)
            for program, instance in self.families.suite(family).programs.items()
        }

    # Update and split

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
        shared = own is None or len(self.library.card(own).families) > 1
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
        ref = self.library.add(
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
        refs = sorted({str(self.own(self.families[name])) for name in names} - {"None"})
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
        reason = f"serves {', '.join(names)} within {self.thresholds.merge_loss:.0%} of their own"
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

        How well, the worse of the two says: the makespan over that of the family's own model.
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
        """Put a generalist that has passed its simulated gate on trial."""
        ref = self.library.add(
            GENERALIST,
            network,
            made_by=made_by,
            reason=reason,
            parents=parents,
            figures=figures,
            families=families,
        )
        self.library.move({CHALLENGER: ref}, f"on trial: {reason}", figures)
        return Outcome(CHALLENGE, reason, ref, None, figures)

    # Promote and roll back

    def gate(self, ref: str) -> tuple[dict[str, float], str | None]:
        """Simulate a generalist beside the champion, on all families' runs and what ships.

        Returns
        -------
        tuple of dict and str or None
            Figures, and why it may not take over; None if it may.
        """
        own = [each for family in self.families for each in self.variants(family).judged]
        suite = Suite(own, self.shipped.judged)
        networks = [self.network(each) for each in (self.champion, ref)]
        before = judged(suite, networks[0])
        found = compare(suite, before, networks[1], self.thresholds.promote_loss)
        return {name: round(each, 5) for name, each in found.figures.items()}, found.objection

    def promote(self, ref: str, reason: str, figures: Mapping[str, float] | None = None) -> Outcome:
        """Let a generalist serve; families whose models it stands for are served by it, too.

        Raises
        ------
        OSError, LibraryError
            If the library cannot be read or written, or there is no such version.
        """
        told = dict(figures or {})
        target = self.library.resolve(ref)
        before = self.champion
        if target == before:
            msg = f"{target!r} is the champion already; name another version"
            raise LibraryError(msg)
        moves: dict[str, str | None] = {CHAMPION: target}
        if self.is_there(before):  # nobody could go back to a damaged one
            moves[PREVIOUS] = before
        aliases = self.library.aliases()
        if CHALLENGER in aliases and aliases[CHALLENGER] == target:
            moves[CHALLENGER] = None
        if target != BASELINE:
            card = self.library.card(target)
            for family in card.families:
                alias = family_alias(family)
                # A model that came after the merge is not what it stands for.
                if aliases.get(alias) in card.parents:
                    moves[alias] = None
        self.library.move(moves, f"promoted: {reason}", told)
        self.library.note(PROMOTED, what=target, why=reason, figures=told, parents=[before])
        return Outcome(PROMOTED, reason, target, None, told)

    def reject(self, reason: str, figures: Mapping[str, float] | None = None) -> Outcome:
        """Take the challenger off its trial."""
        ref = self.challenger
        if ref is None:
            msg = "no generalist is on trial; there is nothing to reject"
            raise LibraryError(msg)
        told = dict(figures or {})
        self.library.move({CHALLENGER: None}, f"rejected: {reason}", told)
        self.library.note(REJECTED, what=ref, why=reason, figures=told)
        return Outcome(REJECTED, reason, ref, None, told)

    def roll_back(self, reason: str, figures: Mapping[str, float] | None = None) -> Outcome:
        """Let the champion before serve again, and with it all that its successor stood for.

        All aliases are as they were before that came, but for those that have moved on since; a
        trial that has ended stays over. Champions that cannot be loaded are passed over.

        Raises
        ------
        OSError, LibraryError
            If the library cannot be read or written, or there was none before.
        """
        told = dict(figures or {})
        champion = self.champion
        moves = self._moves_back()
        if moves is None:
            msg = f"no champion before {champion!r} can be loaded; promote another version"
            raise LibraryError(msg)
        target = str(moves[CHAMPION])
        self.library.move(moves, f"{_UNDOES}{reason}", told)
        self.library.note(ROLLED_BACK, what=champion, why=reason, figures=told, parents=[target])
        return Outcome(ROLLED_BACK, reason, champion, None, told)

    @property
    def goes_back(self) -> bool:
        """Whether there is a champion to roll back to."""
        return self._moves_back() is not None

    def _moves_back(self) -> dict[str, str | None] | None:
        """Return what undoes the moves by which the champion came; None if that cannot be."""
        aliases = self.library.aliases()
        back: dict[str, str | None] = {}
        for moves in reversed(self._came()):
            for alias, (before, after) in moves.items():
                # What has moved on since then stays, and a trial that has ended is over.
                if alias != CHALLENGER and back.get(alias, aliases.get(alias)) == after:
                    back[alias] = before
            target = back.get(CHAMPION)
            if target is not None and self.is_there(target):
                return {
                    alias: None if ref is None or not self.is_there(ref) else ref
                    for alias, ref in back.items()
                }
        return None

    def _came(self) -> list[Mapping[str, Sequence[str | None]]]:
        """List the moves by which champions came and which have not been undone, oldest first."""
        came: list[Mapping[str, Sequence[str | None]]] = []
        for event in self.library.events():
            moves = event.fields.get("moves", {}) if event.kind in (MOVED, BACK) else {}
            if CHAMPION not in moves:
                continue
            if event.kind == MOVED and not event.why.startswith(_UNDOES):
                came.append(moves)
                continue
            target = moves[CHAMPION][1]
            while came and came.pop()[CHAMPION][0] != target:
                pass
        return came

    def refuse(
        self,
        reason: str,
        figures: Mapping[str, float],
        parents: Sequence[str],
        family: str | None = None,
    ) -> Outcome:
        """Leave everything as it is, and say in the log why."""
        what = "" if family is None else family_alias(family)
        self.library.note(REFUSED, what=what, why=reason, figures=figures, parents=parents)
        return Outcome(REFUSED, reason, None, family, figures)
