"""Changing a model library: one change at a time, each whole or not at all."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from dask_mlsched.core.network import Network
from dask_mlsched.learning import library_events, model_card, strict_json, version_folder
from dask_mlsched.learning.file_lock import locked
from dask_mlsched.learning.library_files import (
    ALIASES_LIMIT,
    GONE,
    LOCK_FILE,
    NEW,
    Aliases,
    LibraryFiles,
    aliases_json,
    parse_aliases,
)
from dask_mlsched.learning.library_log import (
    BACK,
    CREATED,
    MOVED,
    REMOVED,
    Event,
    EventLog,
    check_fields,
)
from dask_mlsched.learning.model_ref import (
    ALIASES_FILE,
    BASELINE,
    EVENTS_FILE,
    LibraryError,
    ModelRef,
    check_alias,
)
from dask_mlsched.learning.one_line import is_one_line
from dask_mlsched.learning.version_folder import Draft, claim, discard, set_aside
from dask_mlsched.learning.whole_file import write_whole

#: Characters of a reason.
REASON_LIMIT: Final = 4_000

#: Seconds for which others may hold the lock: what is done under it takes milliseconds.
PATIENCE: Final = 30.0

_TRIES: Final = 100


class LibraryWriter:
    """The changes of `dask_mlsched.learning.library.Library`, which says what they do.

    Parameters
    ----------
    path
        The folder of the library.
    now
        Tells seconds since the epoch.
    """

    def __init__(self, path: Path, now: Callable[[], float]) -> None:
        self._path = path
        self._now = now
        self._files = LibraryFiles(path)
        self._log = EventLog(path / EVENTS_FILE)

    @contextmanager
    def writing(self) -> Iterator[dict[int, Event]]:
        """Hold the library's lock, with everything in order; yield all events by number.

        Raises
        ------
        LibraryError
            If the aliases or the events cannot be used.
        TimeoutError
            If another process holds the lock and does not give it back.
        OSError
            If it cannot be locked or put in order.
        """
        with locked(self._path / LOCK_FILE, PATIENCE):
            log = self._log.read()
            for event in library_events.completed(log, library_events.owed(self._files, log)):
                self._log.append(event)
            # Who holds the lock knows that nobody else is making these.
            for path in self._path.iterdir():
                if path.name.startswith((NEW, GONE, f".{ALIASES_FILE}-")):
                    discard(path)
            yield self._log.read()

    def add(self, draft: Draft, network: Network, digest: str) -> ModelRef:
        """Add a version."""
        with self.writing() as log:
            if draft.name in self._files.aliases().targets:
                raise LibraryError(f"{draft.name!r} is an alias; call the model otherwise")
            numbers = self._files.numbers(draft.name)
            first = 1 + max([*numbers, library_events.last_number(log, draft.name)])
            date = model_card.date_of(self._now())
            # A place that is taken by what cannot be seen, such as a file, is passed over.
            for number in range(first, first + _TRIES):
                card = draft.card(number, date, digest, _next(log))
                if claim(self._path, card, network):
                    self._tell(library_events.created(card))
                    return card.ref
        raise LibraryError(f"no version of {draft.name!r} can be put into {str(self._path)!r}")

    def move(
        self,
        targets: Mapping[str, ModelRef | None],
        reason: str,
        figures: Mapping[str, float],
    ) -> None:
        """Move aliases."""
        with self.writing() as log:
            self._move(log, targets, MOVED, reason, figures)

    def back(self, alias: str, reason: str, previous: str | None) -> ModelRef:
        """Move an alias back, and one that means where it was before."""
        with self.writing() as log:
            there = self._files.aliases().targets
            places = library_events.earlier(log, alias)
            last = [there[previous]] if previous and previous in there else []
            choices = [*last, *reversed(places)]
            target = self._first(choices, there.get(alias))
            if target is None:
                raise LibraryError(
                    f"alias {alias!r} has meant nothing else that is still there; move it"
                )
            moves: dict[str, ModelRef | None] = {alias: target}
            if previous is not None:
                left = library_events.rest(places, target)
                moves[previous] = self._first(left[::-1], target)
            self._move(log, moves, BACK, reason, {})
            return target

    def remove(self, ref: ModelRef, reason: str) -> None:
        """Remove a version."""
        _check_reason(reason)
        if ref == BASELINE:
            raise LibraryError(f"{BASELINE!r} is always there; name a version of a model")
        with self.writing() as log:
            if not self._files.has(ref):
                raise LibraryError(f"version {ref!r} is not in the library {str(self._path)!r}")
            targets = self._files.aliases().targets
            if meant := sorted(alias for alias, target in targets.items() if target == ref):
                raise LibraryError(f"{', '.join(meant)} means {ref!r}; move that elsewhere first")
            event = Event(_next(log), self._time(), REMOVED, ref, reason)
            gone = set_aside(self._path, ref, event)
            if self._tell(event):
                discard(gone)

    def note(self, kind: str, *, fields: Mapping[str, Any], **parts: Any) -> int:
        """Add an event."""
        if kind in (CREATED, MOVED, BACK, REMOVED) or not kind or not is_one_line(kind):
            raise LibraryError(f"kind {kind[:80]!r} of an event; choose one of your own")
        check_fields(fields)
        _check_reason(parts["why"])
        with self.writing() as log:
            event = Event(_next(log), self._time(), kind, fields=fields, **parts)
            try:
                line = json.dumps(event.as_json(), allow_nan=False)
                Event.from_json(strict_json.loads(line))
            except (TypeError, ValueError, RecursionError) as error:
                raise LibraryError(f"event {kind!r}: {error}; give it what JSON holds") from None
            if len(line) > ALIASES_LIMIT:
                raise LibraryError(f"event {kind!r}: {len(line)} bytes; {ALIASES_LIMIT} at most")
            self._log.append(event)
            return event.sequence

    def _move(
        self,
        log: Mapping[int, Event],
        targets: Mapping[str, ModelRef | None],
        kind: str,
        reason: str,
        figures: Mapping[str, float],
    ) -> None:
        _check_reason(reason)
        there = dict(self._files.aliases().targets)
        moves = {}
        for alias, target in targets.items():
            self._check_move(alias, target)
            if there.get(alias) != target:
                moves[alias] = [there.pop(alias, None), target]
            if target is not None:
                there[alias] = target
        if not moves:
            return
        what = ", ".join(moves)
        event = Event(
            _next(log),
            self._time(),
            kind,
            what,
            reason,
            version_folder.figures(figures),
            fields={"moves": moves},
        )
        aliases = Aliases(there, event)
        data = aliases_json(aliases)
        if len(data) > ALIASES_LIMIT:
            raise LibraryError(f"aliases of {len(data)} bytes; expected {ALIASES_LIMIT} at most")
        assert parse_aliases(data) == aliases, "what is written is what is read"
        write_whole(self._path / ALIASES_FILE, data)
        self._tell(event)

    def _check_move(self, alias: str, target: ModelRef | None) -> None:
        check_alias(alias)
        if target is not None and target != BASELINE:
            self._files.network(target)
        if self._files.numbers(alias):
            raise LibraryError(f"{alias!r} is the name of a model; call the alias otherwise")

    def _first(self, choices: list[ModelRef], other_than: ModelRef | None) -> ModelRef | None:
        for ref in choices:
            with contextlib.suppress(LibraryError):
                if ref != other_than and (ref == BASELINE or self._files.network(ref)):
                    return ref
        return None

    def _tell(self, event: Event) -> bool:
        """Add the event of a change that has been made; False if it could not be."""
        try:
            self._log.append(event)
        except OSError:
            # The change is there and tells of it; who writes next will add it.
            return False
        return True

    def _time(self) -> float:
        return round(self._now(), 3)


def _next(log: Mapping[int, Event]) -> int:
    return 1 + max(log, default=0)


def _check_reason(reason: str) -> None:
    if not is_one_line(reason) or len(reason) > REASON_LIMIT:
        raise LibraryError(
            f"reason {reason[:80]!r}; expected one line of at most {REASON_LIMIT} characters"
        )
