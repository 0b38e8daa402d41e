"""When copies were made, as far as reports tell."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dask_mlsched.core.placed_copies import PlacedCopy, place_copies
from dask_mlsched.core.worker_log import LoggedCopies, LoggedTask, WorkerLog


def log(
    *reports: tuple[float, list[tuple[int, bool, int, float]]], tasks: tuple[LoggedTask, ...] = ()
) -> WorkerLog:
    made = [LoggedCopies(time, tuple(copies)) for time, copies in reports]
    return WorkerLog("x", 1, 100, 0.0, tasks=list(tasks), reports=made)


def spans(placed: list[PlacedCopy]) -> list[tuple[float, float]]:
    return [(each.start, each.end) for each in placed]


LOAD, EVICT = (1, True, 10, 0.25), (2, False, 20, 0.5)


def test_copies_stand_before_their_report_in_their_order():
    placed = place_copies(log((2.0, [LOAD, EVICT])), 0.0)
    assert spans(placed) == [(1.25, 1.5), (1.5, 2.0)]
    assert [(each.array, each.loaded, each.nbytes, each.seconds) for each in placed] == [
        LOAD,
        EVICT,
    ]


def test_a_report_is_a_message_late():
    assert spans(place_copies(log((2.0, [EVICT])), 0.125)) == [(1.375, 1.875)]


def test_what_took_no_time_was_no_copy():
    assert place_copies(log((2.0, [(1, False, 0, 0.0)])), 0.0) == []


def test_copies_of_two_reports_stand_one_after_the_other():
    placed = place_copies(log((2.0, [EVICT]), (2.25, [EVICT])), 0.0)
    assert spans(placed) == [(1.25, 1.75), (1.75, 2.25)]


def test_a_load_was_over_before_its_reader_computed():
    reader = LoggedTask(5, frozenset({1}), sent=1.0, heard=2.0, seconds=0.5)
    (placed,) = place_copies(log((2.0, [LOAD]), tasks=(reader,)), 0.0)
    assert (placed.end, placed.reader) == (1.5, 0)


def test_a_load_is_for_the_first_reader_that_had_not_ended():
    tasks = tuple(
        LoggedTask(5 + n, frozenset({1}), sent=n, heard=n + 0.75, seconds=0.1) for n in range(3)
    )
    (placed,) = place_copies(log((1.5, [LOAD]), tasks=tasks), 0.0)
    assert placed.reader == 1


def test_a_reader_that_was_not_there_yet_is_none():
    late = LoggedTask(5, frozenset({1}), sent=9.0, heard=9.5, seconds=0.1)
    (placed,) = place_copies(log((2.0, [LOAD]), tasks=(late,)), 0.0)
    assert (placed.end, placed.reader) == (2.0, None)


def test_copies_that_were_made_at_the_same_time_are_squeezed_together():
    # Two seconds of copies in one second between two reports.
    first = (1.0, [(1, False, 1, 0.5)])
    both = (2.0, [(2, False, 1, 0.5), (3, True, 1, 1.0), (4, False, 1, 0.5)])
    placed = place_copies(log(first, both), 0.0)
    assert spans(placed[1:]) == [
        pytest.approx((0.9, 1.175)),
        pytest.approx((1.175, 1.725)),
        pytest.approx((1.725, 2.0)),
    ]
    assert [each.seconds for each in placed[1:]] == [0.5, 1.0, 0.5]


def test_a_copy_may_be_longer_than_the_time_between_two_reports():
    placed = place_copies(log((1.9, [(1, False, 1, 0.1)]), (2.0, [(2, False, 1, 1.5)])), 0.0)
    assert spans(placed)[1] == (0.5, 2.0)


seconds = st.floats(0, 3)
reports = st.lists(
    st.tuples(
        st.floats(0, 2),
        st.lists(st.tuples(st.integers(-1, 5), st.booleans(), st.integers(0, 9), seconds)),
    )
)
tasks = st.lists(
    st.tuples(st.frozensets(st.integers(0, 5)), st.floats(0, 1), seconds, st.floats(0, 1))
)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(reports, tasks, st.sampled_from([0.0, 0.005]))
def test_copies_never_overlap_nor_come_after_their_report(
    after: list[tuple[float, list[tuple[int, bool, int, float]]]],
    drawn: list[tuple[frozenset[int], float, float, float]],
    message: float,
):
    told: list[tuple[float, list[tuple[int, bool, int, float]]]] = []
    for gap, copies in after:
        told.append(((told[-1][0] if told else 0.0) + gap, copies))
    ended: list[LoggedTask] = []
    for number, (inputs, gap, took, waited) in enumerate(drawn):
        heard = (ended[-1].heard if ended else 0.0) + gap
        ended.append(LoggedTask(9 + number, inputs, heard - took - waited, heard, took))
    placed = place_copies(log(*told, tasks=tuple(ended)), message)
    latest = [time for time, copies in told for *_, took in copies if took > 0]
    assert len(placed) == len(latest)
    now = float("-inf")
    for each, time in zip(placed, latest, strict=True):
        assert now - 1e-9 <= each.start <= each.end <= time - message + 1e-9
        assert each.end - each.start <= each.seconds + 1e-9
        now = each.end
