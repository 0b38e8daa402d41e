"""How full the fast tiers were."""

from __future__ import annotations

import pytest

from core.recorded_simulations import COSTS, block_product, recorded
from dask_mlsched.core import events as ev
from dask_mlsched.core.chooser import Settings
from dask_mlsched.core.machine import Machine
from dask_mlsched.core.resident_bytes import Level, resident_bytes
from dask_mlsched.core.trace import Header, Step, Trace

HEADER = Header("1.2.3", 0.0, "greedy", "manage", Settings())
SPECS = tuple(ev.TaskSpec(n, (0,) if n else (), (0, 0, n)) for n in range(3))


def levels(*events: ev.Event) -> list[Level]:
    start = (ev.WorkerJoined(0.0, 0, 1, 100), ev.GraphArrived(0.0, SPECS))
    return list(resident_bytes(Trace(HEADER, tuple(map(Step, (*start, *events))))))


def ran(time: float, task: int, nbytes: int, worker: int = 0) -> tuple[ev.Event, ev.Event]:
    return ev.TaskStarted(time, task, worker), ev.TaskFinished(time, task, nbytes, 0.0)


def moved(time: float, *moves: tuple[int, bool]) -> ev.ArraysMoved:
    return ev.ArraysMoved(time, 0, moves, 0, 0.0)


def course(level: Level) -> list[tuple[float, int]]:
    return list(zip(level.times, level.nbytes, strict=True))


def test_arrays_come_are_evicted_loaded_and_released():
    (level,) = levels(
        *ran(1.0, 0, 40),
        *ran(2.0, 1, 50),
        moved(3.0, (0, False)),
        moved(4.0, (0, True)),
        ev.ArrayReleased(5.0, 1),
    )
    assert course(level) == [(0.0, 0), (1.0, 40), (2.0, 90), (3.0, 50), (4.0, 90), (5.0, 40)]
    assert level.copied


def test_an_array_that_was_evicted_before_its_task_was_heard_of_is_not_there():
    (level,) = levels(
        ev.TaskStarted(1.0, 0, 0),
        moved(2.0, (0, False)),
        ev.TaskFinished(3.0, 0, 40, 0.5),
        moved(4.0, (0, True)),
    )
    assert course(level) == [(0.0, 0), (4.0, 40)]


def test_what_was_evicted_of_a_task_that_stopped_is_not_held_against_the_next_try():
    (level,) = levels(
        ev.TaskStarted(1.0, 0, 0),
        moved(2.0, (0, False)),
        ev.TaskStopped(3.0, 0),
        *ran(4.0, 0, 40),
    )
    assert course(level) == [(0.0, 0), (4.0, 40)]


def test_what_was_released_does_not_come_back_with_the_end_of_its_reader():
    (level,) = levels(
        *ran(1.0, 0, 40),
        ev.TaskStarted(2.0, 1, 0),
        ev.ArrayReleased(3.0, 0),
        ev.TaskFinished(3.0, 1, 7, 0.5),
    )
    assert course(level) == [(0.0, 0), (1.0, 40), (3.0, 7)]


def test_what_is_larger_than_the_limit_stays_in_the_slow_tier():
    assert course(*levels(*ran(1.0, 0, 101))) == [(0.0, 0)]


def test_a_list_of_what_is_there_puts_things_right():
    (level,) = levels(*ran(1.0, 0, 40), *ran(2.0, 1, 50), ev.ResidencySeen(3.0, 0, (1, 99)))
    assert course(level)[-1] == (3.0, 50)


def test_what_came_from_another_worker_counts_there_once():
    first, second = levels(
        ev.WorkerJoined(0.0, 1, 1, None), *ran(1.0, 0, 40), *ran(2.0, 1, 5, 1), *ran(3.0, 2, 5, 1)
    )
    assert course(first) == [(0.0, 0), (1.0, 40)]
    assert course(second) == [(0.0, 0), (2.0, 45), (3.0, 50)]
    assert (second.limit, second.worker) == (None, 1)


def test_scattered_arrays_and_answers_of_others_count_where_they_are():
    (level,) = levels(
        ev.ArrayAppeared(1.0, 0, 30, (0,)),
        ev.ArraysMoved(2.0, 0, (), 0, 0.0, (), ((1, 0.1, ((0, 30), (-1, 7))),)),
    )
    assert course(level) == [(0.0, 0), (1.0, 30)]


def test_a_worker_that_leaves_holds_nothing():
    (level,) = levels(*ran(1.0, 0, 40), ev.WorkerLeft(2.0, 0))
    assert course(level)[-1] == (2.0, 0)


def test_a_limit_may_be_seen_later():
    (level,) = levels(ev.LimitSeen(1.0, 0, 7))
    assert level.limit == 7


@pytest.mark.parametrize("policy", ["stock", "greedy"])
def test_simulated_stores_are_filled_and_stay_about_below_their_limit(policy: str):
    limit = 600_000
    machine = Machine(limit, workers=2, costs=COSTS)
    _, trace = recorded(block_product(4), machine, policy)
    for level in resident_bytes(trace):
        assert level.limit == limit
        assert limit / 2 < max(level.nbytes) < 1.4 * limit  # an array is up to a sixth of it
        assert min(level.nbytes) >= 0
