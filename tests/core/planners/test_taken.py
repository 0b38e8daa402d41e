"""Repeating a record: turns, what is not in it, and what went otherwise."""

from __future__ import annotations

from core.driver import VirtualDask
from dask_mlsched.core.planners.taken import Taken
from dask_mlsched.core.taken import Sent


def dask_of(planner: Taken, workers: int = 2) -> VirtualDask:
    dask = VirtualDask(planner, lookahead=0)
    for worker in range(workers):
        dask.join(worker, limit=100)
    return dask


def sent(dask: VirtualDask) -> list[tuple[str, int]]:
    return [(dask.key(run.task), run.worker) for run in dask.runs]


def test_each_worker_gets_its_tasks_in_their_order():
    # Numbers are in the order of submission: a 0, b 1, c 2, d 3.
    planner = Taken([Sent(3, 0), Sent(1, 1), Sent(0, 0), Sent(2, 0)])
    dask = dask_of(planner)
    dask.submit("a\nb\nc\nd", wanted=["a", "b", "c", "d"])
    dask.run()
    assert [key for key, worker in sent(dask) if worker == 0] == ["d", "a", "c"]
    assert [key for key, worker in sent(dask) if worker == 1] == ["b"]
    assert (planner.differences.unknown, planner.differences.out_of_turn) == (0, 0)


def test_a_worker_waits_for_what_was_heard_before():
    # c came after a had ended, though b and c were ready all the time.
    planner = Taken([Sent(0, 0), Sent(2, 1, after=0), Sent(1, 0, after=2)])
    dask = dask_of(planner)
    dask.submit("a\nb\nc", wanted=["a", "b", "c"], seconds=1.0)
    dask.run()
    assert [(dask.key(run.task), run.time) for run in dask.runs] == [("a", 0), ("c", 1), ("b", 2)]


def test_tasks_that_the_record_has_not_fill_slots_and_are_counted():
    planner = Taken([Sent(0, 0), Sent(1, 0)])
    dask = dask_of(planner)
    dask.submit("a\nb\nnew-1\nnew-2", wanted=["a", "b", "new-1", "new-2"])
    dask.run()
    assert [key for key, worker in sent(dask) if worker == 0][:2] == ["a", "b"]
    assert {key for key, _ in sent(dask)} == {"a", "b", "new-1", "new-2"}
    assert (planner.differences.unknown, planner.differences.out_of_turn) == (2, 0)


def test_what_a_lost_worker_would_have_got_goes_to_others():
    planner = Taken([Sent(0, 0), Sent(1, 1), Sent(2, 1)])
    dask = dask_of(planner)
    dask.submit("a\nb\nc", wanted=["a", "b", "c"])
    dask.leave(1)
    dask.run()
    assert [key for key, _ in sent(dask)] == ["a", "b", "c"]


def test_a_record_that_cannot_go_on_does_not_stop_the_run():
    # b is said to have gone after c, which waits for b.
    planner = Taken([Sent(0, 0), Sent(1, 0, after=2), Sent(2, 0)])
    dask = dask_of(planner, workers=1)
    dask.submit("a -> b -> c", wanted=["c"])
    dask.run()
    assert [key for key, _ in sent(dask)] == ["a", "b", "c"]


def test_tasks_sent_out_of_turn_are_counted_and_left_out():
    planner = Taken([Sent(0, 0), Sent(1, 0), Sent(2, 0)])
    dask = dask_of(planner, workers=1)
    dask.submit("a\nb\nc", wanted=["a", "b", "c"])
    planner.task_sent(1, 0)
    assert (planner.differences.unknown, planner.differences.out_of_turn) == (0, 1)
    planner.task_ready(0)
    planner.task_ready(2)
    assert planner.propose(0, 0.0) == [0]
    planner.task_sent(0, 0)
    assert planner.propose(0, 0.0) == [2]


def test_planners_of_other_priorities_count_together():
    planner = Taken([])
    fresh = planner.fresh()
    fresh.task_sent(5, 0)
    assert planner.differences.unknown == 1
