"""One worker by hand: its two clocks, and what loads ahead may push out."""

from __future__ import annotations

import heapq
from collections.abc import Sequence

from dask_mlsched.core.costs import CopyCost, Costs
from dask_mlsched.core.simulated_worker import SimulatedWorker, TaskRecord

#: A byte takes a second.
SLOW = CopyCost(bandwidth=1.0)
COSTS = Costs(load=SLOW, evict=SLOW, send=SLOW)


def worker(
    limit: int | None = None,
    *,
    given: Sequence[int] = (),
    threads: int = 1,
    keep_clean: bool = False,
    overlap: bool = True,
) -> SimulatedWorker:
    """Return one of nine arrays of a byte each."""
    made = SimulatedWorker(
        0, threads, limit, [1] * 9, COSTS, keep_clean=keep_clean, overlap=overlap
    )
    for array in given:
        made.give(array)
    return made


def waits(on: SimulatedWorker, task: int) -> None:
    heapq.heappush(on.queue, (task, task))


def begin(
    on: SimulatedWorker, now: float, task: int, *inputs: int, victims: Sequence[int] = ()
) -> TaskRecord:
    waits(on, task)
    return on.begin(now, inputs, victims)


def test_without_overlap_the_event_loop_makes_every_copy():
    one = worker(2, given=[0, 1], overlap=False)
    begin(one, 1.0, 5, 0, 1)
    assert one.free_at == 3.0
    assert one.end(5, 4.0).end == 5.0, "0 has gone for the output"
    assert one.copier_free_at == 0.0


def test_a_task_waits_for_its_own_inputs_alone():
    one = worker(given=[0, 1, 2])
    begin(one, 0.0, 5, 0)
    waits(one, 6)
    waits(one, 7)
    assert one.waiting() == [6, 7]
    assert one.load_ahead(1.0, 6, [1], [])
    assert one.load_ahead(1.0, 7, [2], [])
    assert (one.waiting(), one.free_at, one.copier_free_at) == ([], 1.0, 3.0)
    one.end(5, 1.5)
    one.free_thread(5)
    record = one.begin(1.5, [1], [])
    assert (record.task, record.start, record.loaded) == (6, 1.5, [1])
    assert one.free_at == 2.0, "2 is on its way still"


def test_what_is_there_is_not_waited_for_while_the_copier_is_busy():
    one = worker(given=[0, 1])
    begin(one, 0.0, 5, 0)
    waits(one, 6)
    one.load_ahead(1.0, 6, [1], [])
    one.end(5, 1.0)
    one.free_thread(5)
    one.queue.clear()
    begin(one, 1.0, 7, 0, 5)
    assert one.free_at == 1.0


def test_an_input_that_two_tasks_read_is_there_when_it_has_been_loaded_for_the_first():
    one = worker(given=[0, 1])
    begin(one, 0.0, 5, 0)
    waits(one, 7)
    one.load_ahead(1.0, 7, [1], [])
    one.end(5, 1.0)
    one.free_thread(5)
    # 6 stands before 7 in Dask's order, and came later.
    assert begin(one, 1.0, 6, 1).loaded == []
    assert one.free_at == 2.0


def test_the_copier_begins_when_the_event_loop_has_asked_it():
    one = worker(given=[0, 1])
    begin(one, 0.0, 5, 0)
    one.free_at = 8.0  # something else keeps it
    waits(one, 6)
    one.load_ahead(3.0, 6, [1], [])
    assert one.copier_free_at == 9.0


def test_nothing_that_is_in_use_goes_out_for_a_load_ahead():
    one = worker(3, given=[0, 1, 2])
    begin(one, 0.0, 5, 0)
    one.receive(3, 1.0)
    waits(one, 6)
    waits(one, 7)
    waits(one, 8)
    # 0 was used longest ago, but 5 computes with it; and it stays although it is a victim.
    assert one.load_ahead(1.0, 6, [1, 2], [0])
    assert set(one.residency) == {0, 1, 2}
    assert not one.load_ahead(1.0, 7, [3], []), "all are in use: by 5, or for 6"
    assert one.load_ahead(1.0, 8, [1], []), "this one takes no more room"


def test_victims_that_were_in_use_go_out_when_the_task_begins():
    one = worker(4, given=[0, 1])
    begin(one, 0.0, 5, 0)
    waits(one, 6)
    one.load_ahead(1.0, 6, [1], [0])
    one.end(5, 2.0)
    one.free_thread(5)
    assert one.begin(2.0, [1], [0]).evicted == [0]
    assert one.free_at == 2.0, "it has all it needs"
    assert one.copier_free_at == 3.0


def test_a_victim_that_was_loaded_ahead_for_another_task_stays():
    one = worker(4, given=[0, 1], threads=2)
    begin(one, 0.0, 5, 0)
    waits(one, 7)
    one.load_ahead(1.0, 7, [1], [])
    begin(one, 1.0, 6, 0, victims=[1])
    assert set(one.residency) == {0, 1}


def test_an_input_that_has_gone_again_is_loaded_when_the_task_begins():
    one = worker(2, given=[0, 1, 2])
    begin(one, 0.0, 5, 0)
    waits(one, 6)
    one.load_ahead(1.0, 6, [1], [])
    one.receive(3, 2.0)
    one.receive(4, 2.0)
    assert 1 not in one.residency
    one.end(5, 2.0)
    one.free_thread(5)
    record = one.begin(2.0, [1], [])
    assert record.loaded == [1, 1]
    # From 2: 0 out for 3, 1 out for 4, 3 out for the output, then 1 in and 4 out for it.
    assert one.free_at == 7.0


def test_what_an_output_pushes_out_keeps_nobody_but_the_copier():
    one = worker(2, given=[0, 1])
    begin(one, 0.0, 5, 0, 1)
    assert one.free_at == 2.0
    record = one.end(5, 3.0)
    assert (record.end, record.evicted) == (3.0, [0])
    assert (one.free_at, one.copier_free_at) == (3.0, 4.0)


def test_a_task_that_ends_while_the_event_loop_waits_ends_after_that():
    one = worker(given=[0, 1], threads=2)
    begin(one, 0.0, 5)
    begin(one, 0.0, 6, 0, 1)
    assert one.end(5, 1.0).end == 2.0


def test_another_worker_is_sent_an_array_when_it_is_there():
    one = worker(given=[0, 1])
    begin(one, 0.0, 5)
    waits(one, 6)
    one.load_ahead(0.0, 6, [0], [])
    assert one.send(0, 0.5) == 1.0
    assert one.send(1, 1.0) == 2.0
    assert one.send(0, 2.5) == 2.5


def test_clean_arrays_take_the_copier_no_time():
    one = worker(2, given=[0, 1, 2], keep_clean=True)
    begin(one, 0.0, 5, 0)
    waits(one, 6)
    assert one.load_ahead(1.0, 6, [1], [])
    one.end(5, 2.0)
    one.free_thread(5)
    assert one.copier_free_at == 2.0
    assert (one.bytes_loaded, one.bytes_evicted) == (2, 0)
    assert [(array, loaded) for array, loaded, _, _ in one.report()] == [
        *((0, True), (1, True), (0, False)),
    ]


def test_nothing_is_left_of_tasks_that_are_done():
    one = worker(3, given=[0, 1])
    begin(one, 0.0, 5, 0)
    waits(one, 6)
    one.load_ahead(1.0, 6, [1], [])
    one.end(5, 2.0)
    one.free_thread(5)
    one.begin(2.0, [1], [])
    one.end(6, 3.0)
    one.free_thread(6)
    assert not [*one._users, *one._ahead, *one.running, *one.queue]
