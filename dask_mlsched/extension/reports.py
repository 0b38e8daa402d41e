"""The workers' reports: checked, counted, and the latest kept per worker."""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass
from typing import Any, Final

from dask.typing import Key

#: The topic of `Worker.log_event` on which reports come.
TOPIC: Final = "mlsched"


@dataclass(frozen=True, slots=True)
class Report:
    """One message of a worker that is to be acted upon."""

    worker: str
    #: Whether the worker introduces itself.
    first: bool
    #: Capacity of its fast tier in bytes; None without one. Meaningful if `first`.
    limit: int | None
    #: (key, "load" or "evict", bytes, seconds), in order.
    moves: tuple[tuple[Key, str, int, float], ...]
    #: (key, bytes), least recently used first; None if the report has no such list.
    resident: tuple[tuple[Key, int], ...] | None


class Reports:
    """Takes reports in, tells lost and repeated ones, and keeps each worker's last figures."""

    def __init__(self) -> None:
        self.received = 0
        self.lost = 0
        self.repeated = 0
        #: Reports of workers that are gone.
        self.stale = 0
        #: worker -> kind of its store, capacity of its fast tier, bytes resident, totals.
        self.kinds: dict[str, str | None] = {}
        self.limits: dict[str, int | None] = {}
        self.resident_bytes: dict[str, int] = {}
        self.totals: dict[str, dict[str, float]] = {}
        #: worker -> its last list of what is resident.
        self.resident: dict[str, tuple[tuple[Key, int], ...]] = {}
        self._last: dict[str, int] = {}

    @property
    def tiered(self) -> set[str]:
        """The workers whose store has two tiers."""
        return {worker for worker, limit in self.limits.items() if limit is not None}

    def forget(self, worker: str) -> None:
        """Drop all that is kept of a worker."""
        for table in (
            self.kinds,
            self.limits,
            self.resident_bytes,
            self.totals,
            self.resident,
            self._last,
        ):
            table.pop(worker, None)  # type: ignore[attr-defined]  # dicts of several types

    def take(self, msg: Any, workers: Container[str]) -> Report | None:  # noqa: ANN401
        """Check and count one message; None if there is nothing to act upon.

        Raises
        ------
        ValueError
            If the message is not a report at all. The topic is open to everybody.
        """
        if not isinstance(msg, dict) or msg.get("op") not in ("tier", "report"):
            text = f"a message on topic {TOPIC!r} is {msg!r:.80}; expected a worker's report"
            raise ValueError(text)
        worker = msg["worker"]
        if worker not in workers:
            self.stale += 1
            return None
        self.received += 1
        return self._introduced(msg) if msg["op"] == "tier" else self._reported(msg)

    def _introduced(self, msg: dict[str, Any]) -> Report:
        worker = msg["worker"]
        self._last[worker] = 0
        self.kinds[worker] = msg["kind"]
        self.limits[worker] = msg["limit"]
        self.resident[worker] = tuple((key, nbytes) for key, nbytes in msg["resident"])
        self.resident_bytes[worker] = sum(nbytes for _, nbytes in self.resident[worker])
        return Report(worker, True, msg["limit"], (), self.resident[worker])

    def _reported(self, msg: dict[str, Any]) -> Report | None:
        worker, seq = msg["worker"], msg["seq"]
        last = self._last.get(worker, 0)
        if seq <= last:
            self.repeated += 1
            return None
        self.lost += seq - last - 1
        self._last[worker] = seq
        self.resident_bytes[worker] = msg["resident_bytes"]
        self.totals[worker] = dict(msg["totals"])
        moves = tuple((key, direction, nbytes, s) for key, direction, nbytes, s in msg["moves"])
        resident = msg["resident"]
        if resident is not None:
            resident = tuple((key, nbytes) for key, nbytes in resident)
            self.resident[worker] = resident
        return Report(worker, False, None, moves, resident)
