"""Has a process beside the scheduler learn from what runs, and hears what it comes to.

When a run is over, its trace goes to the spool, in a thread, and the process is told to look. It
answers what became of the run, what happened to models, and what there is to choose from now. That
counts from the next choice on (`model_serving`). Whatever goes wrong is counted and shown; the
network that decides goes on deciding.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final

from dask_mlsched.core.graph_message import FAILED
from dask_mlsched.core.message_frame import Frame
from dask_mlsched.core.model_choice import CATALOGUE, Catalogue, ModelChooser
from dask_mlsched.core.training_message import COLLECTED, HAPPENED, Collected, Happened, Look
from dask_mlsched.extension.episodes import LEAST_TASKS, Episodes
from dask_mlsched.extension.model_events import LogEvent, ModelEvents
from dask_mlsched.extension.model_serving import ModelServing
from dask_mlsched.extension.problems import Problems
from dask_mlsched.extension.side_process import SideProcess
from dask_mlsched.extension.spool import Spool

if TYPE_CHECKING:
    from dask_mlsched.config import Config
    from dask_mlsched.extension.recording import Ended

#: By the module's name: this layer does not import that one.
COMMAND: Final = (sys.executable, "-m", "dask_mlsched.benchmarks.online_trainer")

#: A process that ends by itself is started again so often, until it has done something.
RESTARTS: Final = 3


class OnlineTraining:
    """Owns the process and the spool, and what has models chosen.

    Made in the scheduler's event loop, where all of it runs but the writing of files. Gives back
    its process by `close`.

    Parameters
    ----------
    config
        Whose training is not off.
    chooser
        See `ModelServing`.
    log_event
        Takes what happens to models, as structured events.
    command
        What the process runs.
    """

    #: Where a run ends.
    episodes: Episodes
    #: What there is to choose from, and what is chosen.
    models: ModelServing
    #: What went wrong.
    problems: Problems

    def __init__(
        self,
        config: Config,
        chooser: ModelChooser | None,
        log_event: LogEvent,
        command: Sequence[str] | None = None,
    ) -> None:
        assert config.training_directory is not None  # Config.read
        self._look = Look(
            config.training_directory,
            config.training == "background",
            config.training_capacity,
            config.training_update_after,
            config.training_seconds,
            asdict(config.models),
        ).frame()
        self._mode = config.training
        self._directory = config.training_directory
        self._command = COMMAND if command is None else command
        self._spool = Spool(config.training_directory)
        self.episodes = Episodes()
        self.problems = Problems()
        self._events = ModelEvents(log_event)
        self.models = ModelServing(chooser, self.problems, self._events)
        #: Called after there is something else to choose from.
        self.catalogue_came: Callable[[], None] = lambda: None
        self._process: SideProcess | None = None
        self._restarts = 0
        self._closed = False
        #: Runs by what became of them; "dropped" are those that waited too long.
        self._runs = dict.fromkeys(("spooled", "collected", "rejected", "dropped"), 0)
        self._last_rejection: str | None = None
        self._decisions = 0
        #: Files that are being written.
        self._writing: set[asyncio.Future[int]] = set()
        try:
            if self._spool.anything():
                self._nudge()
        except OSError as error:
            self.problems.add(f"the folder of the training cannot be read: {error}")

    # Runs

    def take(self, ended: Ended, *, at_once: bool) -> None:
        """Put the trace of a run that is over into the spool, if it says enough.

        Parameters
        ----------
        at_once
            Whether to wait until it is written: at the end there is no later.
        """
        if ended.begun < LEAST_TASKS:
            return
        if at_once:
            try:
                self._taken(self._spool.add(ended.read()))
            except OSError as error:
                self._not_written(error)
            return
        loop = asyncio.get_running_loop()
        writing = loop.run_in_executor(None, lambda: self._spool.add(ended.read()))
        self._writing.add(writing)
        writing.add_done_callback(self._written)

    def _written(self, writing: asyncio.Future[int]) -> None:
        self._writing.discard(writing)
        if writing.cancelled():
            return
        error = writing.exception()
        if error is not None:
            self._not_written(error)
            return
        self._taken(writing.result())
        if not self._closed:
            self._nudge()

    def _taken(self, dropped: int) -> None:
        self._runs["spooled"] += 1
        self._runs["dropped"] += dropped

    def _not_written(self, error: BaseException) -> None:
        self.problems.add(f"a run cannot be written to the folder of the training: {error}")

    # The process

    def _nudge(self) -> None:
        """Have the process look; start it if there is none."""
        if self._process is None:
            try:
                self._process = SideProcess("training", self._command, self._hear, self._ended)
            except OSError as error:
                self.problems.add(f"the training's process cannot be started: {error}")
                return
        self._process.ask(self._look)

    def _ended(self, how: str) -> None:
        self._process = None
        self.problems.add(f"the training's process: {how}")
        if self._restarts < RESTARTS:
            self._restarts += 1
            self._nudge()

    @property
    def pid(self) -> int | None:
        """The number of the process; None if there is none."""
        return None if self._process is None else self._process.pid

    def close(self) -> None:
        """End the process; calling it again does nothing. What waits is for the next one."""
        self._closed = True
        if self._process is not None:
            self._process.close()
            self._process = None

    def _hear(self, frame: Frame) -> None:
        try:
            if frame.kind == COLLECTED:
                self._collected(Collected.from_frame(frame))
            elif frame.kind == HAPPENED:
                self._events.happened(Happened.from_frame(frame))
            elif frame.kind == CATALOGUE:
                self.models.take(Catalogue.from_frame(frame))
                self.catalogue_came()
            elif frame.kind == FAILED:
                self.problems.add(f"the training's process: {frame.fields.get('error')}")
        except ValueError as error:  # a FrameError is one
            self.problems.add(f"an answer of the training's process: {error}")

    def _collected(self, answer: Collected) -> None:
        # Nothing else says so: what it tells as it starts must not have it started for ever.
        self._restarts = 0
        self._decisions = answer.decisions
        if answer.rejected is None:
            self._runs["collected"] += 1
        else:
            self._runs["rejected"] += 1
            self._last_rejection = answer.rejected

    def snapshot(self) -> dict[str, Any]:
        """Describe it for `status()`."""
        return {
            "mode": self._mode,
            "directory": self._directory,
            "running": self._process is not None,
            "restarts": self._restarts,
            "runs": dict(self._runs),
            "last_rejection": self._last_rejection,
            "decisions": self._decisions,
            **self.models.snapshot(),
            **self._events.snapshot(),
            **self.problems.snapshot(),
        }
