"""Gives a trace's events to a new controller: it says the same again, exactly.

All that a controller decides by is in the trace: the events, its settings with their seed, what
its stopwatch showed, by which a policy may have been found too slow, and the networks that were
served. The policy is made anew, and has to be one that does the same when it is asked the same:
seeded, and without a clock.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from itertools import zip_longest
from typing import TypeAlias

from dask_mlsched.core import events as ev
from dask_mlsched.core import policies
from dask_mlsched.core.controller import Controller, IllegalEvent
from dask_mlsched.core.guard import PolicyGuard
from dask_mlsched.core.policies import Policy
from dask_mlsched.core.recorder import NANOSECOND
from dask_mlsched.core.trace import NetworkServed, PolicySwitched, Step, Trace

#: Makes a policy from its configured name and a seed; None leaves every choice to Dask's order.
MakePolicy: TypeAlias = Callable[[str, int], Policy | None]


class ReplayError(ValueError):
    """A replay that differs from its trace: one line with the first difference."""


def by_name(name: str, seed: int) -> Policy | None:
    """Make a hand-written policy, as a run does that is configured with its name."""
    return None if name == "stock" else policies.make(name, random.Random(seed))


class _RecordedStopwatch:
    """Shows again what a stopwatch showed."""

    def __init__(self) -> None:
        self._readings: tuple[int, ...] = ()
        self._next = 0

    def set(self, readings: tuple[int, ...]) -> None:
        self._readings, self._next = readings, 0

    def __call__(self) -> float:
        if self._next < len(self._readings):
            self._next += 1
        # Read more often than when it was recorded, it stands still.
        return self._readings[self._next - 1] * NANOSECOND if self._next else 0.0


def replay(trace: Trace, make: MakePolicy = by_name) -> list[ev.Instruction]:
    """Give a trace's events to a new controller.

    Parameters
    ----------
    trace
        May be cut: it is replayed as far as it goes.
    make
        Makes the policies that the trace names; needed where one is a class of the user's.

    Returns
    -------
    list of Instruction
        What the controller said: the same as `trace.instructions()`.

    Raises
    ------
    ReplayError
        If it said something after which the events cannot have come.
    """
    return [instruction for _, said in _steps(trace, make) for instruction in said]


def verify(trace: Trace, make: MakePolicy = by_name) -> None:
    """Replay a trace and compare.

    Raises
    ------
    ReplayError
        At the first instruction that is not the recorded one.
    """
    place = 0
    for recorded, replayed in _steps(trace, make):
        for then, now in zip_longest(recorded, replayed):
            if then != now:
                msg = f"instruction {place} is {now}; the trace has {then}"
                raise ReplayError(msg)
            place += 1


def _steps(
    trace: Trace, make: MakePolicy
) -> Iterator[tuple[Sequence[ev.Instruction], Sequence[ev.Instruction]]]:
    """Yield for each event what was said then and what is said now."""
    settings = trace.header.settings
    stopwatch = _RecordedStopwatch()
    policy = make(trace.header.policy, settings.seed)
    controller = Controller(policy, settings, stopwatch)
    for entry in trace.entries:
        if isinstance(entry, PolicySwitched):
            controller.chooser.set_policy(make(entry.policy, settings.seed))
        elif isinstance(entry, NetworkServed):
            _serve(controller.chooser.guard, entry)
        elif isinstance(entry, Step):
            stopwatch.set(entry.readings)
            try:
                replayed = controller.handle(entry.event)
            except IllegalEvent as error:
                msg = f"an event of the trace does not fit what was said in the replay: {error}"
                raise ReplayError(msg) from error
            yield entry.instructions, replayed


def _serve(guard: PolicyGuard | None, entry: NetworkServed) -> None:
    """Have the policy decide by a network of the trace, if it is one that takes networks.

    Whoever replays a trace with another policy asks what that one would have said.
    """
    serve = getattr(guard.policy, "serve", None) if guard is not None else None
    if serve is not None:
        served = entry.served
        serve(served.network, may_hold=served.may_hold, guide=served.guide)
