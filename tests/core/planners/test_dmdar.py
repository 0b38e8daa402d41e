"""Dmdar by hand: where tasks are assigned, and which one of a queue runs first.

Ten bytes take a second between the tiers, and another one between workers. A task of a prefix
that has not run counts as half a second, and that is how long tasks take.
"""

from __future__ import annotations

from core.driver import VirtualDask
from dask_mlsched.core import events as ev
from dask_mlsched.core.planners.dmdar import Dmdar


def dask_of(*limits: int | None, lookahead: int = 0) -> VirtualDask:
    dask = VirtualDask(Dmdar(), bandwidth=10.0, network_bandwidth=10.0, lookahead=lookahead)
    for worker, limit in enumerate(limits):
        dask.join(worker, limit=limit)
    return dask


def workers(dask: VirtualDask) -> dict[str, int]:
    return {dask.key(run.task): run.worker for run in dask.runs}


def test_a_task_goes_where_it_ends_first_with_transfers_counted_twice():
    # x is resident on worker 0. There the n-th task ends at 0.5 n; on worker 1 it is sent (2 s),
    # loaded (2 s) and computed (0.5 s), and ends at 4.5. Once worker 0 is later than that, min(end)
    # is 4.5, and the task moves when 0.5 n - 4.5 > 0 + 4: with the 18th. Then worker 1 is free
    # at 4.5 and the next task would end at 9 on both, where worker 0 has no transfer: the 19th
    # goes there.
    dask = dask_of(100, 100)
    dask.scatter("x", 20, [0])
    dask.submit("\n".join(f"x -> p-{n}:0" for n in range(1, 20)), seconds=0.5)
    dask.run()
    assert workers(dask) == {f"p-{n}": int(n == 18) for n in range(1, 20)}


def test_of_a_queue_the_fewest_missing_bytes_go_first_and_the_first_of_equals():
    # 60 bytes of 80 are resident: b and c. q and s miss nothing. Then p and r miss the 30 bytes
    # of a, and p was queued before r, though by then s has been since.
    dask = dask_of(60)
    for key, nbytes in {"a": 30, "b": 30, "c": 20}.items():
        dask.scatter(key, nbytes, [0])
    dask.submit("a -> p:0\nb -> q:0\na c -> r:0\nb -> s:0", seconds=0.5)
    assert dask.run() == ["q", "s", "p", "r"]


def test_missing_bytes_follow_what_moves():
    # b is resident, a is not. p would miss 30 bytes, q 40 until the worker says that a is
    # resident and b is not: then p misses nothing and q 20.
    dask = dask_of(50)
    for key, nbytes in {"a": 30, "c": 20, "b": 40}.items():
        dask.scatter(key, nbytes, [0])
    dask.submit("first:0")
    dask.decide()
    dask.submit("b c -> q:0\na -> p:0", seconds=0.5)

    dask.handle(ev.ResidencySeen(dask.now, 0, (dask.number("a"),)))
    assert dask.run() == ["first", "p", "q"]


def test_the_queue_of_a_worker_that_leaves_goes_to_others():
    dask = dask_of(100, 100)
    dask.scatter("x", 20, [0, 1])
    dask.submit("\n".join(f"x -> p-{n}:0" for n in range(6)), seconds=0.5)
    dask.decide()
    dask.leave(1)
    dask.run()
    assert {run.worker for run in dask.runs[2:]} == {0}


def test_a_worker_that_joins_takes_its_part_of_the_queues():
    dask = dask_of(100)
    dask.submit(" ".join(f"p-{n}:0" for n in range(10)), seconds=0.5)
    dask.decide()
    dask.join(1)
    dask.run()
    # One is on worker 0 when worker 1 joins; the other nine are shared out by expected end,
    # and the first of them would end at 0.5 on worker 1 and at 1.0 on worker 0.
    assert [run.worker for run in dask.runs].count(1) == 5


def test_a_worker_with_an_empty_queue_stays_idle():
    # Both tasks end sooner one after the other on worker 0 than 4 seconds later on worker 1.
    dask = dask_of(100, 100)
    dask.scatter("x", 20, [0])
    dask.submit("x -> p:0\nx -> q:0", seconds=0.5)
    dask.decide()
    assert [run.worker for run in dask.runs] == [0]
    dask.run()
    assert [run.worker for run in dask.runs] == [0, 0]


def test_where_everything_fits_it_says_where_tasks_run_all_the_same():
    dask = dask_of(None, None)
    dask.submit(" ".join(f"p-{n}" for n in range(4)))
    dask.run()
    assert {run.reason for run in dask.runs} == {"policy"}
