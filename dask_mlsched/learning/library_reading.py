"""Reading a model library: what is there, what it means, and what happened."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from dask_mlsched.core.network import Network
from dask_mlsched.learning import library_events
from dask_mlsched.learning.library_files import LibraryFiles
from dask_mlsched.learning.library_log import Event, EventLog
from dask_mlsched.learning.model_card import Card
from dask_mlsched.learning.model_ref import (
    BASELINE,
    EVENTS_FILE,
    LibraryError,
    ModelRef,
    check_name,
    make_ref,
    parse_ref,
)

#: What `baseline` is.
BASELINE_TEXT: Final = "Dask's own order: no network decides; always there, and never changed"


@dataclass(frozen=True)
class Listed:
    """A version as a list shows it."""

    #: Its name; that of the model alone, if its versions cannot be listed.
    ref: str
    card: Card | None
    #: What is wrong with it.
    problem: str | None = None


class LibraryReader:
    """A library of models, to be read; see `dask_mlsched.learning.library.Library`.

    Parameters
    ----------
    path
        Its folder.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._files = LibraryFiles(path)
        self._log = EventLog(path / EVENTS_FILE)

    def names(self) -> list[str]:
        """List the names of models that have versions, and `baseline`."""
        return [BASELINE, *(name for name, numbers, _ in self._files.entries() if numbers)]

    def versions(self, name: str) -> list[ModelRef]:
        """List the versions of a model, damaged or not, oldest first.

        Raises
        ------
        LibraryError
            If no model can be called so, or its folder cannot be read.
        """
        if name == BASELINE:
            return [BASELINE]
        check_name(name)
        return [make_ref(name, number) for number in self._files.numbers(name)]

    def card(self, ref: str) -> Card:
        """Read the card of a version.

        Raises
        ------
        LibraryError
            If there is none, as for `baseline`, or it cannot be used.
        """
        found = parse_ref(ref)
        if found == BASELINE:
            raise LibraryError(f"{BASELINE!r} has no card: it is {BASELINE_TEXT}")
        return self._files.card(found)

    def network(self, ref: str) -> Network | None:
        """Read the network of a version; None for `baseline`.

        Raises
        ------
        LibraryError
            If it is not there, is damaged, or was fitted for other features.
        """
        found = parse_ref(ref)
        return None if found == BASELINE else self._files.network(found)

    def resolve(self, text: str) -> ModelRef:
        """Find the version that an alias, the name of a model (its newest) or a version means.

        Raises
        ------
        LibraryError
            If there is none.
        """
        if text == BASELINE:
            return BASELINE
        if "/" in text:
            ref = parse_ref(text)
            if not self._files.has(ref):
                raise self._unknown(text)
            return ref
        targets = self.aliases()
        if text in targets:
            return targets[text]
        try:
            return self.versions(text)[-1]
        except (IndexError, LibraryError):
            raise self._unknown(text) from None

    def aliases(self) -> dict[str, ModelRef]:
        """Return which version each alias means.

        Raises
        ------
        LibraryError
            If they cannot be read.
        """
        return dict(self._files.aliases().targets)

    def find(self, digest: str) -> ModelRef | None:
        """Find the version with a network, by its `network_digest`; the last made of several."""
        cards = [each.card for each in self.survey(load=False) if each.card]
        found = [card for card in cards if card.digest == digest]
        return max(found, key=lambda card: card.event).ref if found else None

    def survey(self, *, load: bool = True) -> list[Listed]:
        """List all versions but `baseline`, with their cards, and what is wrong with them.

        Parameters
        ----------
        load
            Whether to look into their networks too.

        Raises
        ------
        LibraryError
            If the library's folder cannot be read.
        """
        found = []
        for name, numbers, problem in self._files.entries():
            if problem:
                found.append(Listed(name, None, problem))
            refs = [make_ref(name, number) for number in numbers]
            listed = [self._listed(ref, load) for ref in refs]
            # One that was removed meanwhile is not damaged.
            found += [
                each for each in listed if not each.problem or self._files.has(ModelRef(each.ref))
            ]
        return found

    def events(self) -> list[Event]:
        """List what happened, oldest first.

        Raises
        ------
        LibraryError
            If the events or the aliases cannot be read.
        """
        missing = library_events.owed(self._files, self._log.read())
        # Read again: by now, a writer may have added what was missing.
        log = self._log.read()
        log |= {each.sequence: each for each in library_events.completed(log, missing)}
        return [log[number] for number in sorted(log)]

    def _listed(self, ref: ModelRef, load: bool) -> Listed:
        card = None
        try:
            card = self._files.card(ref)
            if load:
                self._files.network(ref)
        except LibraryError as error:
            return Listed(ref, card, str(error))
        return Listed(ref, card)

    def _unknown(self, text: str) -> LibraryError:
        names = ", ".join([*self.names()[:12]])
        return LibraryError(
            f"library {str(self.path)!r} has no {text[:140]!r}; expected an alias, a version, or "
            f"one of the models {names}"
        )
