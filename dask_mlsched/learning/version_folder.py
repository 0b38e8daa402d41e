"""The folder of a version: written beside its place, and put there as a whole; or taken away."""

from __future__ import annotations

import contextlib
import errno
import itertools
import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from dask_mlsched.core import features
from dask_mlsched.core.network import Network
from dask_mlsched.learning import model_card, model_file
from dask_mlsched.learning.library_events import VERSION_FOLDER
from dask_mlsched.learning.library_files import (
    CARD_FILE,
    GONE,
    MODEL_FILE,
    NEW,
    README_FILE,
    REMOVAL_FILE,
)
from dask_mlsched.learning.library_log import Event
from dask_mlsched.learning.model_card import Card
from dask_mlsched.learning.model_readme import readme
from dask_mlsched.learning.model_ref import LibraryError, ModelRef
from dask_mlsched.learning.whole_file import sync_folder, write_whole

#: Tells apart what one process makes.
_NUMBERS: Final = itertools.count(1)

#: What a folder's rename says if there is something in its place.
_THERE: Final = (errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR)


@dataclass(frozen=True)
class Draft:
    """What the card of a new version is to say; see `Card`."""

    name: str
    made_by: str
    parents: tuple[ModelRef, ...]
    reason: str
    figures: Mapping[str, float]
    families: tuple[str, ...]
    extra: Mapping[str, str]

    def card(self, number: int, date: str, digest: str, event: int) -> Card:
        """Fill in the rest."""
        return Card(
            self.name,
            number,
            self.made_by,
            self.parents,
            self.reason,
            figures(self.figures),
            self.families,
            date,
            digest,
            event,
            dict(self.extra),
        )


def figures(given: Mapping[str, float]) -> dict[str, float]:
    """Check figures that are to be written.

    Raises
    ------
    LibraryError
        If one is not finite.
    """
    try:
        return model_card.figures_of(given)
    except ValueError as error:
        raise LibraryError(str(error)) from None


def claim(library: Path, card: Card, network: Network) -> bool:
    """Write a version beside its place and put it there; False if the place is taken.

    Raises
    ------
    LibraryError
        If the card or the network is none.
    OSError
        If it cannot be written.
    """
    model = model_file.Model(network, features.NAMES, {"version": card.ref, "date": card.date})
    content = model_card.to_json(card)
    place = library / card.ref
    new = _folder(library, NEW)
    try:
        model_file.save(new / MODEL_FILE, model)
        write_whole(new / CARD_FILE, content)
        write_whole(new / README_FILE, readme(card).encode())
        place.parent.mkdir(exist_ok=True)
        new.rename(place)
    except model_file.ModelFileError as error:
        raise LibraryError(str(error)) from error
    except OSError as error:
        if error.errno in _THERE:
            return False
        raise
    finally:
        discard(new)
    sync_folder(place.parent)
    sync_folder(library)
    return True


def set_aside(library: Path, ref: ModelRef, event: Event) -> Path:
    """Take a version out of its place; return the folder where it is now, with the event.

    Raises
    ------
    OSError
        If it cannot be moved; it is where it was.
    """
    gone = _folder(library, GONE)
    try:
        write_whole(gone / REMOVAL_FILE, json.dumps(event.as_json()).encode())
        (library / ref).rename(gone / VERSION_FOLDER)
    except BaseException:
        discard(gone)
        raise
    sync_folder((library / ref).parent)
    return gone


def discard(path: Path) -> None:
    """Take away what is in nobody's way if it stays, or is gone."""
    with contextlib.suppress(OSError):
        if path.is_symlink() or not path.is_dir():
            path.unlink()
        else:
            shutil.rmtree(path)


def _folder(library: Path, prefix: str) -> Path:
    folder = library / f"{prefix}{os.getpid()}-{next(_NUMBERS)}"
    folder.mkdir()
    return folder
