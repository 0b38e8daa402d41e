"""What the dashboard's pages read: samples of the last minutes, and runs that are over.

It only looks. What goes wrong in it is counted and shown; nothing else notices.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from dask_mlsched.extension.history import History
from dask_mlsched.extension.run_watch import RunWatch

if TYPE_CHECKING:
    from dask_mlsched.core.controller import Controller
    from dask_mlsched.extension.management import Management

logger = logging.getLogger("dask_mlsched")


class Observation:
    """Looks at one plugin every now and then.

    Parameters
    ----------
    interval
        Seconds between two samples.
    """

    history: History
    runs: RunWatch
    #: What went wrong here and on the pages: how often, and last.
    problems: int
    last_problem: str | None
    #: Seconds of the processor that samples and pages took, without Bokeh's sending.
    seconds: float

    def __init__(self, interval: float) -> None:
        self.interval = interval
        self.history = History()
        self.runs = RunWatch()
        self.problems = 0
        self.last_problem = None
        self.seconds = 0.0
        self._sampled = -float("inf")

    def follow(self, controller: Controller) -> None:
        """Look at this controller from now on; it knows of no tasks yet."""
        self.runs.follow(controller)

    def leave(self, plugin: Management) -> None:
        """Let go of the controller."""
        try:
            self.runs.leave(plugin)
        except Exception as error:  # noqa: BLE001 - nobody may suffer from being looked at
            self.failed("the end of a run", error)

    def drop(self) -> None:
        """Let go of the controller, and of what it was in."""
        self.runs.drop()

    def about_to_change(self, plugin: Management) -> None:
        """Note that something else is to decide from now on."""
        self.runs.about_to_change(plugin)

    def look(self, plugin: Management) -> None:
        """Take a sample if it is time for one, and see whether a run is over."""
        now = time.monotonic()
        try:
            with self.timed():
                self.runs.look(plugin, now)
                if plugin.controller is not None and now - self._sampled >= self.interval:
                    self._sampled = now
                    self.history.take(plugin, time.time())
        except Exception as error:  # noqa: BLE001 - nobody may suffer from being looked at
            self.failed("a look", error)

    @contextmanager
    def timed(self) -> Iterator[None]:
        """Count how long something takes."""
        # Of the processor: who waits for another thread costs the scheduler nothing.
        started = time.thread_time()
        try:
            yield
        finally:
            self.seconds += time.thread_time() - started

    def failed(self, where: str, error: Exception) -> None:
        """Count an error, and log the first one."""
        self.problems += 1
        self.last_problem = f"{where}: {type(error).__name__}: {error}"
        if self.problems == 1:
            logger.error("mlsched: dashboard: error in %s; it goes on", where, exc_info=error)

    def close(self) -> None:
        """End what runs beside."""
        self.runs.close()

    def snapshot(self) -> dict[str, Any]:
        """Describe it for `status()`."""
        return {
            "samples": len(self.history.samples),
            "lookers": self.runs.lookers,
            "seconds": self.seconds,
            "runs": self.runs.snapshot(),
            "problems": self.problems,
            "last_problem": self.last_problem,
        }
