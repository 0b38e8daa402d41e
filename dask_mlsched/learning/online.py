"""Learning from a cluster while it runs: its runs become decisions, and now and then a network.

The scheduler leaves each run as a trace in a folder and asks to have a look. Its decisions with
what each action would have cost go into the replay buffer, the first run of each program into the
frozen suite. After so many new decisions a challenger is made; if the gate lets it through, it is
the next version. All that happens is written down in the folder, so that a process that is killed
at any time is followed by one that goes on.

Nothing here is part of a scheduler: it runs in a process of its own, see
`dask_mlsched.benchmarks.online_trainer`.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from dask_mlsched.core import message_frame
from dask_mlsched.core.graph_message import FAILED, READY
from dask_mlsched.core.message_frame import Frame, FrameError
from dask_mlsched.core.network import Network
from dask_mlsched.core.training_message import LOOK, Collected, Look, Updated, Version
from dask_mlsched.learning.collected_run import collect
from dask_mlsched.learning.model_versions import ModelVersion
from dask_mlsched.learning.training_folder import TrainingFolder
from dask_mlsched.learning.update import Attempt, Shipped, attempt_update

#: Events after which new decisions are counted from 0 again.
_ATTEMPTS: Final = frozenset({"accepted", "refused", "failed"})


class Online:
    """Learns from one folder.

    Parameters
    ----------
    tell
        Takes the frames that come back.
    ship
        Makes the instances that ship; called before the first update, for it takes seconds.
    abandoned
        Tells whether nobody listens any more; asked often.
    clock, now
        Seconds; and seconds since the epoch.
    """

    def __init__(
        self,
        tell: Callable[[Frame], None],
        ship: Callable[[], Shipped],
        *,
        abandoned: Callable[[], bool] = lambda: False,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._tell = tell
        self._ship = ship
        self._abandoned = abandoned
        self._clock = clock
        self._now = now
        self._folder: TrainingFolder | None = None
        #: What serves, of which versions.
        self._champion: ModelVersion | None = None
        self._numbers: list[int] = []
        self._shipped: Shipped | None = None
        #: Decisions since the last update.
        self._new = 0

    def close(self) -> None:
        """Give the folder back."""
        if self._folder is not None:
            self._folder.close()
            self._folder = None

    def look(self, asked: Look) -> None:
        """Collect what has come, and update if there is reason to.

        Raises
        ------
        OSError
            If the folder cannot be read or written.
        dask_mlsched.learning.replay_file.ReplayError
            If another process has the folder, or its decisions cannot be used.
        """
        folder = self._opened(asked)
        champion = self._follow_versions(folder)
        for path in folder.runs():
            self._collect(folder, path, champion)
        if asked.update and self._new >= asked.update_after:
            self._update(folder, asked)

    def _opened(self, asked: Look) -> TrainingFolder:
        if self._folder is None:
            folder = TrainingFolder.open(Path(asked.directory).expanduser(), asked.capacity)
            self._folder = folder
            self._new = _decisions_since_attempt(folder)
            for problem in folder.suite.problems:
                self._failed(problem)
        return self._folder

    def _follow_versions(self, folder: TrainingFolder) -> ModelVersion:
        """Serve the newest version, which somebody may have taken away."""
        numbers = folder.versions.numbers()
        champion = self._champion
        if champion is None or numbers != self._numbers:
            self._numbers = numbers
            champion = folder.versions.newest()
            for problem in champion.problems:
                self._failed(f"{problem}; version {champion.number} is used")
            self._champion = champion
            self._tell(Version(champion.number, champion.network).frame())
        return champion

    # Runs

    def _collect(self, folder: TrainingFolder, path: Path, champion: ModelVersion) -> None:
        """Add the decisions of a run, and take its file away."""
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            return  # where there are too many, the scheduler takes the oldest ones away
        run = collect(folder, data, path.name, champion.network, self._go_on)
        found = run.labels
        self._new += found.added
        if found.rejected is None:
            folder.journal.write("collected", self._now(), decisions=found.added, **run.fields)
        else:
            folder.journal.write("rejected", self._now(), reason=found.rejected, **run.fields)
        path.unlink(missing_ok=True)
        self._tell(Collected(found.added, found.rejected, len(folder.buffer)).frame())

    # Updates

    def _update(self, folder: TrainingFolder, asked: Look) -> None:
        """Make a challenger, and put it to the gate; what happens is written down."""
        decisions, self._new = self._new, 0
        champion = self._follow_versions(folder)
        began = self._clock()
        try:
            attempt = self._attempted(folder, champion.network, asked)
        except OSError:
            raise  # about the folder, or nobody listens any more: not about the update
        except Exception as error:
            # Tried again after as many decisions, not at once.
            reason = f"the update failed: {type(error).__name__}: {error}"
            folder.journal.write("failed", self._now(), reason=reason)
            self._tell(Updated(accepted=False, reason=reason, figures={}).frame())
            raise
        figures: dict[str, float] = {
            "decisions": decisions,
            "seconds": round(self._clock() - began, 1),
            **attempt.figures,
        }
        if attempt.network is not None and attempt.objection is None:
            self._accept(folder, champion, attempt, figures)
            return
        reason = attempt.objection or ""
        folder.journal.write(
            "refused", self._now(), reason=reason, made_by=attempt.made_by, figures=figures
        )
        self._tell(Updated(accepted=False, reason=reason, figures=figures).frame())

    def _attempted(self, folder: TrainingFolder, champion: Network, asked: Look) -> Attempt:
        if self._shipped is None:
            self._shipped = self._ship()
        began = self._clock()

        def elapsed() -> float:
            self._go_on()
            return self._clock() - began

        return attempt_update(
            champion,
            folder.suite.instances,
            self._shipped,
            folder.buffer.records(labelled=True),
            elapsed=elapsed,
            seconds=asked.seconds,
        )

    def _accept(
        self,
        folder: TrainingFolder,
        champion: ModelVersion,
        attempt: Attempt,
        figures: dict[str, float],
    ) -> None:
        assert attempt.network is not None
        events = folder.journal.read()
        used = [int(each.get("version", 0)) for each in events if each["event"] == "accepted"]
        number = 1 + max((*folder.versions.numbers(), *used, 0))
        reason = f"{figures['overall']:.4f} of the makespan of version {champion.number}"
        card = {
            "parent": str(champion.number),
            "made_by": str(attempt.made_by),
            "reason": reason,
            "figures": json.dumps(figures),
            "date": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(self._now())),
        }
        folder.versions.add(number, attempt.network, card)
        folder.journal.write(
            "accepted",
            self._now(),
            version=number,
            parent=champion.number,
            made_by=attempt.made_by,
            reason=reason,
            figures=figures,
        )
        self._tell(Updated(accepted=True, reason=reason, figures=figures).frame())
        self._follow_versions(folder)

    def _go_on(self) -> None:
        if self._abandoned():
            raise BrokenPipeError("the scheduler is gone")

    def _failed(self, problem: str) -> None:
        self._tell(Frame(FAILED, {"error": problem}))


def serve(
    take: Callable[[int], bytes],
    tell: Callable[[Frame], None],
    ship: Callable[[], Shipped],
    *,
    abandoned: Callable[[], bool] = lambda: False,
) -> None:
    """Look as often as it is asked for, until the input ends.

    Parameters
    ----------
    take
        Returns so many of the next bytes of a stream of frames; fewer only at its end.
    tell, ship, abandoned
        As `Online` takes them.

    Raises
    ------
    FrameError
        If the stream holds anything but frames: nothing behind that can be trusted.
    BrokenPipeError
        If nobody listens any more.
    """
    online = Online(tell, ship, abandoned=abandoned)
    tell(Frame(READY))
    try:
        while (frame := message_frame.read(take)) is not None:
            try:
                online.look(_look(frame))
            except BrokenPipeError:
                raise
            except Exception as error:  # noqa: BLE001 - the next look may fare better
                tell(Frame(FAILED, {"error": f"{type(error).__name__}: {error}"}))
    finally:
        online.close()


def _look(frame: Frame) -> Look:
    if frame.kind != LOOK:
        msg = f"a frame of kind {frame.kind}; expected {LOOK}, a look"
        raise FrameError(msg)
    return Look.from_frame(frame)


def _decisions_since_attempt(folder: TrainingFolder) -> int:
    """Count the decisions that no update has seen yet."""
    count = 0
    for event in folder.journal.read():
        if event["event"] in _ATTEMPTS:
            count = 0
        elif event["event"] == "collected":
            count += int(event.get("decisions", 0))
    return count
