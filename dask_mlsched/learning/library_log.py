"""What happened in a model library: numbered events, one JSON object a line, only ever appended."""

from __future__ import annotations

import errno
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from dask_mlsched.learning import strict_json
from dask_mlsched.learning.checked_file import TooLargeError, read_below
from dask_mlsched.learning.journal import Journal
from dask_mlsched.learning.model_card import figures_of
from dask_mlsched.learning.model_ref import LibraryError
from dask_mlsched.learning.whole_file import sync_folder

CREATED: Final = "created"
MOVED: Final = "moved"
BACK: Final = "back"
REMOVED: Final = "removed"

#: Bytes of the largest log that is read: a hundred thousand events.
LOG_LIMIT: Final = 64_000_000

_LARGEST: Final = 2**53
_OWN: Final = ("sequence", "time", "event", "what", "why", "figures", "parents", "recovered")


@dataclass(frozen=True)
class Event:
    """One thing that happened."""

    #: From 1 on, without gaps.
    sequence: int
    #: Seconds since the epoch.
    time: float
    kind: str
    #: The version or the aliases that it is about.
    what: str = ""
    why: str = ""
    figures: Mapping[str, float] = field(default_factory=dict)
    parents: tuple[str, ...] = ()
    #: Whether the process that did it was killed before it could be noted.
    recovered: bool = False
    #: What else is to be said of it, as JSON can hold it.
    fields: Mapping[str, Any] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """Return it as it is written."""
        own = {
            "sequence": self.sequence,
            "time": self.time,
            "event": self.kind,
            "what": self.what,
            "why": self.why,
            "figures": dict(self.figures),
            "parents": list(self.parents),
        }
        return own | ({"recovered": True} if self.recovered else {}) | dict(self.fields)

    @classmethod
    def from_json(cls, found: Any) -> Event:
        """Check what was read.

        Raises
        ------
        ValueError
            If it is no event.
        """
        if not isinstance(found, dict):
            raise ValueError("no object")
        sequence, time = found.get("sequence"), strict_json.number(found.get("time"))
        if type(sequence) is not int or not 1 <= sequence <= _LARGEST or time is None:
            raise ValueError("no number, or no time")
        texts = [found.get("event"), found.get("what", ""), found.get("why", "")]
        parents = found.get("parents", [])
        if not isinstance(parents, list) or not all(
            isinstance(each, str) for each in (*texts, *parents)
        ):
            raise ValueError("no texts")
        return cls(
            sequence,
            time,
            texts[0],
            texts[1],
            texts[2],
            figures=figures_of(found.get("figures", {})),
            parents=tuple(parents),
            recovered=found.get("recovered") is True,
            fields={name: value for name, value in found.items() if name not in _OWN},
        )


def check_fields(fields: Mapping[str, Any]) -> None:
    """Raise unless an event can carry these.

    Raises
    ------
    LibraryError
        If a name has a meaning of its own.
    """
    if taken := sorted(set(fields) & set(_OWN)):
        raise LibraryError(f"fields {', '.join(taken)} of an event are set by the library; rename")


class EventLog:
    """The file of events; who appends holds the library's lock.

    Parameters
    ----------
    path
        Made with the first event.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._journal = Journal(path, durable=True)
        self._reading = threading.Lock()
        self._file: tuple[int, int] = (0, 0)
        self._offset = 0
        self._events: dict[int, Event] = {}

    def append(self, event: Event) -> None:
        """Add an event; it is on disk when this returns.

        Raises
        ------
        OSError
            If it cannot be written.
        """
        content = event.as_json()
        kind, time = content.pop("event"), content.pop("time")
        first = not self._path.exists()
        self._journal.write(kind, time, **content)
        if first:
            sync_folder(self._path.parent)

    def read(self) -> dict[int, Event]:
        """Return the events by their numbers; lines that are none are passed over.

        Raises
        ------
        LibraryError
            If the file is there and cannot be read.
        """
        try:
            status = self._path.stat(follow_symlinks=False)
            data = read_below(self._path.parent, (self._path.name,), LOG_LIMIT)
        except FileNotFoundError:
            return {}
        except TooLargeError as error:
            cure = "put its first half into another file"
            raise self._error(
                f"{error.nbytes} bytes; expected {LOG_LIMIT} at most; {cure}"
            ) from None
        except OSError as error:
            found = "a link" if error.errno == errno.ELOOP else error.strerror
            raise self._error(f"cannot be read ({found}); expected a file of events") from None
        with self._reading:
            self._parse(data, (status.st_dev, status.st_ino))
            return dict(sorted(self._events.items()))

    def _parse(self, data: bytes, file: tuple[int, int]) -> None:
        # What has been read stays as it is: only what came since is looked at.
        if file != self._file or len(data) < self._offset:
            self._file, self._offset, self._events = file, 0, {}
        *whole, last = data[self._offset :].split(b"\n")
        self._offset = len(data) - len(last)
        # The last one may be cut, or lack no more than its end.
        for line in (*whole, last):
            try:
                event = Event.from_json(strict_json.loads(line))
            except ValueError:
                continue
            self._events.setdefault(event.sequence, event)

    def _error(self, found: str) -> LibraryError:
        return LibraryError(f"events {str(self._path)!r}: {found}")
