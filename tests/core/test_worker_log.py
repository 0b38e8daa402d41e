"""What a trace tells of each worker."""

from __future__ import annotations

import pytest

from dask_mlsched.core import events as ev
from dask_mlsched.core.chooser import Settings
from dask_mlsched.core.trace import Header, Names, Step, Trace
from dask_mlsched.core.worker_log import UNKNOWN, WorkerLogs, worker_logs

HEADER = Header("1.2.3", 0.0, "greedy", "manage", Settings())


def spec(task: int, *dependencies: int) -> ev.TaskSpec:
    return ev.TaskSpec(task, dependencies, (0, 0, task))


def log_of(*entries: ev.Event | Step | Names) -> WorkerLogs:
    """Read a trace of events, with instructions where there are any."""
    steps = (each if isinstance(each, Step | Names) else Step(each) for each in entries)
    return worker_logs(Trace(HEADER, tuple(steps)))


def run(time: float, task: int, worker: int = 0) -> ev.Run:
    return ev.Run(time, task, worker, "policy", 0, 1, 0, 0.0)


JOINED = ev.WorkerJoined(0.0, 0, 2, 100)
GRAPH = ev.GraphArrived(0.0, (spec(0), spec(1, 0)))
ONE_RUN = (ev.TaskStarted(1.0, 0, 0), ev.TaskFinished(2.0, 0, 10, 0.5))


def test_a_task_has_its_times_its_bytes_and_what_it_read():
    log = log_of(
        Names(tasks=((0, "a"), (1, "b")), workers=((0, "tcp://x"),)),
        *(JOINED, GRAPH, *ONE_RUN),
        *(ev.TaskStarted(2.0, 1, 0), ev.TaskFinished(3.5, 1, 20, 1.0)),
    )
    (worker,) = log.workers
    assert (worker.address, worker.threads, worker.limit) == ("tcp://x", 2, 100)
    assert log.keys == ["a", "b"]
    assert [(t.task, t.inputs, t.sent, t.heard, t.seconds, t.nbytes) for t in worker.tasks] == [
        (0, frozenset(), 1.0, 2.0, 0.5, 10),
        (1, frozenset({0}), 2.0, 3.5, 1.0, 20),
    ]
    assert (log.begin, log.end) == (1.0, 3.5)


def test_without_names_numbers_stand_for_tasks_and_workers():
    log = log_of(JOINED, GRAPH, *ONE_RUN)
    assert log.keys == ["0", "1"]
    assert log.workers[0].address == "worker 0"


def test_a_number_that_is_used_again_is_another_task():
    log = log_of(
        *(JOINED, ev.GraphArrived(0.0, (spec(7),))),
        *(ev.TaskStarted(1.0, 7, 0), ev.TaskFinished(2.0, 7, 10, 0.5)),
        *(ev.ArrayReleased(2.0, 7), ev.TaskForgotten(2.0, 7)),
        ev.GraphArrived(3.0, (spec(7),)),
        *(ev.TaskStarted(3.0, 7, 0), ev.TaskFinished(4.0, 7, 10, 0.5)),
    )
    assert [each.task for each in log.workers[0].tasks] == [0, 1]


def test_copies_of_what_is_forgotten_are_kept_without_a_name():
    copies = ((0, True, 10, 0.1), (-1, False, 5, 0.2), (9, False, 6, 0.3))
    moved = ev.ArraysMoved(2.0, 0, (), 21, 0.6, copies)
    (worker,) = log_of(JOINED, GRAPH, *ONE_RUN, moved).workers
    assert [array for array, *_ in worker.reports[0].copies] == [0, UNKNOWN, UNKNOWN]


def test_a_worker_that_comes_back_is_another_one():
    log = log_of(
        *(JOINED, GRAPH, *ONE_RUN, ev.WorkerLeft(5.0, 0)),
        ev.WorkerJoined(6.0, 0, 1, None),
    )
    assert [(each.joined, each.left, each.threads) for each in log.workers] == [
        (0.0, 5.0, 2),
        (6.0, None, 1),
    ]


def test_a_task_that_stopped_is_counted_and_has_no_row():
    log = log_of(JOINED, GRAPH, *ONE_RUN, ev.TaskStarted(2.0, 1, 0), ev.TaskStopped(3.0, 1))
    (worker,) = log.workers
    assert (len(worker.tasks), worker.stopped) == (1, 1)


def test_a_task_that_seceded_tells_when():
    log = log_of(
        JOINED,
        GRAPH,
        ev.TaskStarted(1.0, 0, 0),
        ev.TaskSeceded(1.25, 0),
        ev.TaskFinished(2.0, 0, 1, 0.9),
    )
    assert log.workers[0].tasks[0].seceded == 1.25


def test_a_clock_that_was_set_back_gives_no_time_below_nothing():
    log = log_of(JOINED, GRAPH, ev.TaskStarted(1.0, 0, 0), ev.TaskFinished(2.0, 0, 1, -3.0))
    assert log.workers[0].tasks[0].seconds == 0


@pytest.mark.parametrize(
    ("later", "end"),
    [
        ([Step(ev.Decide(1.75), (run(1.75, 1),))], 1.75),
        # The first decision after the deadline ends it, though nothing was sent.
        ([Step(ev.Decide(1.75)), Step(ev.Decide(2.5)), Step(ev.Decide(3.0))], 2.5),
        ([ev.WorkerLeft(1.8, 0)], 1.8),
        # Nothing was said any more: it ends by itself.
        ([], 2.0),
    ],
)
def test_a_hold_ends_with_a_task_after_its_deadline_or_with_its_worker(
    later: list[ev.Event | Step], end: float
):
    held = Step(ev.Decide(1.5), (ev.Hold(1.5, 0, 2.0, 0.5),))
    (worker,) = log_of(JOINED, GRAPH, *ONE_RUN, held, *later).workers
    assert worker.holds == [(1.5, end)]


def test_a_task_for_one_worker_does_not_end_the_hold_of_another():
    held = Step(ev.Decide(1.0), (ev.Hold(1.0, 0, 2.0, 0.5), run(1.0, 1, 1)))
    log = log_of(JOINED, ev.WorkerJoined(0.0, 1, 1, 100), GRAPH, held, *ONE_RUN)
    assert [worker.holds for worker in log.workers] == [[(1.0, 2.0)], []]


def test_a_trace_in_which_nothing_ended_is_refused():
    with pytest.raises(ValueError, match="no task of this trace has ended; expected a trace"):
        log_of(JOINED, GRAPH, ev.TaskStarted(1.0, 0, 0))
