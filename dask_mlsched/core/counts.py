"""What a controller has counted, so that the next one can count on."""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass, field

#: So many decisions have their duration kept.
RECENT = 10_000


@dataclass(slots=True)
class Counts:
    """Figures that only grow, however often the controller is made anew; and recent durations."""

    #: Runs by why they were chosen.
    reasons: Counter[str] = field(default_factory=Counter)
    #: Seconds that recent decisions took, the newest last, and that all of them took.
    recent_seconds: deque[float] = field(default_factory=lambda: deque(maxlen=RECENT))
    total_seconds: float = 0.0
    #: Decisions in which the policy of the time failed.
    policy_failures: int = 0
    #: What the last of these was; None without any.
    last_policy_failure: str | None = None
    #: Holds begun, and seconds that slots were held.
    holds: int = 0
    hold_seconds: float = 0.0
    #: Runs of tasks whose inputs and output exceed the device memory limit.
    oversized: int = 0
