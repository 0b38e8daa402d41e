"""Recording: what is written and when, how much at most, and what happens when it goes wrong."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest

from core.driver import Ticking, VirtualDask
from core.graphs import gemm
from core.recorded import RecordedDask
from core.scripted import Scripted, first, hold
from dask_mlsched.core import events as ev
from dask_mlsched.core import recorder as recorder_module
from dask_mlsched.core.chooser import Settings
from dask_mlsched.core.controller import Controller, IllegalEvent
from dask_mlsched.core.planners.dmdar import Dmdar
from dask_mlsched.core.policies import Greedy, GreedyHold, Policy, Random, Situation, make
from dask_mlsched.core.recorder import RecordedController, Recorder
from dask_mlsched.core.replay import verify
from dask_mlsched.core.trace import Header, Names, PolicySwitched
from dask_mlsched.core.trace_codec import decode

HEADER = Header("1.2.3", 0.0, "greedy", "manage", Settings())


def ran(policy: Policy | None, size: int = 2, **settings: Any) -> RecordedDask:
    dask = RecordedDask(policy, bandwidth=8.0, hold_limit=64.0, **settings)
    dask.join(0, threads=1, limit=30)
    dask.submit(gemm(size))
    dask.run()
    return dask


# What is recorded


def test_a_recorded_controller_says_what_another_says():
    dask = ran(GreedyHold(), 3)
    plain = VirtualDask(GreedyHold(), bandwidth=8.0, hold_limit=64.0)
    plain.join(0, threads=1, limit=30)
    plain.submit(gemm(3))
    plain.run()
    assert dask.instructions == plain.instructions
    assert dask.trace().instructions() == plain.instructions


def test_every_situation_is_there_with_what_was_chosen():
    policy = Scripted(hold)
    trace = ran(policy, 3).trace()
    decisions = list(trace.decisions())
    assert [decision.situation for decision in decisions] == policy.situations
    assert any(at.hold is not None for at in policy.situations)
    for decision in decisions:
        at = decision.situation
        assert decision.chosen == (0 if at.hold is None else len(at.candidates))
        assert decision.propensity == 1.0
        assert decision.seconds == pytest.approx(1e-6)
        assert decision.failure is None


def test_choices_are_found_in_the_instructions_of_their_event():
    for step in ran(GreedyHold(), 3).trace().steps():
        asked = {d.situation.candidates[d.chosen].task for d in step.decisions if chosen_to_run(d)}
        said = {
            each.task
            for each in step.instructions
            if isinstance(each, ev.Run) and each.reason == "policy"
        }
        assert asked == said


def chosen_to_run(decision: Any) -> bool:
    return decision.chosen is not None and decision.chosen < len(decision.situation.candidates)


def test_the_propensity_is_the_policy_s():
    class Choosy(Random):
        shortlist = 4

    trace = ran(Choosy(random.Random(0)), 3).trace()
    assert {(d.propensity, len(d.situation.candidates)) for d in trace.decisions()} >= {
        (1 / 4, 4),
        (1 / 2, 2),
    }
    for decision in trace.decisions():
        assert decision.propensity == 1 / len(decision.situation.candidates)


def test_a_policy_that_cannot_say_its_propensity_does_no_harm():
    class Silent(Greedy):
        def propensity(self, situation: Situation, action: int) -> float:
            raise RuntimeError

    trace = ran(Silent()).trace()
    assert trace.instructions() == ran(Greedy()).trace().instructions()
    assert {decision.propensity for decision in trace.decisions()} == {None}


def test_a_failure_of_the_policy_has_neither_choice_nor_propensity():
    decisions = list(ran(Scripted(lambda _: []), failures=3).trace().decisions())
    assert [(d.chosen, d.propensity) for d in decisions] == [(None, None)] * 3
    assert "gave 0 scores for " in str(decisions[0].failure)


def test_a_planner_s_proposal_is_a_choice_among_what_it_proposed():
    trace = ran(make("dmdar", random.Random(0)), 3).trace()
    asked = [
        (each.situation.time, each.situation.candidates[each.chosen].task)
        for each in trace.decisions()
        if each.chosen is not None
    ]
    said = [(run.time, run.task) for run in trace.instructions() if isinstance(run, ev.Run)]
    assert asked == said
    for decision in trace.decisions():
        assert (decision.propensity, decision.situation.hold) == (1.0, None)
        assert decision.seconds > 0


def test_a_planner_s_failure_is_told_with_the_task_that_ran_for_it():
    class Failing(Dmdar):
        def propose(self, worker: int, now: float) -> list[int]:
            raise RuntimeError("no plan")

    trace = ran(Failing(), 2, failures=2).trace()
    decisions = list(trace.decisions())
    assert [each.chosen for each in decisions] == [None, None]
    assert "raised RuntimeError: no plan" in str(decisions[0].failure)
    ran_instead = [
        run.task for run in trace.instructions() if getattr(run, "reason", "") == "policy failed"
    ]
    assert [each.situation.candidates[0].task for each in decisions] == ran_instead


def test_numbers_are_named_when_they_are_given_out():
    dask = RecordedDask(None)
    dask.join(0)
    dask.submit("p-0 -> q-0", wanted=["q-0"])
    dask.submit("p-1")
    dask.run()
    dask.join(1)
    names = [entry for entry in dask.trace().entries if isinstance(entry, Names)]
    p, q = dask._prefixes["p"], dask._prefixes["q"]
    assert [each.workers for each in names if each.workers] == [
        ((0, "worker-0"),),
        ((1, "worker-1"),),
    ]
    graphs = [each for each in names if each.tasks]
    assert [[name for _, name in each.tasks] for each in graphs] == [["p-0", "q-0"], ["p-1"]]
    # A prefix is named once.
    assert [each.prefixes for each in graphs] == [((p, "p"), (q, "q")), ()]


def test_without_anybody_who_knows_them_numbers_have_no_names():
    parts: list[bytes] = []
    recorder = Recorder(HEADER, parts.append, limit=10**6)
    controller = RecordedController(None, Settings(), Ticking(), recorder)
    controller.handle(ev.WorkerJoined(0.0, 0, 1, None))
    recorder.close()
    assert [type(entry).__name__ for entry in decode(b"".join(parts)).entries] == ["Step"]


def test_an_illegal_event_leaves_no_trace():
    dask = ran(Greedy())
    before = dask.recorder.events
    with pytest.raises(IllegalEvent):
        dask.handle(ev.TaskReady(9.0, 99))
    with pytest.raises(IllegalEvent):
        dask.handle(ev.WorkerLeft(9.0, 99))
    assert dask.recorder.events == before
    trace = dask.trace()
    assert len(list(trace.steps())) == before
    verify(trace)


def test_after_an_error_of_the_controller_nothing_more_is_recorded(monkeypatch: Any):
    dask = RecordedDask(Greedy())
    dask.join(0)
    dask.submit("a b c")
    dask.decide()

    def fail(*_: Any) -> None:
        raise ZeroDivisionError("half done")

    monkeypatch.setattr(dask.controller, "_send", fail)
    dask.finish("a")
    with pytest.raises(ZeroDivisionError):
        dask.handle(ev.Decide(5.0))
    dask.handle(ev.WorkerPaused(6.0, 0))
    trace = dask.trace()
    assert trace.truncated == "the controller failed: ZeroDivisionError: half done"
    verify(trace)


def test_a_switched_policy_is_noted_where_it_happened():
    dask = RecordedDask(Greedy())
    dask.join(0)
    dask.recorder.policy_switched("fifo")
    dask.submit("a")
    kinds = [type(entry).__name__ for entry in dask.trace().entries]
    assert kinds == ["Names", "Step", "PolicySwitched", "Names", "Step", "Step"]
    assert PolicySwitched("fifo") in dask.trace().entries


def test_readings_are_whole_nanoseconds_from_the_beginning_on():
    shown = iter([100.0, 100.0000000014, 100.5])
    recorder = Recorder(HEADER, lambda data: None, limit=10**6)
    read = recorder.stopwatch(lambda: next(shown))
    assert [read(), read()] == [1 * 1e-9, 500_000_000 * 1e-9]


# When it is written


def test_records_are_written_in_batches_and_on_demand(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(recorder_module, "_BATCH", 10)
    dask = RecordedDask(None)
    assert len(dask.parts) == 1, "the header, at once"
    for worker in range(4):
        dask.join(worker)
    assert len(dask.parts) == 1
    dask.join(4)
    assert len(dask.parts) == 2, "a name and an event for each of five"
    dask.recorder.flush()
    assert len(dask.parts) == 2
    dask.join(5)
    dask.recorder.flush()
    assert len(dask.parts) == 3
    assert dask.recorder.nbytes == sum(map(len, dask.parts))


def test_what_was_flushed_can_be_read_while_it_goes_on():
    dask = RecordedDask(None)
    dask.join(0)
    dask.recorder.flush()
    dask.join(1)
    assert len(list(decode(b"".join(dask.parts)).steps())) == 1
    assert decode(b"".join(dask.parts) + dask.recorder.end).complete


def test_nothing_is_recorded_after_the_end():
    dask = RecordedDask(GreedyHold())
    dask.join(0)
    dask.recorder.close()
    parts = list(dask.parts)
    dask.submit(gemm(2))
    dask.run()
    dask.recorder.policy_switched("fifo")
    dask.recorder.flush()
    dask.recorder.close()
    dask.recorder.stop("again")
    assert dask.parts == parts
    assert not dask.recorder.going_on
    # Nor kept: what is read off the stopwatch would pile up.
    assert (dask.recorder._records, dask.recorder._readings, dask.recorder._decisions) == ([],) * 3


# How much, and what goes wrong


@pytest.mark.parametrize("limit", [3_000, 4_000, 5_000])
def test_a_full_trace_is_within_its_limit_and_says_so(limit: int, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(recorder_module, "_BATCH", 16)
    dask = ran(GreedyHold(), 3, limit=limit)
    assert not dask.recorder.going_on
    trace = dask.trace()
    assert len(b"".join(dask.parts)) == dask.recorder.nbytes <= limit
    assert trace.truncated == dask.recorder.truncated == f"the limit of {limit} bytes is reached"
    assert (trace.problem, dask.recorder.problem) == (None, None)
    assert 0 < len(trace.instructions()) < len(dask.instructions)
    verify(trace)


def test_a_limit_too_small_for_anything_leaves_a_line_and_an_end():
    dask = ran(None, limit=100)
    assert dask.recorder.truncated == "the limit of 100 bytes is reached"
    assert not dask.recorder.going_on


def failing(after: int, parts: list[bytes]) -> Callable[[bytes], None]:
    def write(data: bytes) -> None:
        if len(parts) >= after:
            raise OSError("no space left")
        parts.append(data)

    return write


@pytest.mark.parametrize("after", [0, 1, 3])
def test_an_error_of_the_writer_ends_the_recording_and_not_the_run(
    after: int, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(recorder_module, "_BATCH", 16)
    parts: list[bytes] = []
    recorder = Recorder(HEADER, failing(after, parts), limit=10**6)
    dask = VirtualDask(Greedy())
    dask.controller = RecordedController(Greedy(), Settings(), Ticking(), recorder)
    dask.join(0)
    dask.submit(gemm(3))
    dask.run()
    assert recorder.problem == "OSError: no space left"
    assert recorder.truncated == "recording failed: OSError: no space left"
    recorder.close()
    assert len(parts) == after
    if after:
        assert decode(b"".join(parts)).problem is not None


def test_what_cannot_be_encoded_ends_the_recording_and_not_the_run():
    dask = RecordedDask(Scripted(first))
    dask.join(0)
    dask.submit("a -> b")
    dask.recorder.flush()
    dask.handle(ev.LimitSeen(object(), 0, None))  # type: ignore[arg-type]
    dask.recorder.flush()
    assert "TypeError" in str(dask.recorder.problem)
    dask.run()
    trace = dask.trace()
    assert str(trace.truncated).startswith("recording failed: TypeError")
    assert trace.problem is None


def test_who_knows_no_name_ends_the_recording_and_not_the_run():
    dask = RecordedDask(Greedy())
    dask.join(0)
    dask.task_name = {}.__getitem__  # type: ignore[method-assign]
    dask.submit("a -> b")
    dask.run()
    trace = dask.trace()
    assert trace.truncated == "recording failed: KeyError: 0"
    assert trace.problem is None


def test_a_long_reason_is_cut_so_that_it_fits():
    dask = RecordedDask(None)
    dask.recorder.stop("x" * 10_000)
    assert dask.trace().truncated == "x" * 200


def test_a_controller_that_is_not_recorded_has_no_watcher():
    controller = Controller(Greedy(), Settings(), Ticking())
    assert controller.chooser.watcher is None
