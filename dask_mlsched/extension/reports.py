"""The workers' reports: checked, counted, and the latest kept per worker."""

from __future__ import annotations

import operator
from collections.abc import Container
from dataclasses import dataclass
from typing import Any, Final

from dask.typing import Key

from dask_mlsched.extension.fetches import Fetched
from dask_mlsched.extension.versions import PROTOCOL

#: The topic of `Worker.log_event` on which reports come.
TOPIC: Final = "mlsched"

#: Characters of a worker's reason that are kept.
_LONGEST_REASON: Final = 300


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
    #: What came from other workers, in order.
    fetches: tuple[Fetched, ...] = ()


class Reports:
    """Takes reports in, tells lost and repeated ones, and keeps each worker's last figures."""

    def __init__(self) -> None:
        self.received = 0
        self.lost = 0
        self.repeated = 0
        #: Reports of workers that are gone, or that work as without us.
        self.stale = 0
        #: Messages that are no reports: the topic is open to everybody.
        self.malformed = 0
        #: Errors that workers told of, and what was wrong with the last message or worker.
        self.worker_errors = 0
        self.last_problem: str | None = None
        #: worker -> why it works as without us: it has no package, or one of another protocol.
        self.absent: dict[str, str] = {}
        #: worker -> kind of its store, capacity of its fast tier, bytes resident, totals.
        self.kinds: dict[str, str | None] = {}
        self.limits: dict[str, int | None] = {}
        #: worker -> whether its store keeps clean copies, and whether it copies beside computing.
        self.abilities: dict[str, tuple[bool, bool]] = {}
        self.resident_bytes: dict[str, int] = {}
        self.totals: dict[str, dict[str, float]] = {}
        #: worker -> its last list of what is resident.
        self.resident: dict[str, tuple[tuple[Key, int], ...]] = {}
        #: The workers that make a cluster worth managing. Dask gives every worker with a memory
        #: limit a store that can spill to disk; such a one counts from its first eviction on.
        self.tiered: set[str] = set()
        self._last: dict[str, int] = {}

    def common_abilities(self) -> tuple[bool, bool]:
        """Tell whether all stores of two tiers keep clean copies, and whether all copy beside."""
        tiered = [
            able for worker, able in self.abilities.items() if self.limits[worker] is not None
        ]
        keep_clean = bool(tiered) and all(able[0] for able in tiered)
        return keep_clean, bool(tiered) and all(able[1] for able in tiered)

    def count_anew(self) -> None:
        """Count from 0, as a plugin does that takes the place of another; what is known stays."""
        self.received = self.lost = self.repeated = self.stale = self.malformed = 0
        self.worker_errors = 0
        self.last_problem = None
        self.totals.clear()

    def forget(self, worker: str) -> None:
        """Drop all that is kept of a worker."""
        self.tiered.discard(worker)
        for table in (
            self.absent,
            self.kinds,
            self.limits,
            self.abilities,
            self.resident_bytes,
            self.totals,
            self.resident,
            self._last,
        ):
            table.pop(worker, None)

    def take(self, msg: Any, workers: Container[str]) -> Report | None:
        """Check and count one message; None if there is nothing to act upon.

        A message that is no report is counted and changes nothing.
        """
        try:
            op, worker = msg["op"], msg["worker"]
            if worker not in workers or (op == "report" and worker in self.absent):
                self.stale += 1
                return None
            match op:
                case "tier":
                    return self._introduced(msg)
                case "absent":
                    return self._left(worker, msg["reason"])
                case "report":
                    return self._reported(msg)
                case "error":
                    self.worker_errors += 1
                    self.last_problem = f"worker {worker}, {msg['where']}: {msg['error']}"
                case other:
                    expected = "'tier', 'absent', 'report' or 'error'"
                    raise ValueError(f"op is {other!r}; expected {expected}")
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            self.malformed += 1
            what = f"{type(error).__name__}: {error}"
            self.last_problem = f"a message on topic {TOPIC!r} is no report ({what}): {msg!r:.80}"
        return None

    def _left(self, worker: str, reason: Any) -> Report:
        """Take a worker for one without tiers, whatever it was before."""
        if not isinstance(reason, str):
            raise TypeError(f"reason is {reason!r}; expected a text")
        self.forget(worker)
        self.received += 1
        self.absent[worker] = " ".join(reason.split())[:_LONGEST_REASON]
        self.kinds[worker] = self.limits[worker] = None
        self.abilities[worker] = False, False
        return Report(worker, True, None, (), ())

    # Both read the whole message before they keep any of it.

    def _introduced(self, msg: dict[str, Any]) -> Report:
        worker, kind, limit = msg["worker"], msg["kind"], msg["limit"]
        # A worker of the first version says nothing of it.
        protocol = _count(msg.get("protocol", 1))
        if protocol != PROTOCOL:
            reason = f"dask_mlsched speaks protocol {protocol}, on the scheduler {PROTOCOL}"
            return self._left(worker, reason)
        if limit is not None and _count(limit) < 1:
            raise ValueError(f"limit is {limit!r}; expected at least 1 byte, or None")
        resident = _rows(msg["resident"])
        self.received += 1
        self.absent.pop(worker, None)
        self._last[worker] = 0
        # It counts from 0, too.
        self.totals.pop(worker, None)
        self.kinds[worker] = kind
        self.limits[worker] = limit
        # A worker of a version before this one says nothing of them.
        self.abilities[worker] = bool(msg.get("keeps_clean")), bool(msg.get("overlap"))
        if limit is not None and kind != "spill-buffer":
            self.tiered.add(worker)
        self.resident[worker] = resident
        self.resident_bytes[worker] = sum(nbytes for _, nbytes in resident)
        return Report(worker, True, limit, (), resident)

    def _reported(self, msg: dict[str, Any]) -> Report | None:
        worker, seq = msg["worker"], _count(msg["seq"])
        resident_bytes = _count(msg["resident_bytes"])
        totals = {name: float(total) for name, total in msg["totals"].items()}
        moves = tuple(map(_move, msg["moves"]))
        resident = None if msg["resident"] is None else _rows(msg["resident"])
        # A worker of a version before this one says nothing of them.
        fetches = tuple(map(_fetch, msg.get("fetches", ())))
        self.received += 1
        last = self._last.get(worker, 0)
        if seq <= last:
            self.repeated += 1
            return None
        self.lost += seq - last - 1
        self._last[worker] = seq
        self.resident_bytes[worker] = resident_bytes
        self.totals[worker] = totals
        if moves and self.limits.get(worker) is not None:
            self.tiered.add(worker)
        if resident is not None:
            self.resident[worker] = resident
        return Report(worker, False, None, moves, resident, fetches)


def _rows(rows: Any) -> tuple[tuple[Key, int], ...]:
    return tuple((_key(key), _count(nbytes)) for key, nbytes in rows)


def _move(row: Any) -> tuple[Key, str, int, float]:
    key, direction, nbytes, seconds = row
    if direction not in ("load", "evict"):
        raise ValueError(f"direction is {direction!r}; expected 'load' or 'evict'")
    if not seconds >= 0:
        raise ValueError(f"seconds is {seconds!r}; expected at least 0")
    return _key(key), direction, _count(nbytes), float(seconds)


def _fetch(row: Any) -> Fetched:
    source, seconds, arrays = row
    if not isinstance(source, str):
        raise TypeError(f"source is {source!r}; expected an address")
    if not seconds >= 0:
        raise ValueError(f"seconds is {seconds!r}; expected at least 0")
    return Fetched(source, float(seconds), _rows(arrays))


def _key(key: Any) -> Key:
    hash(key)
    return key  # type: ignore[no-any-return]


def _count(number: Any) -> int:
    count = operator.index(number)
    if count < 0:
        raise ValueError(f"got {count}; expected at least 0")
    return count
