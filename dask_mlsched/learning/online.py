"""Learning from a cluster while it runs: its runs become decisions, and families get their models.

The scheduler leaves each run as a trace in a folder and asks to have a look. Its decisions with
what each action would have cost go into the replay buffer; what it came to says what models are
worth (`lifelong`). Then models are made, merged, promoted, sent back. The scheduler is told what
there is to choose from, each time that changes. All that happens is written down in the folder, so
that a process that is killed at any time is followed by one that goes on.

Nothing here is part of a scheduler: it runs in a process of its own, see
`dask_mlsched.benchmarks.online_trainer`.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from dask_mlsched.core import message_frame
from dask_mlsched.core.graph_message import FAILED, READY
from dask_mlsched.core.message_frame import Frame, FrameError
from dask_mlsched.core.model_choice import BASELINE
from dask_mlsched.core.network import Network
from dask_mlsched.core.thresholds import Thresholds
from dask_mlsched.core.training_message import LOOK, Collected, Happened, Look
from dask_mlsched.learning.collected_run import collect
from dask_mlsched.learning.decisions import Decisions
from dask_mlsched.learning.default_model import default_network
from dask_mlsched.learning.ended_run import EndedRun
from dask_mlsched.learning.family import Family
from dask_mlsched.learning.library import Library
from dask_mlsched.learning.lifelong import Lifelong
from dask_mlsched.learning.model_ref import LibraryError
from dask_mlsched.learning.one_line import one_line
from dask_mlsched.learning.outcome import CHALLENGE, Effort, Outcome
from dask_mlsched.learning.shipped import Shipped
from dask_mlsched.learning.training_folder import TrainingFolder

#: Events of runs, in the library's log.
COLLECTED_RUN: Final = "collected"
REJECTED_RUN: Final = "rejected run"
_OF_RUNS: Final = frozenset({COLLECTED_RUN, REJECTED_RUN})
#: One that tells of an attempt at a generalist, after which decisions are counted from 0 again.
ATTEMPT: Final = "generalist tried"
FAILED_ATTEMPT: Final = "failed"

#: Things that are done at one look, at most: the runs that came meanwhile are to be taken in.
MOST_AT_ONCE: Final = 4


class Online:
    """Learns from one folder.

    Parameters
    ----------
    tell
        Takes the frames that come back.
    ship
        Makes the instances that ship; called before the first generalist, for it takes seconds.
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
        self._life: Lifelong | None = None
        #: Catalogues that were told; and the number of the library's last event by then.
        self._catalogues = 0
        self._told_at = -1
        #: Decisions since the last attempt at a generalist.
        self._new = 0
        #: Versions of which it was told that they cannot be loaded.
        self._damaged: set[str] = set()

    def close(self) -> None:
        """Give the folder back."""
        if self._folder is not None:
            self._folder.close()
            self._folder = self._life = None
            self._told_at = -1

    def look(self, asked: Look) -> None:
        """Collect what has come, and do what there is reason to.

        Raises
        ------
        OSError
            If the folder cannot be read or written.
        dask_mlsched.learning.replay_file.ReplayError
            If another process has the folder, or its decisions cannot be used.
        dask_mlsched.learning.model_ref.LibraryError
            If its library cannot be used.
        ValueError
            If a threshold is none.
        """
        folder, life = self._opened(asked)
        self._tell_catalogue(folder, life)
        for path in folder.runs():
            self._collect(folder, life, path)
        if asked.update:
            self._work(folder, life, asked)

    def _opened(self, asked: Look) -> tuple[TrainingFolder, Lifelong]:
        if self._folder is not None and not self._folder.library.path.is_dir():
            self.close()  # somebody took it away: begin a new one
        if self._folder is None or self._life is None:
            thresholds = Thresholds.of(asked.thresholds)
            path = Path(asked.directory).expanduser()
            folder = TrainingFolder.open(path, asked.capacity, now=self._now)
            try:
                life = Lifelong(
                    folder.library, folder.families, thresholds, self._ship, self._tell_outcome
                )
            except BaseException:
                folder.close()  # or nobody could open it again, this process included
                raise
            self._folder, self._life = folder, life
            self._new = _decisions_since_attempt(folder)
            for problem in folder.families.problems:
                self._failed(problem)
        return self._folder, self._life

    def _tell_catalogue(
        self, folder: TrainingFolder, life: Lifelong, *, anyway: bool = False
    ) -> None:
        """Say what there is to choose from, if anything happened; somebody may have by command."""
        # That a run was collected is told when it is taken in.
        events = [e.sequence for e in folder.library.events() if e.kind not in _OF_RUNS]
        last = max(events, default=0)
        if anyway or last != self._told_at:
            self._tell_damaged(folder.library)
            self._catalogues += 1
            self._tell(life.catalogue(self._catalogues).frame())
            self._told_at = last

    def _tell_damaged(self, library: Library) -> None:
        """Say once of each version that is to serve and cannot why that is so."""
        for alias, ref in library.aliases().items():
            try:
                library.network(ref)
            except LibraryError as error:
                if ref not in self._damaged:
                    self._damaged.add(ref)
                    self._failed(f"{alias} cannot serve: {error}")

    # Runs

    def _collect(self, folder: TrainingFolder, life: Lifelong, path: Path) -> None:
        """Take a run in, and its file away."""
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            return  # where there are too many, the scheduler takes the oldest ones away
        library = folder.library
        families: list[str] = []

        def take_in(ended: EndedRun) -> None:
            family = life.ran(ended)
            families.extend([] if family is None else [family.name])
            # Beliefs are others now, whatever else has happened.
            self._tell_catalogue(folder, life, anyway=True)

        run = collect(
            folder.buffer, data, path.name, self._rollout(life), library.find, take_in, self._go_on
        )
        found = run.labels
        self._new += found.added
        fields = {**run.fields, "family": families[0] if families else None}
        if found.rejected is None:
            library.note(COLLECTED_RUN, decisions=found.added, **fields)
        else:
            library.note(REJECTED_RUN, why=one_line(found.rejected), **fields)
        path.unlink(missing_ok=True)
        self._tell(Collected(found.added, found.rejected, len(folder.buffer)).frame())

    def _rollout(self, life: Lifelong) -> Network:
        """Return the network by which runs go on after an action that is judged."""
        operations = life.operations
        champion = operations.champion
        usable = champion != BASELINE and operations.is_there(champion)
        return operations.network(champion) if usable else default_network()

    # Models

    def _work(self, folder: TrainingFolder, life: Lifelong, asked: Look) -> None:
        def decisions(family: Family) -> Decisions | None:
            programs = [int(program, 16) for program in family.fingerprints]
            records = folder.buffer.records(labelled=True)
            own = records[[int(each) in programs for each in records["family"]]]
            return Decisions.from_records(own) if len(own) else None

        for _ in range(MOST_AT_ONCE):
            if folder.runs():
                return  # the next look is near: first what was run
            outcome = self._attempted(
                folder, lambda: life.work(lambda: self._effort(asked), decisions=decisions)
            )
            self._tell_catalogue(folder, life)
            if outcome is None:
                break
        if self._new >= asked.update_after and life.operations.challenger is None:
            self._new = 0
            library = folder.library
            library.note(ATTEMPT)
            labelled = folder.buffer.records(labelled=True)
            own = Decisions.from_records(labelled) if len(labelled) else None
            self._attempted(folder, lambda: life.generalise(self._effort(asked), own))
            self._tell_catalogue(folder, life)

    def _attempted(
        self, folder: TrainingFolder, attempt: Callable[[], Outcome | None]
    ) -> Outcome | None:
        try:
            return attempt()
        except OSError:
            raise  # about the folder, or nobody listens any more: not about the attempt
        except Exception as error:
            # Tried again after more runs, not at once.
            reason = one_line(f"{type(error).__name__}: {error}")
            folder.library.note(FAILED_ATTEMPT, why=reason)
            self._tell_outcome(Outcome(FAILED_ATTEMPT, reason))
            raise

    def _effort(self, asked: Look) -> Effort:
        began = self._clock()

        def elapsed() -> float:
            self._go_on()
            return self._clock() - began

        return Effort(elapsed, asked.seconds)

    def _tell_outcome(self, outcome: Outcome) -> None:
        self._tell(
            Happened(
                outcome.event, outcome.reason, outcome.model, outcome.family, outcome.figures
            ).frame()
        )

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
    """Count the decisions that no attempt at a generalist has seen yet."""
    count = 0
    for event in folder.library.events():
        if event.kind in (ATTEMPT, CHALLENGE):
            count = 0
        elif event.kind == COLLECTED_RUN:
            count += int(event.fields.get("decisions", 0))
    return count
