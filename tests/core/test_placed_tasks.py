"""When tasks computed, and on which thread, as far as a trace tells."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dask_mlsched.core.placed_copies import PlacedCopy
from dask_mlsched.core.placed_tasks import PlacedTask, place_tasks
from dask_mlsched.core.worker_log import LoggedTask, WorkerLog


def task(sent: float, heard: float, seconds: float, seceded: float | None = None) -> LoggedTask:
    return LoggedTask(0, frozenset(), sent, heard, seconds, seceded=seceded)


def copy(start: float, end: float, reader: int | None = None) -> PlacedCopy:
    return PlacedCopy(1, reader is not None, 10, end - start, start, end, reader)


def place(
    *tasks: LoggedTask, threads: int = 1, copies: tuple[PlacedCopy, ...] = (), message: float = 0.0
) -> list[list[PlacedTask]]:
    return place_tasks(WorkerLog("x", threads, 100, 0.0, tasks=list(tasks)), copies, message, 0.0)


def times(row: list[PlacedTask]) -> list[tuple[float, float]]:
    return [(each.start, each.end) for each in row]


def test_a_task_stands_in_the_middle_of_what_is_known():
    assert times(*place(task(1.0, 3.0, 1.0))) == [(1.5, 2.5)]


def test_messages_there_and_back_leave_less_room():
    assert times(*place(task(1.0, 3.0, 1.0), message=0.5)) == [(1.5, 2.5)]
    assert times(*place(task(1.0, 2.75, 1.0), message=0.25)) == [(1.375, 2.375)]


def test_a_task_computes_after_what_it_reads_was_loaded():
    assert times(*place(task(1.0, 3.0, 1.0), copies=(copy(1.0, 1.75, 0),))) == [(1.875, 2.875)]


def test_a_task_stands_where_nothing_is_copied():
    copies = (copy(1.6, 1.7), copy(2.7, 3.0))
    assert times(*place(task(1.0, 3.0, 1.0), copies=copies)) == [pytest.approx((1.7, 2.7))]


def test_tasks_of_one_thread_stand_one_after_the_other():
    assert times(*place(task(0.0, 1.0, 1.0), task(0.0, 1.5, 1.0))) == [(0.0, 0.5), (0.5, 1.5)]


def test_tasks_that_ran_at_the_same_time_are_on_two_threads():
    rows = place(task(0.0, 1.0, 1.0), task(0.0, 1.0, 1.0), task(0.0, 2.0, 1.0), threads=2)
    assert sorted(map(len, rows)) == [1, 2]
    assert all(each.end - each.start == 1.0 for row in rows for each in row)


def test_a_task_that_left_the_pool_leaves_its_thread():
    first, second = place(task(0.0, 9.0, 9.0, seceded=1.0), task(0.0, 3.0, 2.0))[0]
    assert (first.start, first.end) == (0.0, 1.0)
    assert (second.start, second.end) == (1.0, 3.0)


rows = st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1), st.floats(0, 3)), max_size=12)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(rows, st.integers(1, 3), st.lists(st.floats(0, 0.5), max_size=12))
def test_tasks_of_a_thread_never_overlap_and_end_before_that_was_heard_of(
    drawn: list[tuple[float, float, float]], threads: int, gaps: list[float]
):
    tasks: list[LoggedTask] = []
    for gap, waited, seconds in drawn:
        heard = (tasks[-1].heard if tasks else 0.0) + gap
        tasks.append(task(max(0.0, heard - seconds - waited), heard, seconds))
    copies, now = [], 0.0
    for gap in gaps:
        copies.append(copy(now + gap, now + 2 * gap))
        now += 2 * gap
    placed = place(*tasks, threads=threads, copies=tuple(copies))
    assert sum(map(len, placed)) == len(tasks)
    for row in placed:
        free = 0.0
        for each in row:
            assert free - 1e-9 <= each.start <= each.end
            assert each.end - each.start <= each.task.seconds + 1e-9
            assert each.end <= max(each.task.heard, free) + 1e-9
            free = each.end


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(rows)
def test_a_thread_that_had_the_time_computes_for_as_long_as_was_measured(
    drawn: list[tuple[float, float, float]],
):
    # One after the other, each in the time that it had: what really happens on one thread.
    tasks: list[LoggedTask] = []
    now = 0.0
    for waited, told, seconds in drawn:
        tasks.append(task(now, now + waited + seconds + told, seconds))
        now += waited + seconds
    tasks.sort(key=lambda each: each.heard)
    (row,) = place(*tasks)
    assert sum(each.end - each.start for each in row) == pytest.approx(
        sum(each.seconds for each in tasks)
    )
