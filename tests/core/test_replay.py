"""A replay says what the run said, exactly: over all that Dask, workers and policies can do."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from core.golden_traces import CASES
from core.graphs import gemm, random_graph, tree, wavefront
from core.networks import random_network
from core.recorded import RecordedDask
from core.scripted import Scripted, first
from core.test_controller_machine import ControllerMachine
from dask_mlsched.core import events as ev
from dask_mlsched.core import features
from dask_mlsched.core.planners.learned import Learned
from dask_mlsched.core.policies import NAMES, GreedyHold, Policy, Situation
from dask_mlsched.core.replay import ReplayError, by_name, replay, verify
from dask_mlsched.core.scores import FEWEST_MISSING
from dask_mlsched.core.trace import NetworkServed, Trace


def a_run(policy: Policy | None, graph: Any, *, limit: int | None = 60, **settings: Any) -> Any:
    """Run a graph on two workers."""
    dask = RecordedDask(policy, bandwidth=8.0, network_bandwidth=4.0, hold_limit=64.0, **settings)
    dask.join(0, threads=1, limit=limit)
    dask.join(1, threads=2, limit=limit)
    dask.submit(graph)
    return dask


def said(dask: RecordedDask) -> Trace:
    """Read the trace of a run, and see that it has what the run was told."""
    trace = dask.trace()
    assert trace.complete
    assert trace.instructions() == dask.instructions
    return trace


@given(
    policy=st.sampled_from(NAMES),
    seed=st.integers(0, 3),
    graph=st.one_of(
        st.builds(lambda s, n: random_graph(random.Random(s), n), st.integers(0, 99), st.just(25)),
        st.builds(gemm, st.integers(1, 3)),
        st.builds(wavefront, st.integers(1, 4)),
        st.builds(tree, st.integers(2, 12)),
    ),
    limit=st.sampled_from([None, 20, 60, 1000]),
    lookahead=st.integers(0, 2),
)
@settings(max_examples=40, deadline=None)
def test_a_run_of_any_graph_is_replayed_exactly(
    policy: str, seed: int, graph: Any, limit: int | None, lookahead: int
):
    made = by_name(policy, seed)
    dask = a_run(made, graph, limit=limit, lookahead=lookahead, seed=seed, validate=False)
    dask.run()
    trace = said(dask)
    assert trace.header.policy == policy
    verify(trace)


class RecordedMachine(ControllerMachine):
    """The same, under workers that leave, tasks that fail, and policies that are no good."""

    dask_class = RecordedDask

    def teardown(self) -> None:
        super().teardown()
        if hasattr(self, "dask"):
            assert isinstance(self.dask, RecordedDask)
            trace = said(self.dask)
            assert replay(trace, lambda name, seed: self.same_policy()) == self.dask.instructions


TestRecordedMachine = RecordedMachine.TestCase
TestRecordedMachine.settings = settings(
    max_examples=25,
    stateful_step_count=30,
    deadline=None,
    phases=[Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink],
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


class Dawdling:
    """A stopwatch that shows now much and now little more than before."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._seconds = 7.0

    def __call__(self) -> float:
        self._seconds += self._rng.choice([1e-6, 0.0123456789012345, 0.2])
        return self._seconds


@pytest.mark.parametrize("seed", range(5))
def test_what_was_too_slow_then_is_too_slow_again(seed: int):
    stopwatch = Dawdling(random.Random(seed))
    dask = a_run(GreedyHold(), gemm(3), stopwatch=stopwatch, time_budget=0.05, failures=5)
    dask.run()
    trace = said(dask)
    failed = [d for d in trace.decisions() if d.chosen is None]
    assert 0 < len(failed) <= 5
    assert all("it may take 0.05 s" in str(d.failure) for d in failed)
    verify(trace)


def test_a_policy_exactly_at_its_budget_is_at_it_again():
    """The limit is where rounding would show."""

    class Steps:
        seconds = 0.1

        def __call__(self) -> float:
            self.seconds += 0.1
            return self.seconds

    dask = a_run(GreedyHold(), gemm(2), stopwatch=Steps(), time_budget=0.1, failures=10**6)
    dask.run()
    trace = said(dask)
    outcomes = {d.chosen is None for d in trace.decisions()}
    assert outcomes == {True, False}, "sums of 0.1 are now above and now below"
    verify(trace)


def erratic(rng: random.Random) -> Callable[[Situation], Any]:
    def score(at: Situation) -> Any:
        if rng.random() < 0.3:
            raise ZeroDivisionError("sometimes")
        return [math.nan] if rng.random() < 0.3 else first(at)

    return score


def test_a_policy_that_fails_by_its_seed_fails_again():
    dask = a_run(Scripted(erratic(random.Random(3))), gemm(3), failures=6)
    dask.run()
    trace = said(dask)
    failures = {d.failure for d in trace.decisions()}
    assert "policy 'scripted' raised ZeroDivisionError: sometimes" in failures
    assert any(d.chosen is not None for d in trace.decisions())
    verify(trace, lambda name, seed: Scripted(erratic(random.Random(3))))


def test_a_policy_switched_in_the_middle_is_switched_again():
    dask = a_run(by_name("random", 0), gemm(3))
    dask.decide()
    dask.advance(2.0)
    dask.controller.chooser.set_policy(by_name("greedy-hold", 0))
    dask.recorder.policy_switched("greedy-hold")
    dask.advance(4.0)
    dask.controller.chooser.set_policy(None)
    dask.recorder.policy_switched("stock")
    dask.run()
    trace = said(dask)
    asked: list[tuple[str, int]] = []

    def make(name: str, seed: int) -> Policy | None:
        asked.append((name, seed))
        return by_name(name, seed)

    verify(trace, make)
    assert asked == [("random", 0), ("greedy-hold", 0), ("stock", 0)]


def as_configured(name: str, seed: int) -> Policy | None:
    """Make what a scheduler does that knows nothing of other networks."""
    return Learned(FEWEST_MISSING, name) if name == "learned" else by_name(name, seed)


def with_networks_swapped(seed: int, graph: Any) -> RecordedDask:
    """Run under one random network, and go on under others, as with a specialist's answers."""
    rng = np.random.default_rng(seed)
    policy = Learned(random_network(rng, features.COUNT, (3, 2)))
    dask = a_run(policy, graph, limit=60, seed=seed, validate=False)
    for may_hold in (True, False, True):
        dask.decide()
        dask.advance((dask.next_time() or 0.0) + 1.0)
        # Of some tasks only, and of some that there may not be.
        guide = dict(enumerate(rng.permutation(20).tolist())) if may_hold else None
        policy.serve(random_network(rng, features.COUNT, (3, 2)), may_hold=may_hold, guide=guide)
    dask.run()
    assert isinstance(dask, RecordedDask)
    return dask


@given(
    seed=st.integers(0, 99),
    graph=st.one_of(
        st.builds(lambda s: random_graph(random.Random(s), 25), st.integers(0, 99)),
        st.builds(gemm, st.integers(2, 3)),
        st.builds(wavefront, st.integers(2, 4)),
    ),
)
@settings(max_examples=30, deadline=None)
def test_a_run_with_networks_swapped_is_replayed_exactly(seed: int, graph: Any):
    verify(said(with_networks_swapped(seed, graph)), as_configured)


def test_without_its_networks_such_a_run_is_another_one():
    trace = said(with_networks_swapped(0, gemm(3)))
    served = [e for e in trace.entries if isinstance(e, NetworkServed)]
    assert [each.may_hold for each in served] == [True, True, False, True]
    without = tuple(e for e in trace.entries if not isinstance(e, NetworkServed))
    with pytest.raises(ReplayError):
        verify(replace(trace, entries=without), as_configured)


def test_a_network_is_told_again_when_its_policy_is_switched_to_again():
    network = random_network(np.random.default_rng(1), features.COUNT, (0, 0))
    dask = a_run(Learned(network), gemm(3))
    dask.decide()
    dask.advance(2.0)
    dask.controller.chooser.set_policy(Learned(network))
    dask.recorder.policy_switched("learned")
    dask.run()
    trace = said(dask)
    assert sum(isinstance(each, NetworkServed) for each in trace.entries) == 2
    verify(trace, as_configured)


def test_networks_mean_nothing_to_a_policy_that_takes_none():
    dask = a_run(Learned(FEWEST_MISSING), gemm(2))
    dask.run()
    trace = said(dask)
    with pytest.raises(ReplayError):
        verify(trace, lambda name, seed: by_name("random", 3))


def test_the_golden_runs_with_losses_are_replayed(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("core.golden_traces.VirtualDask", RecordedDask)
    for name, play in CASES.items():
        dask = play()
        assert isinstance(dask, RecordedDask), name
        verify(said(dask))


def test_a_trace_that_is_cut_is_replayed_as_far_as_it_goes():
    dask = a_run(GreedyHold(), gemm(3))
    dask.run()
    trace = said(dask)
    half = replace(trace, entries=trace.entries[: len(trace.entries) // 2])
    verify(half)
    told = replay(half)
    assert 0 < len(told) < len(trace.instructions())
    assert told == trace.instructions()[: len(told)]


def test_another_policy_says_something_else_and_the_first_difference_is_told():
    dask = a_run(GreedyHold(), gemm(3))
    dask.run()
    trace = said(dask)
    with pytest.raises(ReplayError, match=r"^instruction \d+ is .*; the trace has "):
        verify(trace, lambda name, seed: by_name("random", 1))
    with pytest.raises(ReplayError, match="does not fit what was said in the replay: task "):
        replay(trace, lambda name, seed: by_name("random", 1))


def test_an_instruction_that_was_changed_is_found():
    dask = a_run(GreedyHold(), gemm(2))
    dask.run()
    trace = said(dask)
    place, step = next(
        (i, e) for i, e in enumerate(trace.entries) if getattr(e, "instructions", ())
    )
    (run, *rest) = step.instructions  # type: ignore[union-attr]
    changed = replace(step, instructions=(replace(run, missing_bytes=1), *rest))  # type: ignore[type-var]
    entries = (*trace.entries[:place], changed, *trace.entries[place + 1 :])
    with pytest.raises(ReplayError, match=r"^instruction 0 is Run\(.*; the trace has Run\("):
        verify(replace(trace, entries=entries))


def test_instructions_that_are_missing_are_found():
    dask = a_run(GreedyHold(), "a -> b")
    dask.run()
    trace = said(dask)
    without = tuple(replace(e, instructions=()) for e in trace.steps())
    with pytest.raises(ReplayError, match="the trace has None"):
        verify(replace(trace, entries=without))


def test_a_stopwatch_that_is_read_more_often_stands_still():
    """As by a later version of the controller: no worse than a quick decision."""
    dask = a_run(GreedyHold(), gemm(2))
    dask.run()
    trace = said(dask)
    fewer = tuple(
        replace(e, readings=e.readings[:1]) if isinstance(e.event, ev.Decide) else e
        for e in trace.steps()
    )
    assert replay(replace(trace, entries=fewer)) == trace.instructions()
