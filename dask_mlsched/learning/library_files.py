"""What lies where in a model library, and reading it; nobody vouches for what is there.

No link is followed below the library's folder, and every file has a size that it may not exceed.
"""

from __future__ import annotations

import errno
import json
import os
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from dask_mlsched.core import features
from dask_mlsched.core.network import Network
from dask_mlsched.learning import model_card, model_file, strict_json
from dask_mlsched.learning.checked_file import read_below
from dask_mlsched.learning.library_log import Event
from dask_mlsched.learning.model_card import Card, network_digest
from dask_mlsched.learning.model_ref import (
    ALIASES_FILE,
    LibraryError,
    ModelRef,
    check_alias,
    check_name,
    number_of,
    parse_ref,
    parts_of,
)
from dask_mlsched.learning.one_line import one_line

MODEL_FILE: Final = "model.safetensors"
CARD_FILE: Final = "card.json"
README_FILE: Final = "README.md"
#: In a folder of what is being removed: the event that says so.
REMOVAL_FILE: Final = "event.json"
LOCK_FILE: Final = ".lock"

#: How the folders begin in which versions are made and taken apart.
NEW: Final = ".new-"
GONE: Final = ".gone-"

ALIASES_FORMAT: Final = "mlsched-aliases"
ALIASES_VERSION: Final = 1
#: Bytes of the largest file of aliases, and of a single event, that is read.
ALIASES_LIMIT: Final = 1_000_000


@dataclass(frozen=True)
class Aliases:
    """The aliases, and the event by which they came to be so."""

    targets: Mapping[str, ModelRef] = field(default_factory=dict)
    event: Event | None = None


class LibraryFiles:
    """The files of a library, to be read.

    Parameters
    ----------
    path
        Its folder.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def entries(self) -> Iterator[tuple[str, list[int], str]]:
        """Yield the names of models, the numbers of their versions, sorted, and what is wrong.

        Versions may be damaged. Only of a name that cannot be looked into is something wrong.

        Raises
        ------
        LibraryError
            If the folder cannot be read.
        """
        for name in self._folders(self.path):
            try:
                check_name(name)
            except LibraryError:
                continue  # not one of ours
            try:
                numbers = self.numbers(name)
            except LibraryError as error:
                yield name, [], str(error)
            else:
                if numbers:
                    yield name, numbers, ""

    def numbers(self, name: str) -> list[int]:
        """List the numbers of a model's versions, damaged or not.

        Raises
        ------
        LibraryError
            If it has a folder that cannot be read.
        """
        folder = self.path / name
        if not os.path.lexists(folder):
            return []
        return sorted(number for each in self._folders(folder) if (number := number_of(each)))

    def has(self, ref: ModelRef) -> bool:
        """Tell whether there is something in the place of a version.

        Raises
        ------
        LibraryError
            If the folder of its model is a link, which would lead out of the library.
        """
        name, number = parts_of(ref)
        return number in self.numbers(name)

    def aliases(self) -> Aliases:
        """Read the aliases; none if there is no file.

        Raises
        ------
        LibraryError
            If it cannot be used.
        """
        try:
            data = read_below(self.path, (ALIASES_FILE,), ALIASES_LIMIT)
        except FileNotFoundError:
            return Aliases()
        except OSError as error:
            raise self._aliases_error(_why(error)) from None
        try:
            return parse_aliases(data)
        except ValueError as error:
            raise self._aliases_error(str(error)) from None

    def card(self, ref: ModelRef) -> Card:
        """Read the card of a version.

        Raises
        ------
        LibraryError
            If there is none, or it cannot be used.
        """
        try:
            card = model_card.from_json(self._read(ref, CARD_FILE, model_card.CARD_LIMIT))
        except LibraryError as error:
            raise self.error(ref, str(error)) from None
        if card.ref != ref:
            raise self.error(ref, f"its card is that of {card.ref!r}")
        return card

    def network(self, ref: ModelRef) -> Network:
        """Read the network of a version.

        Raises
        ------
        LibraryError
            If it cannot be used, or is not the one of which its card tells.
        """
        card = self.card(ref)
        try:
            data = self._read(ref, MODEL_FILE, model_file.SIZE_LIMIT)
        except LibraryError as error:
            raise self.error(ref, str(error)) from None
        try:
            model = model_file.parse(self.path / ref / MODEL_FILE, data, features.NAMES)
        except model_file.ModelFileError as error:
            raise LibraryError(str(error)) from error
        if network_digest(model.network) != card.digest:
            raise self.error(ref, "its network is not the one that its card tells of")
        return model.network

    def error(self, ref: ModelRef, found: str) -> LibraryError:
        """Say what is wrong with a version."""
        return LibraryError(
            f"version {ref!r} of the library {str(self.path)!r}: {one_line(found)}; "
            "use another one, or remove it"
        )

    def _read(self, ref: ModelRef, file: str, limit: int) -> bytes:
        try:
            return read_below(self.path, (*ref.split("/"), file), limit)
        except OSError as error:
            if not self.has(ref):
                raise LibraryError("it is not there") from None
            raise LibraryError(f"{file} cannot be read ({_why(error)})") from None

    def _folders(self, folder: Path) -> list[str]:
        """Name what is in a folder; a link to a folder counts as nothing at all."""
        try:
            if not stat.S_ISDIR(folder.stat(follow_symlinks=folder == self.path).st_mode):
                raise NotADirectoryError(errno.ENOTDIR, "a link or a file, no folder")
            return sorted(each.name for each in folder.iterdir())
        except OSError as error:
            raise LibraryError(f"{str(folder)!r} cannot be read ({error.strerror})") from None

    def _aliases_error(self, found: str) -> LibraryError:
        return LibraryError(
            f"aliases {str(self.path / ALIASES_FILE)!r}: {one_line(found)}; take the file away "
            "and move the aliases again: the events say where they were"
        )


def aliases_json(aliases: Aliases) -> bytes:
    """Write aliases."""
    content = {
        "format": ALIASES_FORMAT,
        "version": ALIASES_VERSION,
        "aliases": dict(sorted(aliases.targets.items())),
        "event": aliases.event.as_json() if aliases.event else None,
    }
    return json.dumps(content, indent=2, allow_nan=False).encode()


def read_event(folder: Path, name: str) -> Event | None:
    """Read an event from a file of its own; None if there is none, or not all of it."""
    try:
        return Event.from_json(
            strict_json.loads(read_below(folder, (name, REMOVAL_FILE), ALIASES_LIMIT))
        )
    except (OSError, ValueError):
        return None


def parse_aliases(data: bytes) -> Aliases:
    """Read aliases.

    Raises
    ------
    ValueError
        If they are none.
    """
    found: Any = strict_json.loads(data)
    if not isinstance(found, dict) or found.get("format") != ALIASES_FORMAT:
        raise ValueError(f"no aliases; expected format {ALIASES_FORMAT!r}")
    if found.get("version") != ALIASES_VERSION:
        raise ValueError(f"version {found.get('version')!r}; expected {ALIASES_VERSION}")
    targets = found.get("aliases")
    if not isinstance(targets, dict) or not all(isinstance(ref, str) for ref in targets.values()):
        raise ValueError("no names under 'aliases'; expected names of versions under names")
    for alias in targets:
        check_alias(alias)
    event = found.get("event")
    return Aliases(
        {alias: parse_ref(ref) for alias, ref in targets.items()},
        None if event is None else Event.from_json(event),
    )


def _why(error: OSError) -> str:
    if error.errno in (errno.ELOOP, errno.ENOTDIR):
        return "a link, or no folder, is on the way to it"
    return error.strerror or str(error)
