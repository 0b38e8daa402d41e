"""DARTS by hand: which array it loads next, and what it plans for that.

All arrays are in the slow tier to begin with, except those that are said to be resident. Ten bytes
take a second to load; tasks make nothing and count as half a second each.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import pytest

from core.driver import VirtualDask
from core.planners.contract import only_planner
from dask_mlsched.core import events as ev
from dask_mlsched.core.planners.darts import Darts, DartsLuf, Plan


def dask_with(
    nbytes: Mapping[str, int],
    resident: Iterable[str] = (),
    planner: Darts | None = None,
    limit: int = 1000,
    workers: int = 1,
) -> VirtualDask:
    dask = VirtualDask(
        planner or Darts(), lookahead=0, bandwidth=10.0, network_bandwidth=10.0, failures=1
    )
    for worker in range(workers):
        dask.join(worker, limit=limit)
    for key, size in nbytes.items():
        dask.scatter(key, size, range(workers))
    seen = tuple(dask.number(key) for key in resident)
    for worker in range(workers):
        dask.handle(ev.ResidencySeen(0.0, worker, seen))
    return dask


def order(dask: VirtualDask, graph: str) -> list[str]:
    """Run tasks that make nothing; everything was chosen by the planner."""
    dask.submit("\n".join(f"{line}:0" for line in graph.splitlines()), seconds=0.5)
    dask.run()
    assert {run.reason for run in dask.runs} == {"policy"}
    return dask.sent


def test_the_array_with_the_least_load_time_per_second_of_work_comes_first():
    # Loading x (10 bytes, 1 s) frees p: 1 / 0.5 = 2. Loading y (30 bytes, 3 s) frees q, r, s and
    # t: 3 / 2 = 1.5, so that y comes first, though it is larger and p is the first task.
    dask = dask_with({"x": 10, "y": 30, "b": 10}, resident=["b"])
    assert order(dask, "x b -> p\ny b -> q\ny b -> r\ny b -> s\ny b -> t") == list("qrstp")


def test_of_equal_ratios_the_one_that_frees_most_tasks_comes_first():
    # x: 1 s / 0.5 s; y: 2 s / 1 s.
    dask = dask_with({"x": 10, "y": 20, "b": 10}, resident=["b"])
    assert order(dask, "x b -> p\ny b -> q\ny b -> r") == list("qrp")


def test_then_the_one_that_brings_most_tasks_one_from_free():
    # x and y free one task each; y also brings r one from free (e is missing, too). Then e frees
    # r, and x frees p, at the same ratio; x brings nothing one from free, nor e; both are read for
    # half a second; p's array x is the older one.
    dask = dask_with({"x": 10, "y": 10, "b": 10, "e": 10}, resident=["b"])
    assert order(dask, "x b -> p\ny b -> q\ny e -> r") == list("qpr")


def test_then_the_one_whose_readers_compute_longest():
    # x and y free one task each and bring none one from free; s reads y, but misses three.
    dask = dask_with({"x": 10, "y": 10, "b": 10, "e": 10, "f": 10}, resident=["b"])
    assert order(dask, "x b -> p\ny b -> q\ny e f -> s")[:1] == ["q"]


def test_where_nothing_would_be_freed_the_array_with_most_tasks_one_from_free_brings_one():
    # Nothing is resident: a1 has two tasks one from free, the others one. Of these two, p12 comes
    # first in Dask's order. Then a1 and b2 are resident, and b3 frees p13; q is still two away.
    dask = dask_with(dict.fromkeys(["a1", "a2", "b1", "b2", "b3"], 10))
    assert order(dask, "a2 b1 -> q\na1 b2 -> p12\na1 b3 -> p13") == ["p12", "p13", "q"]


def test_where_nothing_is_one_from_free_the_first_ready_task_runs():
    dask = dask_with(dict.fromkeys("abcdef", 10))
    assert order(dask, "d e f -> p\na b c -> q") == ["p", "q"]


def test_a_task_that_reads_nothing_waits_for_those_that_read_something():
    dask = dask_with({"x": 10, "unread": 10})
    assert order(dask, "root\nx -> p") == ["p", "root"]


def test_what_misses_nothing_any_more_is_planned_before_an_array_is_chosen():
    # Nothing is freed by one array. a and b both have three tasks one from free; a is older, and
    # p is its first. That brings in a and b, so r misses nothing and comes before q and s, which
    # one more array frees.
    dask = dask_with(dict.fromkeys("abcd", 10))
    graph = "a b -> p\na c -> q\na b -> r\nb d -> s"
    assert order(dask, graph) == ["p", "r", "q", "s"]


def missing_again(planner: Darts) -> VirtualDask:
    """Plan q and r besides p, then have the worker lose x, which they read."""
    dask = dask_with({"x": 10, "b": 10, "y": 10}, resident=["b"], planner=planner)
    dask.submit("x b -> p:0\nx b -> q:0\nx b -> r:0", seconds=0.5)
    dask.decide()
    dask.finish("p")
    dask.handle(ev.ResidencySeen(dask.now, 0, (dask.number("b"),)))
    return dask


def test_a_ready_task_that_needs_nothing_goes_before_the_first_planned_one_that_does():
    # t reads what is resident, and u what q and r will bring in; v reads neither.
    dask = missing_again(Darts())
    assert order(dask, "b -> t\nx -> u\ny -> v") == ["p", "t", "u", "q", "r", "v"]


def test_a_ready_task_goes_behind_planned_ones_that_miss_nothing():
    dask = dask_with({"x": 10, "b": 10, "unread": 10}, resident=["b"])
    dask.submit("x b -> p:0\nx b -> q:0\nx b -> r:0", seconds=0.5)
    dask.decide()
    assert order(dask, "b -> t") == ["p", "q", "r", "t"]


@pytest.mark.parametrize(("kind", "planned"), [(Darts, ["q", "r"]), (DartsLuf, [])])
def test_under_luf_planned_tasks_that_read_a_victim_are_ready_again(
    kind: type[Darts], planned: list[str]
):
    dask = missing_again(kind())
    (plan,) = only_planner(dask)._plans.values()
    assert [dask.key(task) for task in plan.tasks()] == planned
    dask.run()
    assert dask.sent == ["p", "q", "r"]


def test_luf_evicts_what_no_planned_task_reads():
    # Room for three arrays. x frees p and q (with b), and is loaded for them: c is older than b,
    # and nobody planned reads it. Under LRU b would go, which is older still.
    dask = dask_with(
        dict.fromkeys(["b", "c", "d", "x"], 10), ["b", "c", "d"], planner=DartsLuf(), limit=30
    )
    assert order(dask, "x b -> p\nx b -> q\nc d x -> r") == ["p", "q", "r"]
    assert [[dask.key(array) for array in run.evict] for run in dask.runs] == [["c"], [], ["b"]]


def test_a_planned_task_waits_for_its_worker_and_others_are_chosen_from_the_rest():
    # Both workers hold b. Worker 0 plans p and q for x; worker 1 chooses y, and then is idle.
    dask = dask_with({"x": 10, "y": 10, "b": 10}, resident=["b"], workers=2)
    dask.submit("x b -> p:0\nx b -> q:0\ny b -> r:0", seconds=0.5)
    dask.run()
    assert [(dask.key(run.task), run.worker) for run in dask.runs] == [("p", 0), ("r", 1), ("q", 0)]


def test_what_was_planned_for_a_worker_that_leaves_is_done_by_others():
    dask = dask_with({"x": 10, "y": 10, "b": 10}, resident=["b"], workers=2)
    dask.submit("x b -> p:0\nx b -> q:0\ny b -> r:0", seconds=0.5)
    dask.decide()
    dask.pause(0)
    dask.run()
    assert [(dask.key(run.task), run.worker) for run in dask.runs] == [("p", 0), ("r", 1), ("q", 1)]


def test_a_plan_keeps_its_order_however_tasks_come_in():
    plan = Plan()
    resident = {1, 2}
    for task, inputs in {10: (1,), 11: (3,), 12: (1,)}.items():
        plan.append(task, inputs)
    plan.insert(13, (2,), resident)  # before 11, the first one with a missing input
    assert plan.tasks() == [10, 13, 11, 12]
    resident.add(3)
    plan.insert(14, (2,), resident)
    assert plan.tasks() == [10, 13, 11, 12, 14]
    resident.discard(1)
    plan.array_went(1)
    plan.insert(15, (2,), resident)
    assert plan.tasks() == [15, 10, 13, 11, 12, 14]
    for task in (10, 15, 13, 14, 12):
        plan.remove(task)
    assert plan.first() == 11
    plan.remove(11)
    assert (plan.first(), len(plan), plan.readers) == (None, 0, {})
