"""Reading decisions out of traces."""

from __future__ import annotations

from core.recorded import RecordedDask
from core.recorded_simulations import MACHINE_LIMIT, block_product, recorded
from dask_mlsched.core.costs import Costs
from dask_mlsched.core.machine import Machine
from dask_mlsched.core.policies import Greedy
from dask_mlsched.core.taken import Taken, taken


def virtual(**settings: float) -> RecordedDask:
    dask = RecordedDask(Greedy(), **settings)
    dask.join(0, limit=None)
    return dask


def rows(found: Taken) -> list[tuple[str, int, str | None]]:
    keys = found.dag.keys
    return [
        (keys[each.task], each.worker, None if each.after is None else keys[each.after])
        for each in found.sent
    ]


def test_tasks_stand_in_the_order_in_which_they_were_sent_with_what_was_heard_before():
    dask = virtual(lookahead=0)
    dask.submit("c\nb\na\na -> d", one_by_one=False, wanted=["b", "c", "d"])
    dask.run()
    assert rows(taken(dask.trace())) == [
        *(("c", 0, None), ("b", 0, "c"), ("a", 0, "b"), ("d", 0, "a")),
    ]


def test_workers_are_counted_as_they_join():
    dask = RecordedDask(Greedy(), lookahead=0)
    dask.join(7, limit=None)
    dask.join(3, limit=None)
    dask.submit("a\nb", wanted=["a", "b"])
    dask.run()
    # Among idle workers, that of the lowest number is first.
    assert {(key, worker) for key, worker, _ in rows(taken(dask.trace()))} == {("a", 1), ("b", 0)}


def test_of_a_task_that_was_sent_twice_the_last_time_counts():
    dask = virtual()
    dask.submit("a -> b", wanted=["a", "b"])
    dask.run()
    dask.join(1, limit=None)
    dask.leave(0)
    dask.run()
    found = taken(dask.trace())
    assert [(key, worker) for key, worker, _ in rows(found)] == [("a", 1), ("b", 1)]


def test_what_never_ended_is_left_out():
    dask = virtual()
    dask.submit("a -> b", wanted=["b"], seconds=1.0)
    dask.decide()
    dask.advance(1.0)
    assert [key for key, *_ in rows(taken(dask.trace()))] == ["a"]


def test_a_number_that_is_used_again_is_another_task():
    dask = virtual()
    dask.submit("a", wanted=["a"])
    dask.run()
    dask.release("a")
    dask.submit("b", wanted=["b"])
    dask.run()
    assert [key for key, *_ in rows(taken(dask.trace()))] == ["a", "b"]


def test_victims_are_those_of_the_instructions():
    machine = Machine(limit=MACHINE_LIMIT, costs=Costs())
    _, trace = recorded(block_product(3), machine, "greedy", eviction="next-use")
    told = [run.evict for run in trace.instructions() if getattr(run, "evict", ())]
    # The trace's tasks are numbered in Dask's order, as in the simulation.
    assert told
    assert [each.victims for each in taken(trace).sent if each.victims] == told
