"""A move of one array between the tiers of a store, and what moves add up to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from dask.typing import Key

Direction = Literal["load", "evict"]


@dataclass(frozen=True, slots=True)
class Move:
    """One array went from the slow tier to the fast one (load) or back (evict).

    An array larger than the limit of the fast tier never stays there: its load copies it for
    the one who asked, and leaves it in the slow tier.
    """

    #: When the move ended, ``time.monotonic`` of the process that made it.
    time: float
    key: Key
    direction: Direction
    #: What was copied: the array's size in the fast tier, as ``dask.sizeof`` has it; 0 if it left
    #: without a copy, because the slow tier had one.
    nbytes: int
    #: How long the copy took, without the evictions it caused.
    seconds: float
    #: What the fast tier holds after the move, in bytes.
    resident_bytes: int


@dataclass(slots=True)
class TierStatistics:
    """Totals over all moves of a store."""

    loads: int = 0
    evictions: int = 0
    bytes_loaded: int = 0
    bytes_evicted: int = 0
    load_seconds: float = 0.0
    evict_seconds: float = 0.0
    #: Errors inside our own hooks, which a store must never see.
    callback_errors: int = 0
    #: Loads that were made before a task asked for the array; those for which there was no room.
    loads_ahead: int = 0
    no_room_ahead: int = 0
    #: Copies that failed and left the array where it was, and arrays that a task has written into.
    failed_copies: int = 0
    writes_found: int = 0

    def add(self, direction: Direction, nbytes: int, seconds: float) -> None:
        """Count one move."""
        if direction == "load":
            self.loads += 1
            self.bytes_loaded += nbytes
            self.load_seconds += seconds
        else:
            self.evictions += 1
            self.bytes_evicted += nbytes
            self.evict_seconds += seconds

    def as_dict(self) -> dict[str, float]:
        """Return the fields by name. A tenth of the cost of ``dataclasses.asdict``."""
        return {name: getattr(self, name) for name in self.__slots__}
