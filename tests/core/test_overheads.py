"""What is left to messages and event loops: not what tasks waited for others' arrays."""

from __future__ import annotations

from dataclasses import replace

import pytest

from core.recorded_simulations import COSTS, block_product, recorded, reporting_fetches
from dask_mlsched.core import events as ev
from dask_mlsched.core.chooser import Settings
from dask_mlsched.core.costs import CopyCost, Costs
from dask_mlsched.core.machine import Machine
from dask_mlsched.core.overheads import overheads
from dask_mlsched.core.trace import Header, Step, Trace

#: What every task computes, what its event loop takes besides, and a message, in seconds.
SECONDS, TASK, MESSAGE = 0.01, 0.003, 0.002


def chain(*fetched: float, reported_late: float = 0.0) -> Trace:
    """Tasks 10, 11, ... one after the other on worker 0, which wait so long for an array of 1's."""
    count = len(fetched)
    specs = [ev.TaskSpec(n, (), (0, 0, n)) for n in range(count)]
    specs += [ev.TaskSpec(10 + n, (n,), (0, 0, 10 + n)) for n in range(count)]
    events: list[ev.Event] = [
        ev.WorkerJoined(0.0, 0, 1, 100),
        ev.WorkerJoined(0.0, 1, 1, 100),
        ev.GraphArrived(0.0, tuple(specs)),
    ]
    for n in range(count):
        events += [ev.TaskStarted(0.0, n, 1), ev.TaskFinished(0.0, n, 10, 0.0)]
    now = 1.0
    for n, seconds in enumerate(fetched):
        events.append(ev.TaskStarted(now, 10 + n, 0))
        came = now + MESSAGE + seconds
        now = came + TASK + SECONDS + MESSAGE
        answer = ev.ArraysMoved(came + MESSAGE, 0, (), 0, 0.0, (), ((1, seconds, ((n, 10),)),))
        end = ev.TaskFinished(now, 10 + n, 10, SECONDS)
        if not seconds:
            events.append(end)
        elif reported_late:
            events += [end, replace(answer, time=now + reported_late)]
        else:
            events += [answer, end]
    return Trace(Header("1", 0.0, "greedy", "manage", Settings()), tuple(map(Step, events)))


def per_task(trace: Trace, costs: Costs | None = None) -> float:
    """What an event loop and the messages of a task take together, on worker 0."""
    mine = [e for e in trace.events() if not _of_worker_1(e)]
    only = replace(trace, entries=tuple(map(Step, mine)))
    message, task = overheads(only, [], list(only.fetches()), costs or Costs())
    return 2 * message + task


def _of_worker_1(event: ev.Event) -> bool:
    if isinstance(event, ev.TaskStarted | ev.TaskFinished):
        return event.task < 10
    return isinstance(event, ev.WorkerJoined) and event.worker == 1


def test_without_fetches_all_that_is_left_is_overhead():
    assert per_task(chain(*[0.0] * 8)) == pytest.approx(2 * MESSAGE + TASK)


def test_what_tasks_waited_for_arrays_is_not():
    waits = [0.05, 0.0, 0.2, 0.01, 0.0, 0.0, 0.1, 0.03]
    assert per_task(chain(*waits)) == pytest.approx(2 * MESSAGE + TASK)


def test_as_long_as_was_measured_whatever_the_fit_says():
    costs = Costs(send=CopyCost(1.0, 5.0))
    assert per_task(chain(*[0.05] * 8), costs) == pytest.approx(2 * MESSAGE + TASK)


def test_answers_that_came_side_by_side_are_waited_for_once():
    trace = chain(*[0.05] * 8)

    def doubled(step: Step) -> Step:
        event = step.event
        if not isinstance(event, ev.ArraysMoved):
            return step
        (answer,) = event.fetches
        return Step(replace(event, fetches=(answer, (2, 0.03, answer[2]))))

    changed = replace(trace, entries=tuple(map(doubled, trace.steps())))
    assert per_task(changed) == pytest.approx(2 * MESSAGE + TASK)


def test_also_if_the_report_comes_after_the_task_has_ended():
    late = chain(*[0.05] * 8, reported_late=0.005)
    assert per_task(late) == pytest.approx(2 * MESSAGE + TASK)


def test_a_report_that_comes_much_later_belongs_to_no_task():
    late = chain(*[0.05] * 8, reported_late=0.03)
    assert per_task(late) == pytest.approx(2 * MESSAGE + TASK + 0.05)


def test_fetches_of_arrays_that_nobody_reads_are_of_no_interest():
    trace = chain(*[0.05] * 8)

    def elsewhere(step: Step) -> Step:
        event = step.event
        if not isinstance(event, ev.ArraysMoved):
            return step
        ((source, seconds, _),) = event.fetches
        return Step(replace(event, fetches=((source, seconds, ((-1, 10), (19, 5))),)))

    changed = replace(trace, entries=tuple(map(elsewhere, trace.steps())))
    assert per_task(changed) == pytest.approx(2 * MESSAGE + TASK + 0.05)


def test_a_trace_that_tells_of_no_fetch_has_each_array_fetched_once_at_the_assumed_cost():
    trace = chain(*[0.05] * 8)
    silent = tuple(Step(event) for event in trace.events() if not isinstance(event, ev.ArraysMoved))

    def task(costs: Costs) -> float:
        return overheads(replace(trace, entries=silent), [], [], costs)[1]

    # Half of all tasks read an array of 10 bytes, which take 40 ms.
    free, assumed = task(Costs()), task(Costs(send=CopyCost(10 / 0.04)))
    assert free - assumed == pytest.approx(0.04 / 2, rel=0.1)


@pytest.mark.parametrize("send", [CopyCost(2e7), CopyCost(5e7, 1e-2)])
@pytest.mark.parametrize("task", [0.0, 2e-3])
def test_simulated_runs_on_two_workers_give_back_their_event_loops(send: CopyCost, task: float):
    machine = Machine(500_000, workers=2, costs=replace(COSTS, send=send, task=task))
    with reporting_fetches():
        run, trace = recorded(block_product(4), machine, "greedy")
    assert run.bytes_sent > 500_000
    _, found = overheads(trace, list(trace.copies()), list(trace.fetches()), machine.costs)
    assert found == pytest.approx(task, abs=1e-3)
