"""Recording on the scheduler: one trace for each controller, to memory or to a file."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tornado.ioloop import PeriodicCallback

from dask_mlsched.core.chooser import Settings
from dask_mlsched.core.controller import Controller
from dask_mlsched.core.recorder import NameSource, RecordedController, Recorder
from dask_mlsched.core.trace import Header
from dask_mlsched.extension.trace_files import FileStore, MemoryStore, Store
from dask_mlsched.extension.versions import VERSION

if TYPE_CHECKING:
    from dask_mlsched.config import Config
    from dask_mlsched.core.policies import Policy

logger = logging.getLogger("dask_mlsched")

#: What happens reaches the file after so many seconds at the latest.
_FLUSH_SECONDS = 1.0


class NotRecordedError(RuntimeError):
    """There is no trace to be had: one line that says why, and the cure."""


@dataclass(frozen=True)
class Ended:
    """A trace that is over."""

    #: Tasks that have begun in it.
    begun: int
    #: Returns it; may be called in any thread, and raise OSError.
    read: Callable[[], bytes]


class Recording:
    """Makes controllers that are recorded, if that is configured, and keeps the latest trace.

    A trace begins with its controller, and ends with it. The latest is the last one in which
    something ran: where runs are cut apart, the next one may not have begun. Nothing that goes
    wrong with it may disturb the run: it is counted, logged once and shown in `status()`.

    Parameters
    ----------
    config
        Whether, where to, and how much.
    """

    #: What went wrong, how often and last.
    problems: int
    last_problem: str | None

    def __init__(self, config: Config) -> None:
        self._config = config
        self._recorder: Recorder | None = None
        self._store: Store | None = None
        #: The trace before, until something runs in this one.
        self._before: tuple[Recorder, Store] | None = None
        self._flushing: PeriodicCallback | None = None
        #: Whether the recorder's problem has been counted.
        self._told = False
        self.problems = 0
        self.last_problem = None

    @property
    def wanted(self) -> bool:
        """Whether runs are to be recorded."""
        config = self._config
        return (
            config.trace == "memory"
            or config.trace_directory is not None
            or config.training != "off"
        )

    @property
    def stopped(self) -> str | None:
        """Why recording stopped before its run did; None if it did not."""
        return None if self._recorder is None else self._recorder.truncated

    @property
    def begun(self) -> int:
        """Tasks that have begun in this trace."""
        return 0 if self._recorder is None else self._recorder.begun

    def begin(
        self, policy: Policy | None, settings: Settings, *, policy_name: str, mode: str
    ) -> Controller:
        """Make a controller, and begin to record it if that is wanted."""
        self.end()
        if not self.wanted:
            return Controller(policy, settings, time.perf_counter)
        header = Header(VERSION, time.time(), policy_name, mode, settings)
        try:
            store = self._new_store()
        except OSError as error:
            self._failed(f"{type(error).__name__}: {error}")
            return Controller(policy, settings, time.perf_counter)
        self._store = store
        self._told = False
        self._recorder = Recorder(header, store.write, limit=self._config.trace_limit)
        self._flushing = PeriodicCallback(self.flush, _FLUSH_SECONDS * 1000)
        self._flushing.start()
        return RecordedController(policy, settings, time.perf_counter, self._recorder)

    def _new_store(self) -> Store:
        directory = self._config.trace_directory
        if self._recorder is not None and self._store is not None and self._recorder.begun:
            self._before = self._recorder, self._store
        self._store = self._recorder = None
        return MemoryStore() if directory is None else FileStore(directory)

    def name_by(self, names: NameSource) -> None:
        """Say who knows what the numbers in the controller's events stand for."""
        if self._recorder is not None:
            self._recorder.names = names

    def policy_switched(self, name: str) -> None:
        """Record that the controller asks another policy from now on."""
        if self._recorder is not None:
            self._recorder.policy_switched(name)

    def flush(self) -> None:
        """Write what has come since the last time."""
        if self._recorder is not None:
            self._recorder.flush()
            self._tell(self._recorder)
            if self._recorder.begun:
                self._before = None

    def end(self) -> Ended | None:
        """End the trace, if there is one; it can still be fetched until something runs again."""
        if self._flushing is None or self._recorder is None or self._store is None:
            return None
        self._flushing.stop()
        self._flushing = None
        self._recorder.close()
        self._tell(self._recorder)
        try:
            self._store.close()
        except OSError as error:
            self._failed(f"{type(error).__name__}: {error}")
        return Ended(self._recorder.begun, self._store.read)

    def fetch(self) -> bytes:
        """Return the latest trace as it stands, with an end.

        Raises
        ------
        NotRecordedError
            If there is none, or its file cannot be read.
        """
        if not self.wanted:
            msg = (
                "this run is not recorded; set mlsched.trace to 'memory', or "
                "mlsched.trace-directory to a directory, before it begins: "
                "dask_mlsched.install(client, trace='memory')"
            )
            raise NotRecordedError(msg)
        self.flush()
        recorder, store = self._before or (self._recorder, self._store)
        if recorder is None or store is None:
            why = self.last_problem or "nothing has been managed or observed so far"
            msg = f"nothing is recorded: {why}; see handle.status()"
            raise NotRecordedError(msg)
        try:
            data = store.read()
        except OSError as error:
            msg = f"the trace cannot be read on the scheduler ({error}); record to memory instead"
            raise NotRecordedError(msg) from error
        return data + recorder.end if recorder.going_on else data

    def snapshot(self) -> dict[str, Any]:
        """Describe the recording for `status()`."""
        recorder, store = self._recorder, self._store
        if recorder is not None:
            self._tell(recorder)
        return {
            "recording": recorder is not None and recorder.going_on,
            "where": None if store is None else store.where,
            "events": 0 if recorder is None else recorder.events,
            "nbytes": 0 if recorder is None else recorder.nbytes,
            "truncated": None if recorder is None else recorder.truncated,
            "problems": self.problems,
            "last_problem": self.last_problem,
        }

    def _tell(self, recorder: Recorder) -> None:
        """Say once why a recording stopped before its run did."""
        if recorder.truncated is None or self._told:
            return
        self._told = True
        if recorder.problem is None:
            logger.warning("mlsched: recording stopped: %s; the run goes on", recorder.truncated)
        else:
            self._failed(recorder.problem)

    def _failed(self, problem: str) -> None:
        self.problems += 1
        self.last_problem = problem
        if self.problems == 1:
            logger.error("mlsched: recording failed: %s; the run goes on", problem)
