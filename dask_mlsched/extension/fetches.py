"""What a worker fetched from others: one answer to one request for arrays at a time.

distributed keeps a log of it, a deque of the latest answers, which is read here whenever something
has come. It has no hook; a task that goes from ``flight`` to ``memory`` says that there is news.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dask.typing import Key


@dataclass(frozen=True, slots=True)
class Fetched:
    """Arrays that came from another worker with one answer."""

    #: Address of the worker that sent them.
    source: str
    #: From the request to the last byte, waiting at the other's end included.
    seconds: float
    #: (key, bytes), in the order in which they came.
    arrays: tuple[tuple[Key, int], ...]


class FetchLog:
    """Reads ``Worker.transfer_incoming_log``, every entry once.

    Parameters
    ----------
    log
        The worker's own, which it appends to; what is in it already is passed over.
    """

    def __init__(self, log: Sequence[dict[str, Any]]) -> None:
        self._log = log
        #: The entry that was read last. Old ones fall out at the other end, so no place would do.
        self._last = log[-1] if log else None

    def news(self) -> list[Fetched]:
        """Return what has come since the last time; cost: nothing while there is no news."""
        new: list[dict[str, Any]] = []
        for entry in reversed(self._log):
            if entry is self._last:
                break
            new.append(entry)
        if new:
            self._last = new[0]
        return [_fetched(entry) for entry in reversed(new)]


def _fetched(entry: dict[str, Any]) -> Fetched:
    # `duration` is never less than a millisecond; and clocks may be set back.
    seconds = max(0.0, entry["stop"] - entry["start"])
    # A scalar of unknown size counts as nothing.
    arrays = tuple((key, nbytes or 0) for key, nbytes in entry["keys"].items())
    return Fetched(entry["who"], seconds, arrays)
