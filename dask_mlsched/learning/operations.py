"""What is done to models: update and split, merge, promote and roll back, each with its gate.

By command or by itself, it is the same operation: it makes a version, moves aliases, and leaves an
event; or it says in one why not.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from dask_mlsched.core.model_choice import BASELINE
from dask_mlsched.learning.gate import Suite, compare, judged
from dask_mlsched.learning.library_log import BACK, MOVED
from dask_mlsched.learning.model_making import ModelMaking
from dask_mlsched.learning.model_ref import CHALLENGER, CHAMPION, PREVIOUS, LibraryError
from dask_mlsched.learning.models_in_use import family_alias
from dask_mlsched.learning.outcome import PROMOTED, REJECTED, ROLLED_BACK, Outcome

#: How the reason of a move begins that undoes another one.
_UNDOES: Final = "rolled back: "


class Operations(ModelMaking):
    """What can be done to the models of one library."""

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

    def begin_again(self, reason: str) -> Outcome:
        """Let the model that ships serve, where no champion can be loaded any more.

        Raises
        ------
        OSError, LibraryError
            If the library cannot be read or written.
        """
        before = self.champion
        ref = self.ship_again()
        self.library.move({CHAMPION: ref}, f"the model that ships serves: {reason}")
        self.library.note(ROLLED_BACK, what=before, why=reason, parents=[ref])
        return Outcome(ROLLED_BACK, reason, before)

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
