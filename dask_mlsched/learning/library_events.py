"""What the files of a model library say has happened, and what of it is missing from its log.

A process may be killed between a change and the line that tells of it. Therefore the change itself
carries the event: a version's card, the file of aliases, and the folder of what is being removed.
Every writer first adds what is missing, so that it is never more than the last event.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Final

from dask_mlsched.learning.library_files import GONE, LibraryFiles, read_event
from dask_mlsched.learning.library_log import BACK, CREATED, MOVED, Event
from dask_mlsched.learning.model_card import Card, seconds_of
from dask_mlsched.learning.model_ref import LibraryError, ModelRef, make_ref, number_of, parse_ref

#: Where what is being removed lies in its folder.
VERSION_FOLDER: Final = "version"


def created(card: Card) -> Event:
    """Return the event by which a version was added, as its card tells it."""
    return Event(
        card.event,
        seconds_of(card.date),
        CREATED,
        card.ref,
        card.reason,
        card.figures,
        card.parents,
        fields={
            "made_by": card.made_by,
            "families": list(card.families),
            "digest": card.digest,
        },
    )


def owed(files: LibraryFiles, log: Mapping[int, Event]) -> list[Event]:
    """Return the events that the files tell of and the log does not, in their order.

    Raises
    ------
    LibraryError
        If the aliases cannot be used.
    """
    found = [*_unlogged_versions(files, log)]
    last = files.aliases().event
    removals = [removal(files, folder) for folder in _listed(files)]
    found += [each for each in (last, *removals) if each and each.sequence not in log]
    return sorted(found, key=lambda event: event.sequence)


def completed(log: Mapping[int, Event], missing: list[Event]) -> list[Event]:
    """Return what is to be added to a log, so that it has all events."""
    added = []
    versions = _versions(log)
    numbers = set(log)
    for event in missing:
        if (event.kind == CREATED and event.what in versions) or (
            event.kind != CREATED and event.sequence in numbers
        ):
            continue
        # Somebody copied a version from another library: its event gets a number of this one.
        sequence = event.sequence if event.sequence not in numbers else max(numbers) + 1
        numbers.add(sequence)
        added.append(replace(event, sequence=sequence, recovered=True))
    return added


def removal(files: LibraryFiles, folder: str) -> Event | None:
    """Return the event of a removal under way; None if it had not begun."""
    if not os.path.lexists(files.path / folder / VERSION_FOLDER):
        return None
    return read_event(files.path, folder)


def last_number(log: Mapping[int, Event], name: str) -> int:
    """Return the largest number that a version of a model has had; 0 if it had none."""
    found = [
        number_of(version) or 0
        for ref in _versions(log)
        for here, _, version in [ref.partition("/")]
        if here == name
    ]
    return max(found, default=0)


def earlier(log: Mapping[int, Event], alias: str) -> list[ModelRef]:
    """List where an alias was before, and can go back to, the latest last.

    A way back takes what it went past off the list, so that one can go back again and again.
    """
    places: list[ModelRef] = []
    for event in log.values():
        before, after = _move(event, alias)
        if event.kind == MOVED and before is not None:
            places.append(before)
        if event.kind == BACK and after is not None:
            places = rest(places, after)
    return places


def rest(places: list[ModelRef], target: ModelRef) -> list[ModelRef]:
    """Return the places that are left after going back to one of them, or to another one."""
    if target not in places:
        return places
    last = len(places) - 1 - places[::-1].index(target)
    return places[:last]


def _move(event: Event, alias: str) -> tuple[ModelRef | None, ModelRef | None]:
    moves = event.fields.get("moves")
    pair = moves.get(alias) if isinstance(moves, dict) else None
    if not isinstance(pair, list) or len(pair) != 2:
        return None, None
    before, after = (_ref(each) for each in pair)
    return before, after


def _ref(value: object) -> ModelRef | None:
    try:
        return parse_ref(value) if isinstance(value, str) else None
    except LibraryError:
        return None


def _unlogged_versions(files: LibraryFiles, log: Mapping[int, Event]) -> Iterator[Event]:
    logged = _versions(log)
    for name, numbers, _ in files.entries():
        for number in numbers:
            ref = make_ref(name, number)
            if ref in logged:
                continue
            try:
                yield created(files.card(ref))
            except LibraryError:
                continue  # damaged: what it was is not known


def _versions(log: Mapping[int, Event]) -> set[str]:
    return {event.what for event in log.values() if event.kind == CREATED}


def _listed(files: LibraryFiles) -> list[str]:
    return sorted(each.name for each in files.path.iterdir() if each.name.startswith(GONE))
