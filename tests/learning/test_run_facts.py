"""What a recorded run says of the model that decided it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from core.networks import random_network
from dask_mlsched.core import events as ev
from dask_mlsched.core import features
from dask_mlsched.core.calibration import Calibration, calibrate
from dask_mlsched.core.model_choice import BASELINE
from dask_mlsched.core.network import Network
from dask_mlsched.core.served import Served
from dask_mlsched.core.trace import Entry, NetworkServed, PolicySwitched, Step, Trace
from dask_mlsched.core.trace_codec import decode
from dask_mlsched.learning.model_card import network_digest
from dask_mlsched.learning.protection import FAILURES
from dask_mlsched.learning.run_facts import RunFacts, run_facts
from learning.recorded_runs import run_bytes

FIRST, SECOND, UNKNOWN = (
    random_network(np.random.default_rng(seed), features.COUNT, (0, 0)) for seed in range(3)
)
KNOWN = {network_digest(FIRST): "gemm/v0001", network_digest(SECOND): "lu/v0002"}


def recording(policy: str = "greedy") -> tuple[Trace, Calibration]:
    trace = decode(run_bytes(policy=policy))
    return trace, calibrate(trace)


def facts(trace: Trace, calibration: Calibration) -> RunFacts:
    return run_facts(trace, calibration, KNOWN.get)


def serves(network: Network) -> NetworkServed:
    return NetworkServed.of(Served(network, may_hold=True))


def with_entries(trace: Trace, entries: Sequence[Entry], policy: str = "learned") -> Trace:
    return replace(trace, header=replace(trace.header, policy=policy), entries=tuple(entries))


def decided(trace: Trace, *changes: tuple[float, Entry], policy: str = "learned") -> Trace:
    """Put entries where such a share of the tasks has been sent off."""
    sent = 0
    total = sum(map(runs_of, trace.entries))
    entries: list[Entry] = []
    left = list(changes)
    for entry in trace.entries:
        while left and left[0][0] * total <= sent:
            entries.append(left.pop(0)[1])
        entries.append(entry)
        sent += runs_of(entry)
    return with_entries(trace, [*entries, *(entry for _, entry in left)], policy)


def runs_of(entry: Entry) -> int:
    if not isinstance(entry, Step):
        return 0
    return sum(isinstance(each, ev.Run) for each in entry.instructions)


# The model


@pytest.mark.parametrize("policy", ["learned", "specialised"])
def test_the_model_is_found_by_its_network(policy: str) -> None:
    trace, calibration = recording()
    for network, model in ((FIRST, "gemm/v0001"), (SECOND, "lu/v0002"), (UNKNOWN, None)):
        served = decided(trace, (0.0, serves(network)), policy=policy)
        assert facts(served, calibration).model == model


def test_a_network_is_the_same_after_it_was_written_and_read() -> None:
    assert network_digest(serves(FIRST).served.network) == network_digest(FIRST)


def test_without_a_network_or_by_another_policy_no_model_decides() -> None:
    trace, calibration = recording()
    assert facts(decided(trace), calibration).model is None
    assert facts(decided(trace, (0.0, serves(FIRST)), policy="greedy"), calibration).model is None
    assert facts(with_entries(trace, ()), calibration).model is None


@pytest.mark.parametrize(
    ("share", "model"),
    [(0.1, "lu/v0002"), (0.15, "lu/v0002"), (0.25, None), (0.5, None), (0.85, "gemm/v0001")],
)
def test_of_several_models_one_must_have_decided_nearly_all(share: float, model: str) -> None:
    trace, calibration = recording()
    both = decided(trace, (0.0, serves(FIRST)), (share, serves(SECOND)))
    assert facts(both, calibration).model == model


def test_the_same_model_twice_is_one() -> None:
    trace, calibration = recording()
    switched = decided(trace, *((share, serves(FIRST)) for share in (0.0, 0.3, 0.6)))
    assert facts(switched, calibration).model == "gemm/v0001"


def test_tasks_of_another_policy_are_of_no_model() -> None:
    trace, calibration = recording()
    late = decided(trace, (0.0, serves(FIRST)), (0.5, PolicySwitched("greedy")))
    assert facts(late, calibration).model is None
    # What served before the switch does not serve after it: another policy was made.
    again = decided(
        trace,
        (0.0, serves(FIRST)),
        (0.01, PolicySwitched("greedy")),
        (0.02, PolicySwitched("learned")),
    )
    assert facts(again, calibration).model is None


# Dask alone


def test_a_run_that_was_only_watched_is_one_of_dask_alone() -> None:
    trace, calibration = recording("stock")
    assert trace.header.mode == "observe"
    assert facts(trace, calibration) == RunFacts(BASELINE, 0.0, 0)
    # Whatever policy was set.
    named = replace(trace, header=replace(trace.header, policy="learned"))
    assert facts(named, calibration).model == BASELINE


def test_a_run_that_was_left_to_dask_is_one_of_dask_alone() -> None:
    trace, calibration = recording("stock")
    managed = replace(trace, header=replace(trace.header, mode="manage", policy="learned"))
    begun = replace(managed, entries=(PolicySwitched("stock"), *managed.entries))
    assert facts(begun, calibration).model == BASELINE
    served = replace(begun, entries=(serves(FIRST), *begun.entries))
    assert facts(served, calibration).model == BASELINE


def test_a_run_half_of_which_was_left_to_dask_is_nobody_s() -> None:
    trace, calibration = recording()
    half = decided(trace, (0.0, serves(FIRST)), (0.5, PolicySwitched("stock")))
    assert facts(half, calibration).model is None
    little = decided(trace, (0.0, serves(FIRST)), (0.95, PolicySwitched("stock")))
    assert facts(little, calibration).model == "gemm/v0001"


# What it held


def held(worker: int, time: float, until: float) -> Step:
    return Step(ev.Decide(time), (ev.Hold(time, worker, until, 0.1),))


def sent(worker: int, time: float) -> Step:
    return Step(ev.Decide(time), (ev.Run(time, 0, worker, "policy", 0, 1, 0, 0.0),))


@pytest.mark.parametrize(
    ("steps", "seconds"),
    [
        ([], 0.0),
        ([sent(0, 1.0), sent(0, 2.0)], 0.0),
        # Until a task is sent; by its deadline, if none is.
        ([held(0, 1.0, 5.0), sent(0, 3.0)], 2.0),
        ([held(0, 1.0, 2.0), sent(0, 3.0)], 1.0),
        ([held(0, 1.0, 2.5)], 1.5),
        # Held on, and only once for the time of both.
        ([held(0, 1.0, 4.0), held(0, 2.0, 5.0), sent(0, 3.0)], 2.0),
        ([held(0, 1.0, 2.0), held(0, 4.0, 5.0)], 2.0),
        # Each worker by itself.
        ([held(0, 1.0, 9.0), sent(1, 2.0), sent(0, 3.0)], 2.0),
        ([held(0, 1.0, 9.0), held(1, 2.0, 9.0), sent(1, 3.0), sent(0, 4.0)], 4.0),
    ],
)
def test_held_is_the_time_from_a_hold_to_the_next_task_or_its_deadline(
    steps: Sequence[Step], seconds: float
) -> None:
    trace, calibration = recording()
    room = calibration.machine.workers * calibration.machine.threads * calibration.live.makespan
    share = facts(with_entries(trace, steps), calibration).held_share
    assert share == pytest.approx(seconds / room)


def test_failures_of_the_policy_are_counted() -> None:
    trace, calibration = recording()
    entries = list(trace.entries)
    places = [n for n, each in enumerate(entries) if isinstance(each, Step) and each.decisions]
    for place in places[:3]:
        step = entries[place]
        assert isinstance(step, Step)
        failed = replace(step.decisions[0], chosen=None, propensity=None, failure="odd")
        entries[place] = replace(step, decisions=(failed, *step.decisions[1:]))
    assert facts(with_entries(trace, entries), calibration).failures == 3
    assert facts(trace, calibration).failures == 0


def test_a_policy_that_was_switched_off_has_failed_enough() -> None:
    """It may have failed between decisions, where nothing is recorded, or may fail three times."""
    trace, calibration = recording()
    off = sent(0, 1.0)
    (run,) = off.instructions
    assert isinstance(run, ev.Run)
    entries = [serves(FIRST), replace(off, instructions=(replace(run, reason="no policy"),))]
    assert facts(with_entries(trace, entries), calibration).failures == FAILURES
    assert facts(with_entries(trace, entries, "greedy"), calibration).failures == 0
