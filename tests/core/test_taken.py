"""Reading decisions out of traces."""

from __future__ import annotations

import pytest

from core.recorded import RecordedDask
from core.recorded_simulations import MACHINE_LIMIT, block_product, recorded
from dask_mlsched.core.costs import CopyCost, Costs
from dask_mlsched.core.machine import Machine
from dask_mlsched.core.policies import Greedy, Situation
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


def test_tasks_end_in_the_order_in_which_it_was_heard_of():
    dask = virtual(lookahead=0)
    dask.submit("c\nb\na\na -> d", one_by_one=False, wanted=["b", "c", "d"])
    dask.run()
    found = taken(dask.trace())
    assert [found.dag.keys[task] for task in found.ended] == ["c", "b", "a", "d"]


def test_how_long_slots_were_held_is_known():
    dag = block_product(4)
    machine = Machine(MACHINE_LIMIT, costs=Costs(load=CopyCost(1e7), evict=CopyCost(1e7)))
    run, trace = recorded(dag, machine, "greedy-hold", lookahead=1)
    found = taken(trace)
    assert run.hold_seconds > 0
    assert sum(each.held for each in found.sent) == pytest.approx(run.hold_seconds)
    assert sum(each.held for each in taken(recorded(dag, machine, "greedy")[1]).sent) == 0


def test_the_policys_propensity_is_kept_and_is_one_where_nobody_was_asked():
    class Unsure(Greedy):
        def propensity(self, situation: Situation, action: int) -> float:
            return 1 / len(situation.candidates)

    dask = RecordedDask(Unsure(), lookahead=0)
    dask.join(0, limit=10)
    dask.submit("a\nb\nc", wanted=["a", "b", "c"])
    dask.run()
    assert [each.propensity for each in taken(dask.trace()).sent] == [1 / 3, 1 / 2, 1.0]
