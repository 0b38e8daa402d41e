"""Has a process beside the scheduler learn from what runs, and serves what it comes to.

When a run is over, its trace goes to the spool, in a thread, and the process is told to look. It
answers what became of the run, of an update, and which version of the model is to serve. That is
served from the next run on: never in the middle of one, so that a run says what one network did.
Whatever goes wrong is counted and shown; the network that decides goes on deciding.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from dask_mlsched.core import features
from dask_mlsched.core.graph_message import FAILED
from dask_mlsched.core.message_frame import Frame, FrameError
from dask_mlsched.core.training_message import (
    COLLECTED,
    UPDATED,
    VERSION,
    Collected,
    Look,
    Updated,
    Version,
)
from dask_mlsched.extension.episodes import LEAST_TASKS, Episodes
from dask_mlsched.extension.problems import Problems
from dask_mlsched.extension.side_process import SideProcess
from dask_mlsched.extension.spool import Spool

if TYPE_CHECKING:
    from dask_mlsched.config import Config
    from dask_mlsched.core.planners.learned import Learned
    from dask_mlsched.extension.recording import Ended

#: By the module's name: this layer does not import that one.
COMMAND: Final = (sys.executable, "-m", "dask_mlsched.benchmarks.online_trainer")

#: A process that ends by itself is started again so often, until it has done something.
RESTARTS: Final = 3


class OnlineTraining:
    """Owns the process and the spool, and knows what serves.

    Made in the scheduler's event loop, where all of it runs but the writing of files. Gives back
    its process by `close`.

    Parameters
    ----------
    config
        Whose training is not off.
    command
        What the process runs.
    """

    #: Where a run ends.
    episodes: Episodes
    #: The latest version that was told; None before any.
    newest: Version | None
    #: The number of the version that serves; None if the policy takes none.
    in_use: int | None
    #: What went wrong.
    problems: Problems

    def __init__(self, config: Config, command: Sequence[str] | None = None) -> None:
        assert config.training_directory is not None  # Config.read
        self._look = Look(
            config.training_directory,
            config.training == "background",
            config.training_capacity,
            config.training_update_after,
            config.training_seconds,
        ).frame()
        self._mode = config.training
        self._directory = config.training_directory
        self._command = COMMAND if command is None else command
        self._spool = Spool(config.training_directory)
        self.episodes = Episodes()
        self.newest = None
        self.in_use = None
        self.problems = Problems()
        self._policy: Learned | None = None
        self._process: SideProcess | None = None
        self._restarts = 0
        self._closed = False
        #: Runs by what became of them; "dropped" are those that waited too long.
        self._runs = dict.fromkeys(("spooled", "collected", "rejected", "dropped"), 0)
        self._last_rejection: str | None = None
        self._decisions = 0
        self._last_update: Updated | None = None
        #: Files that are being written.
        self._writing: set[asyncio.Future[int]] = set()
        try:
            if self._spool.anything():
                self._nudge()
        except OSError as error:
            self.problems.add(f"the folder of the training cannot be read: {error}")

    # What serves

    def serve(self, policy: Learned | None) -> None:
        """Give this policy the newest version, now and between runs; None: it takes none."""
        self._policy = policy
        self.in_use = None if policy is None else 0
        self.serve_newest()

    @property
    def has_news(self) -> bool:
        """Whether there is a version that is to serve and does not yet."""
        return (
            self._policy is not None
            and self.newest is not None
            and self.newest.number != self.in_use
        )

    def serve_newest(self) -> None:
        """Have the newest version decide from now on; not to be called in the middle of a run."""
        if self._policy is None or self.newest is None or not self.has_news:
            return
        self._policy.serve(self.newest.network, may_hold=True)
        self.in_use = self.newest.number

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
            elif frame.kind == UPDATED:
                self._restarts = 0
                self._last_update = Updated.from_frame(frame)
            elif frame.kind == VERSION:
                self._told(Version.from_frame(frame))
            elif frame.kind == FAILED:
                self.problems.add(f"the training's process: {frame.fields.get('error')}")
        except FrameError as error:
            self.problems.add(f"an answer of the training's process: {error}")

    def _collected(self, answer: Collected) -> None:
        self._restarts = 0
        self._decisions = answer.decisions
        if answer.rejected is None:
            self._runs["collected"] += 1
        else:
            self._runs["rejected"] += 1
            self._last_rejection = answer.rejected

    def _told(self, version: Version) -> None:
        found = version.network.mean.size
        if found != features.COUNT:
            msg = (
                f"a network of {found} features; expected {features.COUNT}; "
                "start the scheduler again if another version was installed meanwhile"
            )
            raise FrameError(msg)
        self.newest = version

    def snapshot(self) -> dict[str, Any]:
        """Describe it for `status()`."""
        update = self._last_update
        return {
            "mode": self._mode,
            "directory": self._directory,
            "running": self._process is not None,
            "restarts": self._restarts,
            "runs": dict(self._runs),
            "last_rejection": self._last_rejection,
            "decisions": self._decisions,
            "version": self.in_use,
            "last_update": None
            if update is None
            else {
                "accepted": update.accepted,
                "reason": update.reason,
                "figures": dict(update.figures),
            },
            **self.problems.snapshot(),
        }
