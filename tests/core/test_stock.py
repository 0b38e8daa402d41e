"""Dask's own scheduling, played: who gets which task, and when."""

from __future__ import annotations

import numpy as np

from dask_mlsched.core.dag import Dag, DagTask
from dask_mlsched.core.stock import StockAsTaken, StockDask
from dask_mlsched.core.taken import Sent


def stock(tasks: list[DagTask], workers: int = 2, threads: int = 1) -> StockDask:
    graph = Dag.build("stock", tasks)
    return StockDask(graph, np.arange(len(graph)), workers, threads)


def roots(count: int) -> list[DagTask]:
    return [DagTask(f"r-{i}", [], 10, 1.0, "r") for i in range(count)]


def test_many_of_a_kind_without_inputs_wait_for_slots():
    dask = stock(roots(9))
    for task in range(9):
        dask.ready(task)
    # ceil(1.1 * 1) tasks a worker, the least busy worker first.
    assert dask.decide({}, []) == [(0, 0), (1, 1), (2, 0), (3, 1)]
    assert dask.decide({}, []) == []
    dask.finished(1, 1, 1.0)
    assert dask.decide({}, []) == [(4, 1)]


def test_few_of_a_kind_go_off_at_once():
    dask = stock(roots(4))
    for task in range(4):
        dask.ready(task)
    assert [worker for _, worker in dask.decide({}, [])] == [0, 1, 0, 1]


def test_with_few_shared_inputs_they_are_roots_still():
    given = [DagTask(f"g-{i}", [], 10, 0.0, "g") for i in range(4)]
    readers = [DagTask(f"r-{i}", ["g-0", "g-1"], 10, 1.0, "r") for i in range(9)]
    dask = stock(given + readers)
    for task in range(4, 13):
        dask.ready(task)
    holders = {0: {0}, 1: {0}}
    assert len(dask.decide(holders, [10] * 13)) == 4


def test_a_task_goes_where_its_inputs_are():
    tasks = [
        DagTask("a", [], 10**9, 1.0, "a"),
        DagTask("b", [], 10, 1.0, "b"),
        DagTask("c", ["a", "b"], 10, 1.0, "c"),
    ]
    dask = stock(tasks)
    dask.ready(2)
    nbytes = [10**9, 10, 10]
    assert dask.decide({0: {1}, 1: {0}}, nbytes) == [(2, 1)]


def test_unless_waiting_there_takes_longer_than_sending():
    tasks = [
        DagTask("a", [], 10, 1.0, "a"),
        DagTask("b", [], 10, 1.0, "b"),
        *[DagTask(f"c-{i}", ["a", "b"], 10, 1.0, "c") for i in range(4)],
    ]
    dask = stock(tasks)
    for task in range(2, 6):
        dask.ready(task)
    sent = dask.decide({0: {1}, 1: {0}}, [10] * 6)
    assert [worker for _, worker in sent] == [0, 1, 0, 1]


# As in a run that is repeated


def test_tasks_go_again_where_they_went_once_what_was_heard_before_has_been_heard():
    sent = [Sent(2, 1), Sent(0, 0), Sent(1, 1, after=0)]
    dask = StockAsTaken(sent, np.arange(3), 2)
    for task in range(3):
        dask.ready(task)
    assert sorted(dask.decide({}, [])) == [(0, 0), (2, 1)]
    assert dask.decide({}, []) == []
    dask.finished(2, 1, 1.0)
    assert dask.decide({}, []) == []
    dask.finished(0, 0, 1.0)
    assert dask.decide({}, []) == [(1, 1)]


def test_a_task_that_did_not_run_then_goes_at_once():
    dask = StockAsTaken([Sent(1, 1)], np.array([1, 0, 2]), 2)
    for task in (2, 0):
        dask.ready(task)
    assert dask.decide({}, []) == [(0, 0), (2, 0)]
    dask.ready(1)
    assert dask.decide({}, []) == [(1, 1)]
