"""The card of a version: what it is, where it came from, and what was measured of it."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

import numpy as np

from dask_mlsched.core.network import Network
from dask_mlsched.learning import strict_json
from dask_mlsched.learning.model_ref import LibraryError, ModelRef, make_ref, parse_ref
from dask_mlsched.learning.one_line import is_one_line

FORMAT: Final = "mlsched-card"
VERSION: Final = 1

#: Bytes of the largest card that is read: a hundred times a usual one.
CARD_LIMIT: Final = 256_000

_DIGEST: Final = re.compile(r"[0-9a-f]{64}")
#: Numbers of events, which JSON holds exactly everywhere.
_LARGEST: Final = 2**53


@dataclass(frozen=True)
class Card:
    """What is known of a version; nothing of it changes."""

    name: str
    number: int
    #: How it came to be: shipped, search, fit, merge, split, update, rollback, or what else.
    made_by: str
    #: What it was made of.
    parents: tuple[ModelRef, ...]
    #: Why, in one line.
    reason: str
    #: What was measured of it, by name.
    figures: Mapping[str, float]
    #: The families of DAGs that it is made for.
    families: tuple[str, ...]
    #: When it was made: ISO 8601, UTC, to the millisecond.
    date: str
    #: Of its network; see `network_digest`.
    digest: str
    #: The number of the event by which it was added.
    event: int
    #: Free texts.
    extra: Mapping[str, str] = field(default_factory=dict)

    @property
    def ref(self) -> ModelRef:
        """Name the version."""
        return make_ref(self.name, self.number)


def network_digest(network: Network) -> str:
    """Return what tells a network from all others: a hash of its shapes and weights, as hex."""
    total = hashlib.sha256()
    for array in network:
        total.update(f"{array.shape};".encode())
        total.update(np.ascontiguousarray(array, "<f4").tobytes())
    return total.hexdigest()


def date_of(seconds: float) -> str:
    """Write seconds since the epoch as a date of a card.

    Examples
    --------
    >>> date_of(0.25)
    '1970-01-01T00:00:00.250Z'
    """
    there = datetime.fromtimestamp(round(seconds, 3), UTC)
    return there.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def seconds_of(date: str) -> float:
    """Return seconds since the epoch.

    Raises
    ------
    ValueError
        If it is no date with a time zone.
    """
    there = datetime.fromisoformat(date)
    if there.tzinfo is None:
        raise ValueError(f"{date!r} has no time zone")
    return round(there.timestamp(), 3)


def to_json(card: Card) -> bytes:
    """Write a card.

    Raises
    ------
    LibraryError
        If it is one that `from_json` would not take.
    """
    content = {"format": FORMAT, "version": VERSION, **asdict(card)}
    try:
        data = json.dumps(content, indent=2, allow_nan=False, ensure_ascii=False).encode()
        again = from_json(data)
    except (TypeError, ValueError) as error:
        raise LibraryError(f"card of {card.ref!r}: {error}") from None
    assert again == card, "what is written is what is read"
    return data


def from_json(data: bytes) -> Card:
    """Read a card.

    Raises
    ------
    LibraryError
        If it is none, too large, or of another version. What it says need not be true.
    """
    if len(data) > CARD_LIMIT:
        raise LibraryError(f"{len(data)} bytes; expected {CARD_LIMIT} at most; shorten its texts")
    try:
        found = strict_json.loads(data)
    except ValueError as error:
        raise LibraryError(f"no JSON ({error}); expected a card of format {FORMAT!r}") from None
    if not isinstance(found, dict) or found.get("format") != FORMAT:
        raise LibraryError(f"no card; expected format {FORMAT!r}")
    if found.get("version") != VERSION:
        raise LibraryError(f"version {found.get('version')!r} of cards; expected {VERSION}")
    readers = _READERS
    missing = [name for name in readers if name not in found]
    if missing:
        raise LibraryError(f"a card without {', '.join(missing)}; expected all of them")
    card = Card(**{name: _field(name, read, found[name]) for name, read in readers.items()})
    _field("number", lambda _: card.ref, card.number)
    return card


def _field(name: str, read: Callable[[Any], Any], value: Any) -> Any:
    try:
        return read(value)
    except (ValueError, OverflowError, OSError) as error:
        raise LibraryError(f"{name} of a card: {error}") from None


def _text(value: Any) -> str:
    if not isinstance(value, str) or not is_one_line(value):
        raise ValueError(f"{value!r:.80}; expected text of one line")
    return value


def _long_text(value: Any) -> str:
    for line in value.split("\n") if isinstance(value, str) else [value]:
        _text(line)
    return str(value)


def _count(value: Any) -> int:
    if type(value) is not int or not 1 <= value <= _LARGEST:
        raise ValueError(f"{value!r:.80}; expected a number from 1 on")
    return value


def _texts(value: Any) -> tuple[str, ...]:
    if not isinstance(value, Sequence) or isinstance(value, str):
        raise ValueError(f"{value!r:.80}; expected a list")
    return tuple(map(_text, value))


def _refs(value: Any) -> tuple[ModelRef, ...]:
    return tuple(map(parse_ref, _texts(value)))


def _date(value: Any) -> str:
    seconds_of(_text(value))
    return str(value)


def _digest(value: Any) -> str:
    if not _DIGEST.fullmatch(_text(value)):
        raise ValueError(f"{value!r:.80}; expected 64 hexadecimal digits")
    return str(value)


def figures_of(value: Any) -> dict[str, float]:
    """Check figures: finite numbers by name.

    Raises
    ------
    ValueError
        If they are none.
    """
    found = {}
    for name, each in _items(value):
        number = strict_json.number(each)
        if number is None:
            raise ValueError(f"figure {name!r:.80} is {each!r:.80}; expected a finite number")
        found[name] = number
    return found


def _extra(value: Any) -> dict[str, str]:
    return {name: _long_text(text) for name, text in _items(value)}


def _items(value: Any) -> list[tuple[str, Any]]:
    if not isinstance(value, Mapping):
        raise ValueError(f"{value!r:.80}; expected values by name")
    return [(_text(name), each) for name, each in value.items()]


_READERS: Final[dict[str, Callable[[Any], Any]]] = {
    "name": _text,
    "number": _count,
    "made_by": _text,
    "parents": _refs,
    "reason": _text,
    "figures": figures_of,
    "families": _texts,
    "date": _date,
    "digest": _digest,
    "event": _count,
    "extra": _extra,
}
