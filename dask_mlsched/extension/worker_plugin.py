"""The worker's half: what moves between the tiers of its store becomes reports to the scheduler.

Moves come from the store's adapter, mostly in the event loop's thread, which a copy blocks. They
are collected and sent a few milliseconds later in one event on the topic ``mlsched``, which the
scheduler's half receives as ``SchedulerPlugin.log_event``:

- once, at the beginning: ``{"op": "tier", "worker", "kind", "limit", "resident", "keeps_clean",
  "overlap", "protocol"}``, where ``kind`` is None on a worker without tiers, from which nothing
  else comes; or ``{"op": "absent", "worker", "reason"}``, where there is no plugin
  (`bootstrap_worker`);
- after moves, and after arrays have come from other workers: ``{"op": "report", "worker", "seq",
  "moves", "fetches", "resident_bytes", "totals", "resident"}``; now and then, and only after moves,
  ``resident`` is all that is resident, least recently used first, and else None;
- after our own errors: ``{"op": "error", "worker", "where", "error"}``.

A lost or late report does no harm: ``seq`` shows the gap and the next snapshot fills it. What is
inserted or deleted is not reported, as the scheduler has it from Dask.
The plugin also works without a scheduler's half; then it only counts. Where it runs, sparse arrays
are counted and sent as :mod:`dask_mlsched.extension.sparse` says.

The other way, hints come with tasks (:mod:`dask_mlsched.extension.hints`): right before one begins
and reads its inputs, what it says is to go out goes out.
"""

from __future__ import annotations

import copyreg
import logging
import threading
import time
from collections import deque
from contextlib import contextmanager
from dataclasses import astuple
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from distributed.core import Status
from distributed.diagnostics.plugin import WorkerPlugin
from tornado.ioloop import PeriodicCallback

from dask_mlsched.extension import hints, sparse
from dask_mlsched.extension.by_value import made_there
from dask_mlsched.extension.fetches import Fetched, FetchLog
from dask_mlsched.extension.moves import Move, TierStatistics
from dask_mlsched.extension.quantities import parse_duration
from dask_mlsched.extension.tiers import Tier, adapt
from dask_mlsched.extension.versions import PROTOCOL, VERSION

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from dask.typing import Key
    from distributed import Worker

logger = logging.getLogger(__name__)

_T = TypeVar("_T")

NAME = "mlsched-worker"
TOPIC = "mlsched"

#: How long moves are collected before they are sent.
_FLUSH_SECONDS = 0.002
#: A snapshot of n arrays is followed by another after n times this at the earliest, so that a store
#: of very many small ones does not spend its worker's time on them.
_SNAPSHOT_SECONDS_PER_ARRAY = 1e-4
#: How long to wait before looking again whether the worker has found its scheduler.
_CONNECT_SECONDS = 0.05
#: How long the event loop has for other things before it loads another array ahead.
_LOAD_SECONDS = 0.0005
#: States of a task on its worker: it waits for a thread; it runs, whatever became of its wish to.
_READY = frozenset({"ready", "constrained"})
_RUNNING = frozenset({"executing", "long-running", "cancelled", "resumed"})
_FOLLOWED = _READY | _RUNNING
#: Of moves, and of fetches.
_ROWS_PER_MESSAGE = 10_000
_HISTORY_LENGTH = 100_000


class MLWorkerPlugin(WorkerPlugin):
    """Watches a worker's store and reports its moves; without a tiered store it does nothing.

    Registering another of its name replaces it, and unregistering leaves the store as it was found.

    Parameters
    ----------
    snapshot_interval
        Seconds between two reports of everything that is resident, while there are moves.

    Raises
    ------
    ValueError
        ``snapshot_interval`` is not a duration above zero.
    """

    name: ClassVar[str] = NAME
    #: False: a plugin registered under our name replaces the one before.
    idempotent = False

    snapshot_interval: float
    #: The latest moves, for pictures.
    history: deque[Move]
    #: Our own errors, which the worker never sees.
    errors: int

    def __init__(self, snapshot_interval: float | str = 1.0) -> None:
        self.snapshot_interval = parse_duration("snapshot_interval", snapshot_interval)
        self.history = deque(maxlen=_HISTORY_LENGTH)
        self.errors = 0
        self.tier: Tier | None = None
        self._worker: Worker | None = None
        self._seq = 0
        self._pending: deque[Move] = deque()
        self._fetch_log: FetchLog | None = None
        self._pending_fetches: deque[Fetched] = deque()
        self._flush_is_due = False
        self._moved_since_snapshot = False
        self._next_snapshot = 0.0
        self._snapshots: PeriodicCallback | None = None
        #: task -> what goes out first for it, while it waits for a thread.
        self._victims: dict[Key, Sequence[Key]] = {}
        self._loads_are_due = False

    def __getstate__(self) -> dict[str, Any]:
        """Only the settings travel to workers, also when the plugin is already running here."""
        return {"snapshot_interval": self.snapshot_interval}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(**state)  # type: ignore[misc]  # it comes as it was made, without the rest

    def __reduce__(self) -> tuple[Any, ...]:
        """Travel to workers that may lack the package, too."""
        settings = self.__getstate__()
        if type(self) is not MLWorkerPlugin:
            # Of a class derived from it, nobody but its author knows where it is.
            return copyreg.__newobj__, (type(self),), settings  # type: ignore[attr-defined]
        return made_there("bootstrap_worker", settings=settings, protocol=PROTOCOL, version=VERSION)

    def setup(self, worker: Worker) -> None:
        """Attach to the worker's store; whatever goes wrong is reported and the worker goes on."""
        with self._guarded("setup"):
            if self._worker is not None:
                address = self._worker.address
                message = f"this plugin serves worker {address} already; give each worker its own"
                raise RuntimeError(message)
            self._worker = worker
            sparse.register()
            self.tier = adapt(worker.data)
            if self.tier is not None:
                self.tier.attach(self._moved)
                self._fetch_log = FetchLog(worker.transfer_incoming_log)
                self._snapshots = PeriodicCallback(
                    self._send_snapshot, self.snapshot_interval * 1000
                )
                self._snapshots.start()
            self._introduce()

    def teardown(self, worker: Worker) -> None:
        """Detach from the store, and send what was not sent yet."""
        if worker is not self._worker:
            return
        with self._guarded("teardown"):
            if self._snapshots is not None:
                self._snapshots.stop()
            if self.tier is not None:
                self.tier.detach()
            self._flush()
            sparse.unregister()
        self._worker = self._snapshots = None

    def transition(self, key: Key, start: str, finish: str, **_: Any) -> None:
        """Follow a task's hints when it is about to begin; see what came from other workers."""
        if self._worker is None:
            return
        if start == "flight":
            with self._guarded("fetches"):
                self._fetched()
        if self.tier is not None and (start in _FOLLOWED or finish in _FOLLOWED):
            with self._guarded("hints"):
                self._follow(key, start, finish, self._worker, self.tier)

    def _follow(self, key: Key, start: str, finish: str, worker: Worker, tier: Tier) -> None:
        """Tell the store of a task that waits for a thread, begins, or is through."""
        ts = worker.state.tasks.get(key)
        if finish in _READY and ts is not None:
            sent = hints.take(ts)
            if sent.evict:
                self._victims[key] = sent.evict
            state = worker.state
            # It is among the ready ones itself. One that has a thread already begins at once.
            waits = len(state.executing) + len(state.ready) > state.nthreads
            if sent.load_ahead and waits:
                reads = {dep.key: dep.get_nbytes() for dep in ts.dependencies}
                if tier.expect(key, reads, sent.evict):
                    self._load_soon(worker)
        elif finish == "executing" and ts is not None:
            # Hints of a task that never was among the ready ones are still on it.
            victims = self._victims.pop(key, ()) or hints.take(ts).evict
            tier.begin(key, [dep.key for dep in ts.dependencies], victims)
        elif finish not in _RUNNING:
            self._victims.pop(key, None)
            tier.end(key)

    def _load_soon(self, worker: Worker) -> None:
        """Load ahead when the event loop has nothing else to do, array by array."""
        if self._loads_are_due:
            return
        self._loads_are_due = True
        # Later, so that what the loop is about to begin has read its own inputs.
        worker.loop.call_later(_LOAD_SECONDS, self._load_next)

    def _load_next(self) -> None:
        self._loads_are_due = False
        with self._guarded("loads ahead"):
            if self._worker is not None and self.tier is not None and self.tier.load_next():
                self._load_soon(self._worker)

    def statistics(self) -> dict[str, Any]:
        """Return the totals of this worker's store, and what it is."""
        tier = self.tier
        totals = TierStatistics() if tier is None else tier.statistics
        return {
            **totals.as_dict(),
            "kind": None if tier is None else tier.kind,
            "limit": None if tier is None else tier.limit,
            "resident_bytes": 0 if tier is None else tier.resident_bytes(),
            "errors": self.errors,
        }

    def reset(self) -> None:
        """Begin to count anew, and forget the history."""
        self.history.clear()
        if self.tier is not None:
            self.tier.statistics = TierStatistics()

    def _moved(self, move: Move) -> None:
        worker = self._worker
        if worker is None:
            return
        self.history.append(move)
        self._pending.append(move)
        self._moved_since_snapshot = True
        self._flush_soon(worker)

    def _fetched(self) -> None:
        """Take in what other workers have sent."""
        if self._worker is None or self._fetch_log is None:
            return
        news = self._fetch_log.news()
        if news:
            self._pending_fetches += news
            self._flush_soon(self._worker)

    def _flush_soon(self, worker: Worker) -> None:
        if self._flush_is_due:
            return
        self._flush_is_due = True
        # A timer may only be set in the thread of the loop.
        if worker.thread_id == threading.get_ident():
            worker.loop.call_later(_FLUSH_SECONDS, self._flush)
        else:
            worker.loop.add_callback(worker.loop.call_later, _FLUSH_SECONDS, self._flush)

    def _introduce(self) -> None:
        worker, tier = self._worker, self.tier
        if worker is None:
            return
        if worker.status is Status.init:
            # Events are dropped until the worker has registered with its scheduler.
            worker.loop.call_later(_CONNECT_SECONDS, self._introduce)
            return
        with self._guarded("introduction"):
            message: dict[str, Any] = {
                "op": "tier",
                "kind": None,
                "limit": None,
                "resident": [],
                "protocol": PROTOCOL,
            }
            if tier is not None:
                message.update(kind=tier.kind, limit=tier.limit, resident=_rows(tier.snapshot()))
                message["keeps_clean"] = tier.keeps_clean
                message["overlap"] = tier.copies_beside
            self._send(message)

    def _flush(self) -> None:
        # Cleared first: a move that comes from now on sets a timer of its own.
        self._flush_is_due = False
        with self._guarded("report"):
            while self._pending or self._pending_fetches:
                self._report(_first(self._pending), _first(self._pending_fetches), None)

    def _send_snapshot(self) -> None:
        now = time.monotonic()
        if self.tier is None or not self._moved_since_snapshot or now < self._next_snapshot:
            return
        # Cleared first: a move that comes from now on may be missing in this one.
        self._moved_since_snapshot = False
        self._flush()
        with self._guarded("snapshot"):
            snapshot = self.tier.snapshot()
            self._next_snapshot = now + len(snapshot) * _SNAPSHOT_SECONDS_PER_ARRAY
            self._report([], [], snapshot)

    def _report(
        self, moves: list[Move], fetches: list[Fetched], snapshot: list[tuple[Key, int]] | None
    ) -> None:
        if self.tier is None:
            return
        self._seq += 1
        self._send(
            {
                "op": "report",
                "seq": self._seq,
                "moves": [[m.key, m.direction, m.nbytes, m.seconds] for m in moves],
                "fetches": [[f.source, f.seconds, _rows(f.arrays)] for f in fetches],
                "resident_bytes": self.tier.resident_bytes(),
                "totals": self.tier.statistics.as_dict(),
                "resident": None if snapshot is None else _rows(snapshot),
            }
        )

    def _send(self, message: dict[str, Any]) -> None:
        if self._worker is not None:
            self._worker.log_event(TOPIC, {"worker": self._worker.address, **message})

    @contextmanager
    def _guarded(self, where: str) -> Iterator[None]:
        """Keep our errors from the worker: count them, and tell of the first."""
        try:
            yield
        except Exception as error:  # noqa: BLE001 - a worker must never fail because of us
            self._failed(where, error)

    def _failed(self, where: str, error: Exception) -> None:
        self.errors += 1
        if self.errors > 1:
            return
        logger.error("%s failed in its %s; work goes on", self.name, where, exc_info=error)
        try:
            self._send({"op": "error", "where": where, "error": repr(error)})
        except Exception:  # noqa: BLE001 - it may be sending that does not work
            self.errors += 1


def worker_statistics(dask_worker: Worker) -> dict[str, Any]:
    """Return a worker's totals; for ``client.run``.

    Returns
    -------
    dict
        ``kind``, ``limit`` and ``resident_bytes`` of the store (None, None and 0 without tiers),
        the fields of :class:`TierStatistics`, and ``errors`` of the plugin.

    Raises
    ------
    RuntimeError
        The worker plugin is not installed.
    """
    return _plugin_of(dask_worker).statistics()


def worker_history(dask_worker: Worker) -> list[tuple[Any, ...]]:
    """Return a worker's latest moves as tuples of the fields of :class:`Move`; for ``client.run``.

    Raises
    ------
    RuntimeError
        The worker plugin is not installed.
    """
    return [astuple(move) for move in _plugin_of(dask_worker).history]


def reset_statistics(dask_worker: Worker) -> None:
    """Begin to count anew on a worker; for ``client.run``.

    Raises
    ------
    RuntimeError
        The worker plugin is not installed.
    """
    _plugin_of(dask_worker).reset()


def _plugin_of(worker: Worker) -> MLWorkerPlugin:
    plugin = worker.plugins.get(NAME)
    if not isinstance(plugin, MLWorkerPlugin):
        raise RuntimeError(
            f"worker {worker.address} has no plugin {NAME!r}; "
            "call client.register_plugin(MLWorkerPlugin()) first"
        )
    return plugin


def _first(waiting: deque[_T]) -> list[_T]:
    """Take off what one message may hold."""
    return [waiting.popleft() for _ in range(min(len(waiting), _ROWS_PER_MESSAGE))]


def _rows(arrays: Iterable[tuple[Key, int]]) -> list[list[Key | int]]:
    return [[key, nbytes] for key, nbytes in arrays]
