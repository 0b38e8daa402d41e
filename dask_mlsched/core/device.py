"""One worker as the controller sees it: its slots, its device's residency, its holds."""

from __future__ import annotations

import math

from dask_mlsched.core.residency import Residency

#: Reports of copies smaller than this say more about latency than about bandwidth.
MEASURABLE_BYTES = 4096


class Device:
    """Slots, predicted residency, copy speed and the current hold of one worker.

    Parameters
    ----------
    threads
        Slots that compute.
    limit
        Device memory limit in bytes; None without limit.
    bandwidth
        Bytes per second that is assumed for copies until some have been measured.
    """

    def __init__(self, threads: int, limit: int | None, bandwidth: float) -> None:
        self.threads = threads
        self.paused = False
        self.residency = Residency(limit)
        #: Our tasks on the worker -> when each was sent; seceded ones are not in it.
        self.in_flight: dict[int, float] = {}
        #: When the worker was last sent a task; minus infinity before the first.
        self.last_sent = -math.inf
        #: When a slot of this worker last became free: the earliest start of what runs now.
        self.last_end = 0.0
        #: Bytes per second between the tiers: assumed at first, then measured.
        self.bandwidth = bandwidth
        self._copied_bytes = 0.0
        self._copied_seconds = 0.0
        #: Since when the slot is held, and until when it may be; None when it is not held.
        self.held_since: float | None = None
        self.hold_until: float | None = None

    def free_slots(self, lookahead: int) -> int:
        """Count the places for one more task, `lookahead` beyond the threads."""
        if self.paused:
            return 0
        return self.threads + lookahead - len(self.in_flight)

    def overdue(self, now: float) -> float:
        """Tell for how long no task has ended while every thread had one; 0 if a thread is idle."""
        if len(self.in_flight) < self.threads:
            return 0.0
        return now - max(self.last_end, min(self.in_flight.values()))

    def copied(self, nbytes: int, seconds: float) -> None:
        """Learn the copy speed from a report."""
        if nbytes < MEASURABLE_BYTES or not 0 < seconds < math.inf:
            return
        # A mean that forgets over some ten reports: the speed depends on who else copies.
        self._copied_bytes = 0.9 * self._copied_bytes + nbytes
        self._copied_seconds = 0.9 * self._copied_seconds + seconds
        self.bandwidth = self._copied_bytes / self._copied_seconds

    @property
    def measured(self) -> bool:
        """Whether the copy speed has been measured."""
        return self._copied_bytes > 0

    def copy_seconds(self, nbytes: int) -> float:
        """Estimate how long `nbytes` take from one tier to the other."""
        return nbytes / self.bandwidth

    def release_hold(self, now: float) -> float:
        """End the hold, if there is one; return how long it lasted, in seconds."""
        held = 0.0 if self.held_since is None else now - self.held_since
        self.held_since = None
        self.hold_until = None
        return held
