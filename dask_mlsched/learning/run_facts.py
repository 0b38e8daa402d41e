"""What a recorded run says of the model that decided: which, how much it held, how it failed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from dask_mlsched.core import events as ev
from dask_mlsched.core.calibration import Calibration
from dask_mlsched.core.model_choice import BASELINE
from dask_mlsched.core.trace import NetworkServed, PolicySwitched, Step, Trace
from dask_mlsched.learning.model_card import network_digest
from dask_mlsched.learning.protection import FAILURES

#: A model decided a run if it sent off this share of its tasks.
MOST_OF_IT: Final = 0.8

#: The policies that decide by models of the library.
_LEARNED: Final = frozenset({"learned", "specialised"})


@dataclass(frozen=True, slots=True)
class RunFacts:
    """What the model of a run did."""

    #: As the library names it; None if several decided, or something that the library has not.
    model: str | None
    #: Share of the workers' time in which slots were held.
    held_share: float
    #: Times that the policy failed.
    failures: int


def run_facts(
    trace: Trace, calibration: Calibration, find: Callable[[str], str | None]
) -> RunFacts:
    """Read what decided a run from its trace.

    Parameters
    ----------
    find
        Returns the version that has a network of this digest; None if there is none.
    """
    machine, seconds = calibration.machine, calibration.live.makespan
    room = machine.workers * machine.threads * seconds
    return RunFacts(
        model=_model(trace, find),
        held_share=_held_seconds(trace) / room if room > 0 else 0.0,
        failures=_failures(trace),
    )


def _failures(trace: Trace) -> int:
    """Count the failures of a policy; enough of them to be off, if it was switched off for them."""
    found = sum(decision.failure is not None for decision in trace.decisions())
    policy = trace.header.policy
    for entry in trace.entries:
        if isinstance(entry, PolicySwitched):
            policy = entry.policy
        elif isinstance(entry, Step) and policy in _LEARNED:
            for each in entry.instructions:
                # It may have failed between decisions, or oftener than its settings allow.
                if isinstance(each, ev.Run) and each.reason == "no policy":
                    return max(found, FAILURES)
    return found


def _model(trace: Trace, find: Callable[[str], str | None]) -> str | None:
    """Count who sent tasks off; with Dask alone, nobody but it."""
    watched = trace.header.mode != "manage"
    policy, network = trace.header.policy, None
    sent: Counter[str | None] = Counter()
    for entry in trace.entries:
        if isinstance(entry, PolicySwitched):
            policy, network = entry.policy, None
        elif isinstance(entry, NetworkServed):
            network = find(network_digest(entry.served.network))
        elif isinstance(entry, Step):
            if watched or policy == "stock":
                sent[BASELINE] += isinstance(entry.event, ev.TaskStarted)
            else:
                runs = sum(isinstance(each, ev.Run) for each in entry.instructions)
                sent[network if policy in _LEARNED else None] += runs
    if not sent.total():
        return None
    model, tasks = sent.most_common(1)[0]
    return model if tasks >= MOST_OF_IT * sent.total() else None


def _held_seconds(trace: Trace) -> float:
    """Sum the time from a hold until its worker got a task, or until its deadline."""
    held: dict[int, ev.Hold] = {}
    total = 0.0
    for instruction in trace.instructions():
        before = held.pop(instruction.worker, None)
        if before is not None:
            total += max(0.0, min(instruction.time, before.until) - before.time)
        if isinstance(instruction, ev.Hold):
            held[instruction.worker] = instruction
    return total + sum(hold.until - hold.time for hold in held.values())
