"""The library of models on disk: versions that never change, aliases that move, and what happened.

::

    LIB/<name>/v0007/{model.safetensors, card.json, README.md}
    LIB/aliases.json    which version is champion, challenger, previous, …
    LIB/events.jsonl    what was done, why, and with which figures

Any number of processes may use a library at once. Writers take turns, each for one change. Readers
never wait: everything appears under its name as a whole. A process may be killed, or the machine
stop, at any moment: a change is there or not, and once it is, so is its event.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from dask_mlsched.core.network import InvalidNetworkError, Network, check
from dask_mlsched.learning.library_files import LOCK_FILE
from dask_mlsched.learning.library_reading import LibraryReader
from dask_mlsched.learning.library_writer import LibraryWriter
from dask_mlsched.learning.model_card import network_digest
from dask_mlsched.learning.model_ref import (
    ALIASES_FILE,
    CHAMPION,
    EVENTS_FILE,
    PREVIOUS,
    LibraryError,
    ModelRef,
    check_name,
    parse_ref,
)
from dask_mlsched.learning.version_folder import Draft


class Library(LibraryReader):
    """A library of models; `open` it for writing, or `reading`.

    Parameters
    ----------
    path
        Its folder, which is there.
    writer
        What changes it; None to read only.
    """

    def __init__(self, path: Path, writer: LibraryWriter | None) -> None:
        super().__init__(path)
        self._writer = writer

    @classmethod
    def open(cls, path: Path, *, now: Callable[[], float] = time.time) -> Library:
        """Open a library for writing; it is made if it is not there.

        What a process that was killed has left undone is put in order.

        Parameters
        ----------
        path
            Its folder.
        now
            Tells seconds since the epoch.

        Raises
        ------
        LibraryError
            If its aliases or its events cannot be used.
        OSError
            If it cannot be made or written to.
        """
        path.mkdir(parents=True, exist_ok=True)
        writer = LibraryWriter(path, now)
        with writer.writing():
            return cls(path, writer)

    @classmethod
    def reading(cls, path: Path) -> Library:
        """Open a library that is there, to read only; nothing is made or put in order.

        Raises
        ------
        LibraryError
            If there is none.
        """
        if not any((path / name).exists() for name in (LOCK_FILE, ALIASES_FILE, EVENTS_FILE)):
            raise LibraryError(
                f"{str(path)!r} holds no library of models; expected a folder with {EVENTS_FILE}; "
                "name the folder of one"
            )
        return cls(path, None)

    def add(
        self,
        name: str,
        network: Network,
        *,
        made_by: str,
        reason: str,
        parents: Sequence[str] = (),
        figures: Mapping[str, float] | None = None,
        families: Sequence[str] = (),
        extra: Mapping[str, str] | None = None,
    ) -> ModelRef:
        """Add a version of a model; it is there as a whole or not at all.

        Raises
        ------
        LibraryError
            If it cannot be one, or the name is an alias's.
        OSError
            If it cannot be written.
        """
        check_name(name)
        try:
            check(network)
        except InvalidNetworkError as error:
            raise LibraryError(f"new version of {name!r}: {error}") from None
        draft = Draft(
            name,
            made_by,
            tuple(map(parse_ref, parents)),
            reason,
            figures or {},
            tuple(families),
            extra or {},
        )
        return self._writing().add(draft, network, network_digest(network))

    def move(
        self,
        aliases: Mapping[str, str | None],
        reason: str,
        figures: Mapping[str, float] | None = None,
    ) -> None:
        """Move aliases, all at once; None takes one away. Nothing happens if all are there.

        Raises
        ------
        LibraryError
            If one is to mean a version that is not there or cannot be loaded; none is moved.
        OSError
            If they cannot be written.
        """
        targets = {
            alias: None if target is None else parse_ref(target)
            for alias, target in aliases.items()
        }
        self._writing().move(targets, reason, figures or {})

    def back(self, alias: str, reason: str) -> ModelRef:
        """Move an alias back to where it was before; doing it twice goes back two steps.

        For `champion` that is what `previous` means, which then means what was before that.
        Versions that are gone or damaged are passed over.

        Returns
        -------
        ModelRef
            What it means now.

        Raises
        ------
        LibraryError
            If it was nowhere before.
        OSError
            If it cannot be written.
        """
        return self._writing().back(alias, reason, PREVIOUS if alias == CHAMPION else None)

    def remove(self, ref: str, reason: str) -> None:
        """Remove a version; its number is not used again.

        Raises
        ------
        LibraryError
            If it is `baseline`, not there, or an alias means it.
        OSError
            If it cannot be removed; then it is there as before.
        """
        self._writing().remove(parse_ref(ref), reason)

    def note(
        self,
        kind: str,
        *,
        what: str = "",
        why: str = "",
        figures: Mapping[str, float] | None = None,
        parents: Sequence[str] = (),
        **fields: Any,
    ) -> int:
        """Add an event of any other kind.

        Returns
        -------
        int
            Its number.

        Raises
        ------
        LibraryError
            If JSON cannot hold it, or its kind is one of the library's own.
        OSError
            If it cannot be written.
        """
        return self._writing().note(
            kind, what=what, why=why, figures=figures or {}, parents=tuple(parents), fields=fields
        )

    def _writing(self) -> LibraryWriter:
        if self._writer is None:
            raise LibraryError(f"library {str(self.path)!r} was opened to read; open it to write")
        return self._writer
