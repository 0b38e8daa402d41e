"""Which workers may be sent one more task, and which of them is the next."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice
from typing import Final

from dask_mlsched.core.books import Books

#: A scheduler and a worker take about this many seconds to tell of a finished task and to send
#: the next one. While everything fits in the fast tier, a worker may have more tasks than
#: threads and lookahead, as long as all of them together are expected to take less than that.
ROUND_TRIP: Final = 0.010

#: So many tasks at most beyond the threads for that reason.
BRIDGE: Final = 16


class WorkerLine:
    """Looks at the controller's books, and changes nothing.

    Parameters
    ----------
    books
        With the workers.
    lookahead, round_trip
        See `Settings`.
    """

    def __init__(self, books: Books, lookahead: int, round_trip: float) -> None:
        self._books = books
        self._lookahead = lookahead
        self._round_trip = round_trip

    def takes_more(self, worker: int, *, fits: bool) -> bool:
        """Tell whether the worker has a free slot, or tasks too short to wait for the next.

        Parameters
        ----------
        fits
            Whether everything that is known of fits in the fast tiers.
        """
        if worker in self._books.with_room:
            return True
        device = self._books.devices[worker]
        if not fits or device.paused or not device.residency.all_resident:
            return False
        if len(device.in_flight) >= device.threads + BRIDGE:
            return False
        return self._end_within(device.in_flight, ROUND_TRIP * device.threads)

    def would_wait(self, worker: int) -> bool:
        """Tell whether a worker would be done with what it has before the next task reaches it.

        It begins its next task, whose loads keep its event loop busy, before it tells that one has
        ended: so what waits behind its threads has to compute for as long as telling and sending
        take. This is asked when a task was sent; a worker without room is left alone.
        """
        device = self._books.devices[worker]
        if self._lookahead == 0 or device.paused or not self._round_trip:
            return False
        if len(device.in_flight) >= device.threads + BRIDGE:
            return False
        behind_threads = islice(device.in_flight, device.threads, None)
        return self._end_within(behind_threads, self._round_trip * device.threads)

    def place(self, worker: int) -> tuple[float, float, int]:
        """Say where a worker stands: the least busy one first, one thread after another.

        Among equals the one that was sent a task longest ago, so that a task which a worker gave
        back (`Reschedule`) does not return to it while others are idle.
        """
        device = self._books.devices[worker]
        return len(device.in_flight) / device.threads, device.last_sent, worker

    def _end_within(self, tasks: Iterable[int], limit: float) -> bool:
        """Tell whether tasks take less than so many seconds in all; False if nobody knows."""
        graph = self._books.graph
        seconds = 0.0
        for task in tasks:
            statistics = graph.prefixes[graph.prefix[task]]
            if not statistics.finished:
                return False
            seconds += statistics.seconds
        return seconds < limit
