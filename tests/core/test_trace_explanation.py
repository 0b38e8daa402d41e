"""What a trace says of one task: the same as the plugin would have said."""

from __future__ import annotations

import pytest

from core.graphs import gemm
from core.recorded import RecordedDask
from core.scripted import Scripted, first, hold
from dask_mlsched.core import events as ev
from dask_mlsched.core.policies import Policy
from dask_mlsched.core.trace import Trace
from dask_mlsched.core.trace_explanation import explain_in_trace


def ran(policy: Policy) -> tuple[RecordedDask, Trace]:
    dask = RecordedDask(policy, bandwidth=8.0, hold_limit=64.0)
    dask.join(0, threads=1, limit=30)
    dask.submit(gemm(3))
    dask.run()
    return dask, dask.trace()


def names(trace: Trace) -> dict[int, str]:
    return {number: name for entry in trace.entries for number, name in getattr(entry, "tasks", ())}


def test_every_run_is_told_as_it_was_decided():
    dask, trace = ran(Scripted(first))
    named = names(trace)
    assert dask.runs
    for run in dask.runs:
        answer = explain_in_trace(trace, named[run.task])
        assert answer["decision"] == {
            "policy": "scripted",
            "worker": "worker-0",
            "reason": run.reason,
            "missing_bytes": run.missing_bytes,
            "candidates": run.candidates,
            "place_in_dask_order": run.rank,
            "held_seconds": run.held_seconds,
        }
        assert answer["state"] in ("memory", "released", "forgotten")


@pytest.mark.parametrize("score", [first, hold])
def test_what_was_passed_over_is_told_as_the_chooser_would(score):
    dask, trace = ran(Scripted(score))
    recent = dask.controller.chooser.recent
    specs = {
        names(trace)[spec.task]: spec
        for event in trace.events()
        if isinstance(event, ev.GraphArrived)
        for spec in event.tasks
    }
    told = 0
    for name, spec in specs.items():
        answer = explain_in_trace(trace, name)
        passed = recent.passed_over(spec.task, spec.priority)
        assert (passed is None) == ("passed_over" not in answer)
        if passed is None:
            continue
        told += 1
        assert answer["passed_over"]["times"] == passed.times
        assert answer["passed_over"]["missing_bytes"] == passed.missing_bytes
        assert answer["passed_over"]["held"] == (passed.instead is None)
        if passed.instead is not None:
            assert answer["passed_over"]["instead"] == names(trace)[passed.instead.task]
        else:
            assert answer["passed_over"]["held_for"] in specs
    assert told


def test_a_key_that_is_not_there_comes_with_those_that_are_like_it():
    _, trace = ran(Scripted(first))
    (name, *_) = sorted(names(trace).values())
    answer = explain_in_trace(trace, name[:1])
    assert answer["state"] == "unknown"
    assert 0 < len(answer["similar"]) <= 5
    assert all(name[:1] in each for each in answer["similar"])
    assert explain_in_trace(trace, "nothing like it")["similar"] == []


def test_of_a_task_that_was_submitted_again_the_last_time_counts():
    dask = RecordedDask(Scripted(first))
    dask.join(0, threads=1, limit=30)
    dask.submit("a -> b")
    dask.run()
    dask.release("b")
    dask.submit("a:20 -> b:20")
    answer = explain_in_trace(dask.trace(), "b")
    assert answer["state"] == "waiting"
    assert "decision" not in answer


def test_the_policy_that_was_asked_is_named():
    dask = RecordedDask(Scripted(first))
    dask.join(0, threads=1, limit=30)
    dask.recorder.policy_switched("another")
    dask.submit("a -> b")
    dask.run()
    assert explain_in_trace(dask.trace(), "b")["decision"]["policy"] == "another"


def test_what_becomes_of_a_number_after_its_task_was_forgotten_is_about_another_task(
    monkeypatch: pytest.MonkeyPatch,
):
    dask = RecordedDask(Scripted(first))
    numbers: dict[str, dict[str, int]] = {}
    for name in ("old", "new"):
        # The worker's number is used again, too.
        monkeypatch.setattr(dask, "worker_name", lambda number, name=name: f"{name}-{number}")
        dask.join(0, threads=1, limit=30)
        dask.submit(f"{name}-0 {name}-1 {name}-2 -> {name}-all")
        numbers[name] = {key: dask.number(key) for key in dask.tasks}
        dask.run()
        dask.release(f"{name}-all")
        dask.leave(0)
    assert set(numbers["old"].values()) == set(numbers["new"].values())
    trace = dask.trace()
    for name, keys in numbers.items():
        answers = {key: explain_in_trace(trace, key) for key in keys}
        assert {answer["decision"]["worker"] for answer in answers.values()} == {f"{name}-0"}
        passed = {
            key: (answer["passed_over"]["instead"], answer["passed_over"]["worker"])
            for key, answer in answers.items()
            if "passed_over" in answer
        }
        assert passed == {
            f"{name}-1": (f"{name}-0", f"{name}-0"),
            f"{name}-2": (f"{name}-1", f"{name}-0"),
        }


def test_a_task_that_got_more_dependencies_is_found_with_its_new_priority():
    dask = RecordedDask(Scripted(first))
    dask.join(0, threads=1, limit=30)
    dask.submit("a b c e -> d")
    number = dask.number("c")
    dask.tasks["c"].priority = (0, 7, 7)
    dask.depend("c", ["a"])
    dask.run()
    recent = dask.controller.chooser.recent.passed_over(number, (0, 7, 7))
    assert recent is not None
    answer = explain_in_trace(dask.trace(), "c")
    assert answer["passed_over"]["times"] == recent.times
