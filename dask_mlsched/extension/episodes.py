"""Where one run on a cluster ends, and the next will begin: where nothing has moved for a while."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from distributed.scheduler import Scheduler

#: Seconds without work after which a run is over. The workers' last reports have come by then.
QUIET: Final = 0.5

#: With fewer tasks than this a run says nothing.
LEAST_TASKS: Final = 20

#: If more tasks than this are left, as of a large persisted collection, the run goes on with the
#: next one: to look at all of them again takes the event loop 50 microseconds each.
MOST_LEFT: Final = 2_000


class Episodes:
    """Watches for the end of a run.

    One that was cut into pieces where a client thinks for a moment would be several; one that
    lasts over a pause could not be simulated, because nobody knows how long a client thinks.
    """

    def __init__(self) -> None:
        self._begun = 0
        self._idle_since: float | None = None

    def over(self, scheduler: Scheduler, begun: int, now: float) -> bool:
        """Look whether nothing has been under way for a while.

        Parameters
        ----------
        begun
            Tasks that have begun in the run.
        now
            Seconds, on any clock.
        """
        if begun != self._begun or not _idle(scheduler):
            self._begun, self._idle_since = begun, None
        elif self._idle_since is None:
            self._idle_since = now
        return self._idle_since is not None and now - self._idle_since >= QUIET


def _idle(scheduler: Scheduler) -> bool:
    """Tell whether no task is on a worker or could be; those that are left wait for none."""
    return (
        not scheduler.queued
        and not scheduler.unrunnable
        and not any(ws.processing or ws.long_running for ws in scheduler.workers.values())
    )
