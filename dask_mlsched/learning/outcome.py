"""What came of something that was done to models, and how long that may take."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

#: Events that tell of what came to nothing, of trials, promotions, and of going back.
REFUSED: Final = "refused"
CHALLENGE: Final = "challenger"
PROMOTED: Final = "promoted"
REJECTED: Final = "rejected"
ROLLED_BACK: Final = "rolled back"


@dataclass(frozen=True)
class Outcome:
    """What came of an operation, as the log tells it."""

    event: str
    reason: str
    model: str | None = None
    family: str | None = None
    figures: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Effort:
    """How long an operation may take, on any clock."""

    #: How long it has taken so far; asked before each network is run.
    elapsed: Callable[[], float]
    most: float

    @classmethod
    def counted(cls, networks: int) -> Effort:
        """Allow for so many networks to be run: the same everywhere."""
        runs = iter(range(networks + 1))
        return cls(lambda: next(runs, networks), networks)
