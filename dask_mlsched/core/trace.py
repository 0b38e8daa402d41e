"""What a run did: everything that a controller was told, was asked, and answered, in order.

A trace begins where its controller does, without tasks or workers, so it can be
understood by itself: `replay` gives the same events to a new controller, which
then says the same; `Trace.dag` is the graph with the sizes and times that were
measured. `recorder` makes traces, `trace_codec` turns them into bytes and back.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Self, TypeAlias

import numpy as np

from dask_mlsched.core import events as ev
from dask_mlsched.core.chooser import Settings
from dask_mlsched.core.dag import Dag
from dask_mlsched.core.measured import MeasuredGraph
from dask_mlsched.core.network import InvalidNetworkError, Network, check
from dask_mlsched.core.policies import Situation
from dask_mlsched.core.served import Served

FORMAT: Final = "mlsched-trace"
#: 2 since traces tell of networks; what is in one of version 1 means the same in both.
VERSION: Final = 2
READABLE: Final = (1, 2)


class TraceError(ValueError):
    """Bytes that are no trace, or one of another version: one line with what is wrong."""


@dataclass(frozen=True, slots=True)
class Header:
    """What the controller of a trace was made of."""

    #: Version of this package that made the recording.
    package: str
    #: When it began, in seconds since 1970.
    started: float
    #: As it was configured: a name, or a dotted path. Its seed is in the settings.
    policy: str
    mode: str
    settings: Settings


@dataclass(frozen=True, slots=True)
class Names:
    """What the numbers in the events that follow stand for, until they are named again."""

    #: (number, key), (number, prefix), (number, address)
    tasks: tuple[tuple[int, str], ...] = ()
    prefixes: tuple[tuple[int, str], ...] = ()
    workers: tuple[tuple[int, str], ...] = ()


@dataclass(frozen=True, slots=True)
class PolicySwitched:
    """From here on, another policy was asked."""

    policy: str


@dataclass(frozen=True, slots=True)
class NetworkServed:
    """From here on, the policy decided by this network: it is in no model file for sure."""

    #: Of each array of a `Network`, in their order: shape, and its float32 numbers, little-endian
    #: and in base64.
    arrays: tuple[tuple[tuple[int, ...], str], ...]
    may_hold: bool
    #: Tasks in the order that the network was shown; none for Dask's order.
    guide: tuple[int, ...]

    @classmethod
    def of(cls, served: Served) -> Self:
        """Write it down."""
        guide = served.guide or {}
        return cls(
            tuple(
                (array.shape, base64.b64encode(array.astype("<f4").tobytes()).decode())
                for array in served.network
            ),
            served.may_hold,
            tuple(sorted(guide, key=guide.__getitem__)),
        )

    @property
    def served(self) -> Served:
        """The same again, its network bit for bit.

        Raises
        ------
        TraceError
            If it is none.
        """
        try:
            network = Network(
                *(
                    np.frombuffer(base64.b64decode(text), "<f4").astype(np.float32).reshape(shape)
                    for shape, text in self.arrays
                )
            )
            check(network)
        except (TypeError, ValueError, InvalidNetworkError) as error:
            msg = f"a network of the trace cannot be used ({error}); who wrote it?"
            raise TraceError(msg) from None
        guide = {task: place for place, task in enumerate(self.guide)}
        return Served(network, self.may_hold, guide or None)


@dataclass(frozen=True, slots=True)
class Decision:
    """A choice that was asked of a policy."""

    situation: Situation
    #: Index into the candidates; their number stands for HOLD; None: the policy failed, and
    #: Dask's order decided.
    chosen: int | None
    #: The probability with which the policy took this action here; None if it failed, or
    #: failed to say.
    propensity: float | None
    #: How long the policy took.
    seconds: float
    #: What was wrong, if the policy failed.
    failure: str | None = None


@dataclass(frozen=True, slots=True)
class Step:
    """One event, and what came of it. Only `Decide` brings anything but itself."""

    event: ev.Event
    instructions: tuple[ev.Instruction, ...] = ()
    #: Those that a policy was asked for; others follow rules, as the instruction's reason says.
    decisions: tuple[Decision, ...] = ()
    #: What the stopwatch showed each time it was read, in nanoseconds.
    readings: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Copy:
    """One copy between the tiers of a worker."""

    #: When it was reported.
    time: float
    worker: int
    #: -1 if the task of the array was not known any more.
    array: int
    #: True for a load into the fast tier, False for an eviction from it.
    loaded: bool
    nbytes: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Fetch:
    """Arrays that a worker asked another one for, and got with one answer."""

    #: When it was reported.
    time: float
    worker: int
    #: Who sent them; -1 if it was not known any more.
    source: int
    #: (array, bytes) of each; -1 for an array whose task was not known any more.
    arrays: tuple[tuple[int, int], ...]
    #: From the request to the last byte. It may have had to wait until the other's event loop
    #: was free, and for loads there.
    seconds: float

    @property
    def nbytes(self) -> int:
        """Sum their bytes."""
        return sum(nbytes for _, nbytes in self.arrays)


Entry: TypeAlias = Names | PolicySwitched | NetworkServed | Step


@dataclass(frozen=True, slots=True)
class Trace:
    """A recorded run."""

    header: Header
    entries: tuple[Entry, ...]
    #: Why recording stopped before the run did; None if it did not.
    truncated: str | None = None
    #: What is wrong with the bytes that this was read from: where they are cut or damaged. All
    #: that stands before is here. None if the end was found.
    problem: str | None = None

    @property
    def complete(self) -> bool:
        """Whether everything that the controller did is here."""
        return self.truncated is None and self.problem is None

    def steps(self) -> Iterator[Step]:
        """Yield each event with what came of it."""
        return (entry for entry in self.entries if isinstance(entry, Step))

    def events(self) -> Iterator[ev.Event]:
        """Yield the events."""
        return (step.event for step in self.steps())

    def instructions(self) -> list[ev.Instruction]:
        """List all that the controller said."""
        return [instruction for step in self.steps() for instruction in step.instructions]

    def decisions(self) -> Iterator[Decision]:
        """Yield the choices that were asked of a policy."""
        return (decision for step in self.steps() for decision in step.decisions)

    def copies(self) -> Iterator[Copy]:
        """Yield the copies that workers reported, each worker's in their order."""
        for event in self.events():
            if isinstance(event, ev.ArraysMoved):
                for copy in event.copies:
                    yield Copy(event.time, event.worker, *copy)

    def fetches(self) -> Iterator[Fetch]:
        """Yield what workers reported to have fetched, each worker's in their order."""
        for event in self.events():
            if isinstance(event, ev.ArraysMoved):
                for source, seconds, arrays in event.fetches:
                    yield Fetch(event.time, event.worker, source, arrays, seconds)

    def dag(self, name: str = "trace", *, estimate: bool = False) -> Dag:
        """Put the graph together, with measured sizes and times.

        A task that was computed twice has the figures of the last time. A key that was submitted
        again after Dask had forgotten it is another task, and its name ends in ` (2)`. An array
        that no task made, as scattered data, is `given`. One that was there before recording
        began takes as many seconds as tasks of its prefix that read and made as many bytes. Wanted
        are the arrays that no task reads, and those that are still there at the end although all
        tasks that read them have run: a client keeps them.

        Parameters
        ----------
        name
            The DAG's name.
        estimate
            What becomes of a task that never made its array, and so has no figures: False leaves
            it out, with all that reads it, which cannot have run either; True gives it the mean
            size of its prefix, and the seconds that are fitted to it; or those of all tasks if
            nothing of its prefix was measured.
        """
        graph = MeasuredGraph()
        for entry in self.entries:
            if isinstance(entry, Names):
                graph.named(entry.tasks, entry.prefixes)
            elif isinstance(entry, Step):
                graph.handle(entry.event)
        return graph.dag(name, estimate=estimate)
