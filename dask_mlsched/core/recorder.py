"""Records what a controller does: collects records in memory, and writes them in batches."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, Protocol

from dask_mlsched.core import events as ev
from dask_mlsched.core.chooser import Settings
from dask_mlsched.core.controller import Controller, IllegalEvent
from dask_mlsched.core.guard import PolicyGuard
from dask_mlsched.core.policies import Policy, Situation, propensity
from dask_mlsched.core.served import Served
from dask_mlsched.core.trace import Decision, Header, Names, NetworkServed, PolicySwitched
from dask_mlsched.core.trace_codec import MAGIC, encode_frame
from dask_mlsched.core.trace_rows import End, Readings, Record

#: So many records are encoded at once: that takes a few milliseconds.
_BATCH: Final = 512

#: Room that is kept for the end, which says why in so many characters.
_END_BYTES: Final = 1024
_WHY_LENGTH: Final = 200

#: Readings of the stopwatch are whole nanoseconds, so that they come back as they were.
NANOSECOND: Final = 1e-9


class NameSource(Protocol):
    """Knows what the numbers in events stand for."""

    def task_name(self, number: int) -> str:
        """Return a task's key as text."""
        ...

    def prefix_name(self, number: int) -> str:
        """Return a prefix."""
        ...

    def worker_name(self, number: int) -> str:
        """Return a worker's address."""
        ...


class Recorder:
    """Takes in what one controller does and hands it on as the bytes of a trace.

    Whatever goes wrong ends the recording and nothing else.

    Parameters
    ----------
    header
        What the controller is made of.
    write
        Takes the next bytes of the trace; may raise.
    limit
        So many bytes are written at most; what comes after is left out, and the trace says so.
    """

    #: What numbers stand for; without it they have no names.
    names: NameSource | None
    #: Bytes written, and events in them or on their way there; of these, tasks that began.
    nbytes: int
    events: int
    begun: int
    #: Why recording stopped before the run did; None if it goes on or ended in order.
    truncated: str | None
    #: The error, if one was why.
    problem: str | None

    def __init__(self, header: Header, write: Callable[[bytes], None], *, limit: int) -> None:
        self.names = None
        self.nbytes = 0
        self.events = 0
        self.begun = 0
        self.truncated = None
        self.problem = None
        self._write = write
        self._limit = limit
        self._going_on = True
        self._records: list[Record] = []
        #: What the policy decides by, as it was told last.
        self._served: Served | None = None
        self._named_prefixes: set[int] = set()
        #: Of the event at hand.
        self._decisions: list[Decision] = []
        self._readings: list[int] = []
        self._append(lambda: MAGIC + encode_frame([header]))

    @property
    def going_on(self) -> bool:
        """Whether what comes is recorded."""
        return self._going_on

    # What the controller tells

    def handled(self, event: ev.Event, instructions: Sequence[ev.Instruction]) -> None:
        """Record an event and what came of it."""
        if not self._going_on:
            return
        self.events += 1
        self.begun += isinstance(event, ev.TaskStarted)
        records = self._records
        if self.names is not None and isinstance(event, ev.GraphArrived | ev.WorkerJoined):
            try:
                records.append(self._names_in(event, self.names))
            except Exception as error:  # noqa: BLE001 - a run must not fail because it is recorded
                self._failed(error)
                return
        records.append(event)
        if self._readings or instructions:
            records += self._decisions
            records += instructions
            records.append(Readings(tuple(self._readings)))
            self.discard()
        if len(records) >= _BATCH:
            self.flush()

    def discard(self) -> None:
        """Drop what was noted for an event that, as it turned out, changed nothing."""
        self._decisions.clear()
        self._readings.clear()

    def chosen(self, situation: Situation, choice: int | None, guard: PolicyGuard) -> None:
        """Note a choice of the policy, for the event at hand."""
        if not self._going_on:
            return
        if choice is None:
            decision = Decision(situation, None, None, guard.seconds, guard.last_failure)
        else:
            chance = _propensity(guard.policy, situation, choice)
            decision = Decision(situation, choice, chance, guard.seconds)
        self._decisions.append(decision)

    def stopwatch(self, stopwatch: Callable[[], float]) -> Callable[[], float]:
        """Return a stopwatch whose readings are noted, in whole nanoseconds from now on."""
        zero = stopwatch()
        # Bound here: it is read several times a decision.
        note = self._readings.append

        def read() -> float:
            nanoseconds = round((stopwatch() - zero) * 1e9)
            if self._going_on:
                note(nanoseconds)
            return nanoseconds * NANOSECOND

        return read

    def policy_switched(self, policy: str) -> None:
        """Record that another policy is asked from now on."""
        if self._going_on:
            self._records.append(PolicySwitched(policy))
        # A replay makes it as it is configured, whatever the one before it decided by.
        self._served = None

    def decides_by(self, served: Served | None) -> None:
        """Record what the policy decides by, if it is another than before; None for no network."""
        if served is None or served is self._served or not self._going_on:
            return
        self._served = served
        self._records.append(NetworkServed.of(served))

    def _names_in(self, event: ev.GraphArrived | ev.WorkerJoined, names: NameSource) -> Names:
        if isinstance(event, ev.WorkerJoined):
            return Names(workers=((event.worker, names.worker_name(event.worker)),))
        new = {spec.prefix for spec in event.tasks} - self._named_prefixes
        self._named_prefixes |= new
        return Names(
            tasks=tuple((spec.task, names.task_name(spec.task)) for spec in event.tasks),
            prefixes=tuple((prefix, names.prefix_name(prefix)) for prefix in sorted(new)),
        )

    # Writing

    def flush(self) -> None:
        """Write what has come since the last time."""
        if not self._going_on or not self._records:
            return
        records, self._records = self._records, []
        self._append(lambda: encode_frame(records))

    def close(self) -> None:
        """Write what is left, and the end."""
        self.flush()
        if self._going_on:
            self._append(lambda: self.end)
            self._going_on = False

    @property
    def end(self) -> bytes:
        """The last bytes of the trace, as it stands."""
        return encode_frame([End(self.truncated)])

    def stop(self, why: str) -> None:
        """End the recording, though the run goes on; what was not written yet is lost."""
        if not self._going_on:
            return
        self._going_on = False
        self.truncated = why[:_WHY_LENGTH]
        self._records = []
        self.discard()
        try:
            self._write(self.end)
            self.nbytes += len(self.end)
        except Exception as error:  # noqa: BLE001 - a full disk may be why we stop
            self.problem = self.problem or _said(error)

    def _append(self, encoded: Callable[[], bytes]) -> None:
        """Write some bytes, if there is room; whatever goes wrong ends the recording."""
        try:
            data = encoded()
            room = self._limit - self.nbytes - (_END_BYTES if self._going_on else 0)
            if len(data) > room:
                self.stop(f"the limit of {self._limit} bytes is reached")
                return
            self._write(data)
            self.nbytes += len(data)
        except Exception as error:  # noqa: BLE001 - a run must not fail because it is recorded
            self._failed(error)

    def _failed(self, error: Exception) -> None:
        self.problem = _said(error)
        self.stop(f"recording failed: {self.problem}")


class RecordedController(Controller):
    """A controller that tells a recorder what it is told and what it says."""

    def __init__(
        self,
        policy: Policy | None,
        settings: Settings,
        stopwatch: Callable[[], float],
        recorder: Recorder,
    ) -> None:
        super().__init__(policy, settings, recorder.stopwatch(stopwatch))
        self.chooser.watcher = recorder.chosen
        self.recorder = recorder

    def handle(self, event: ev.Event) -> list[ev.Instruction]:
        """Take in one event, and record it if it was legal; see `Controller.handle`."""
        if type(event) is ev.Decide and (guard := self.chooser.guard) is not None:
            # Asked here, since whoever changes it knows nothing of recordings.
            self.recorder.decides_by(getattr(guard.policy, "serves", None))
        try:
            instructions = super().handle(event)
        except IllegalEvent:
            self.recorder.discard()
            raise
        except Exception as error:
            # Half of it may have happened; no replay could go on from here.
            self.recorder.stop(f"the controller failed: {_said(error)}")
            raise
        self.recorder.handled(event, instructions)
        return instructions


def _propensity(policy: Policy, situation: Situation, choice: int) -> float | None:
    try:
        return float(propensity(policy, situation, choice))
    except Exception:  # noqa: BLE001 - a policy is foreign code and may raise anything
        return None


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"
