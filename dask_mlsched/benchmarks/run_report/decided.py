"""What was decided in a recorded run: how often, why, how fast, and by what."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from dask_mlsched.core import events as ev
from dask_mlsched.core.network import Network
from dask_mlsched.core.recorder import NANOSECOND
from dask_mlsched.core.trace import NetworkServed, PolicySwitched, Step, Trace
from dask_mlsched.learning.model_card import network_digest


@dataclass(frozen=True)
class Took:
    """How long something took, over all times that it was done: seconds."""

    count: int
    p50: float
    p99: float
    most: float

    @classmethod
    def of(cls, seconds: Sequence[float]) -> Took | None:
        """Sum up; None where it was never done."""
        if not seconds:
            return None
        p50, p99 = np.percentile(seconds, [50, 99])
        return cls(len(seconds), float(p50), float(p99), max(seconds))


@dataclass(frozen=True)
class Decided:
    """All decisions of a run."""

    #: reason -> how often a task was sent for it, the most frequent first.
    runs: Mapping[str, int]
    holds: int
    #: Tasks that Dask sent off by itself.
    by_dask: int
    #: What the policy took whenever it was asked, and what a pass over all free places took.
    policy: Took | None
    passes: Took | None
    #: What was wrong when the policy failed -> how often.
    failures: Mapping[str, int]

    @property
    def sent(self) -> int:
        """How many tasks were sent by a decision."""
        return sum(self.runs.values())

    @property
    def forced(self) -> int:
        """How many of them no policy chose."""
        return self.sent - self.runs.get("policy", 0)


@dataclass(frozen=True)
class Served:
    """A network that decided from some time on."""

    #: Seconds since the run began.
    time: float
    digest: str
    #: Which one it is, if that is known.
    name: str | None
    units: tuple[int, int]
    may_hold: bool
    #: How many tasks it was shown in an order other than Dask's.
    guided: int


@dataclass(frozen=True)
class Model:
    """What decided."""

    #: (seconds since the run began, policy), as configured and as switched later.
    policies: Sequence[tuple[float, str]]
    served: Sequence[Served]


def decided(trace: Trace) -> Decided:
    """Count the decisions of a trace."""
    runs: Counter[str] = Counter()
    failures: Counter[str] = Counter()
    holds = started = 0
    asked: list[float] = []
    passes: list[float] = []
    for step in trace.steps():
        started += isinstance(step.event, ev.TaskStarted)
        for each in step.instructions:
            if isinstance(each, ev.Run):
                runs[each.reason] += 1
            else:
                holds += 1
        for decision in step.decisions:
            asked.append(decision.seconds)
            if decision.failure is not None:
                failures[decision.failure] += 1
        if step.instructions and len(step.readings) > 1:
            passes.append((step.readings[-1] - step.readings[0]) * NANOSECOND)
    return Decided(
        dict(runs.most_common()),
        holds,
        max(0, started - runs.total()),
        Took.of(asked),
        Took.of(passes),
        dict(failures.most_common()),
    )


def model(trace: Trace, known: Mapping[str, Network]) -> Model:
    """Find out which policies and networks decided.

    Parameters
    ----------
    known
        Networks by the names that they are to have.
    """
    names = {network_digest(network): name for name, network in known.items()}
    events = [each.time for each in trace.events() if isinstance(each, ev.TaskStarted)]
    begin = min(events, default=0.0)
    now = begin
    policies = [(0.0, trace.header.policy)]
    served: list[Served] = []
    for entry in trace.entries:
        match entry:
            case Step(event=event):
                now = event.time
            case PolicySwitched(policy=policy):
                policies.append((max(0.0, now - begin), policy))
            case NetworkServed():
                served.append(_served(entry, max(0.0, now - begin), names))
            case _:
                pass  # names
    return Model(policies, served)


def _served(entry: NetworkServed, time: float, names: Mapping[str, str]) -> Served:
    served = entry.served
    digest = network_digest(served.network)
    units = len(served.network.b1), len(served.network.b2)
    return Served(time, digest, names.get(digest), units, entry.may_hold, len(entry.guide))
