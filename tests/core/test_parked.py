"""The index of parked tasks: example by example, and against a naive list."""

from __future__ import annotations

import random
from collections import Counter

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from dask_mlsched.core.parked import _SLACK, ParkedTasks

WORKERS = st.integers(0, 2)
HOMES = st.none() | WORKERS
MISSING = st.dictionaries(WORKERS, st.integers(0, 4))


def parked(*tasks: tuple[int, int | None, dict[int, int]]) -> ParkedTasks:
    """Park (task, home, missing); a task's number is its place in Dask's order."""
    tasks_parked = ParkedTasks()
    for task, home, missing in tasks:
        tasks_parked.add(task, (0, task), home, missing)
    return tasks_parked


def test_nearest_lists_the_fewest_missing_bytes_first_and_ties_in_order():
    tasks = parked((0, 0, {0: 9}), (1, 0, {0: 3}), (3, 0, {0: 5}), (2, 0, {0: 5}))
    assert tasks.nearest(0, 3) == [1, 2, 3]
    assert tasks.nearest(0, 9) == [1, 2, 3, 0]


def test_nearest_leaves_out_tasks_of_which_nothing_is_resident_there():
    tasks = parked((0, 0, {0: 9}), (1, 1, {1: 3}), (2, None, {}))
    assert tasks.nearest(0, 9) == [0]
    assert tasks.nearest(7, 9) == []


def test_nearest_follows_what_comes_and_goes():
    tasks = parked((0, 0, {0: 9}), (1, 0, {0: 3}))
    tasks.set_missing(0, 0, 1)
    assert tasks.nearest(0, 9) == [0, 1]
    tasks.set_missing(0, 0, None)
    assert tasks.nearest(0, 9) == [1]
    tasks.set_missing(0, 1, 4)
    assert tasks.nearest(1, 9) == [0]


def test_asking_changes_nothing():
    tasks = parked((0, 0, {0: 9}), (1, 0, {0: 3}), (2, None, {}))
    for _ in range(3):
        assert tasks.nearest(0, 1) == [1]
        assert tasks.in_order(0, 2) == [0, 1]


def test_in_order_merges_the_home_and_tasks_without_one():
    tasks = parked((0, 1, {}), (1, 0, {}), (2, None, {}), (3, 0, {}))
    assert tasks.in_order(0, 9) == [1, 2, 3]
    assert tasks.in_order(1, 1) == [0]
    assert tasks.at_home_in_order(0, 9) == [1, 3]
    assert tasks.at_home_in_order(7, 9) == []


def test_a_task_that_moves_is_at_home_in_one_place():
    tasks = parked((0, 0, {}), (1, 0, {}))
    tasks.move_home(0, 1)
    tasks.move_home(0, 0)
    tasks.move_home(0, 1)
    assert tasks.in_order(0, 9) == [1]
    assert tasks.in_order(1, 9) == [0]
    assert tasks.at_home(0) == [1]
    assert (tasks.home_count(0), tasks.home_count(1)) == (1, 1)
    assert tasks.home(0) == 1


def test_a_task_that_was_parked_twice_is_listed_once():
    tasks = parked((0, 0, {0: 3}), (1, 0, {0: 3}))
    tasks.remove(0)
    tasks.add(0, (0, 0), 0, {0: 3})
    assert tasks.nearest(0, 9) == [0, 1]
    assert tasks.in_order(0, 9) == [0, 1]
    assert tasks.oldest(9) == [1, 0]


def test_a_task_parked_again_with_another_priority_stands_by_the_new_one():
    tasks = parked((0, 0, {0: 3}), (1, 0, {0: 3}))
    tasks.remove(0)
    tasks.add(0, (0, 5), 0, {0: 3})
    assert tasks.nearest(0, 9) == [1, 0]
    assert tasks.in_order(0, 9) == [1, 0]


def test_the_busiest_home_is_the_one_with_most_tasks_and_the_first_of_equals():
    tasks = parked((0, 0, {}), (1, 1, {}), (2, 1, {}), (3, None, {}), (4, 2, {}), (5, 2, {}))
    assert tasks.busiest_home(besides=0) == 1
    assert tasks.busiest_home(besides=1) == 2
    assert parked((0, 0, {}), (1, None, {})).busiest_home(besides=0) is None


def test_a_worker_that_left_has_nothing_resident():
    tasks = parked((0, 0, {0: 3, 1: 4}))
    tasks.drop_worker(0)
    assert tasks.nearest(0, 9) == []
    assert tasks.nearest(1, 9) == [0]
    tasks.set_missing(0, 0, 7)  # the number was given to a new worker
    assert tasks.nearest(0, 9) == [0]


def test_a_sample_has_each_task_once_and_each_equally_often():
    tasks = parked(*((task, None, {}) for task in range(4)))
    rng = random.Random(0)
    drawn = Counter(task for _ in range(2000) for task in tasks.sample(rng, 2))
    assert all(900 < drawn[task] < 1100 for task in range(4))
    assert sorted(tasks.sample(rng, 9)) == [0, 1, 2, 3]
    assert len(set(tasks.sample(rng, 3))) == 3


def test_indexes_are_emptied_when_the_last_task_goes():
    tasks = parked((0, 0, {0: 1}), (1, None, {}))
    tasks.remove(0)
    tasks.remove(1)
    assert not tasks
    for table in vars(tasks).values():
        assert not table


def test_indexes_stay_bounded_while_tasks_come_and_go():
    tasks = parked((0, 0, {0: 1}))
    for _ in range(5000):
        tasks.add(1, (0, 1), 0, {0: 2})
        tasks.set_missing(1, 0, 3)
        tasks.move_home(1, 1)
        tasks.remove(1)
    entries = [len(heap) for heap in (*tasks._by_home.values(), *tasks._by_missing.values())]
    assert max(entries) <= _SLACK * 2 + 65


def test_a_heap_stays_as_small_as_what_is_near_however_many_are_parked():
    parked = ParkedTasks()
    for task in range(2_000):
        parked.add(task, (0, task), None, {})
    longest = 0
    for step in range(4_000):
        # Three tasks near at a time.
        parked.set_missing(step % 2_000, 0, step)
        if step >= 3:
            parked.set_missing((step - 3) % 2_000, 0, None)
        longest = max(longest, len(parked._by_missing[0]))
    assert longest <= _SLACK * 4 + 64 + 1
    assert parked.nearest(0, 9) == [1_997, 1_998, 1_999]


class ParkedMachine(RuleBasedStateMachine):
    """Against one dict that is sorted and filtered anew for each question."""

    @initialize()
    def start(self) -> None:
        self.parked = ParkedTasks()
        #: task -> (priority, home, missing), in the order of parking.
        self.naive: dict[int, tuple[tuple[float, ...], int | None, dict[int, int]]] = {}
        self.most = 0

    @rule(task=st.integers(0, 20), order=st.integers(0, 3), home=HOMES, missing=MISSING)
    def add(self, task: int, order: int, home: int | None, missing: dict[int, int]) -> None:
        if task not in self.naive:
            self.naive[task] = ((0, order), home, dict(missing))
            self.parked.add(task, (0, order), home, dict(missing))

    @precondition(lambda self: self.naive)
    @rule(data=st.data())
    def remove(self, data: st.DataObject) -> None:
        task = data.draw(st.sampled_from(sorted(self.naive)))
        del self.naive[task]
        self.parked.remove(task)

    @precondition(lambda self: self.naive)
    @rule(data=st.data(), home=HOMES)
    def move_home(self, data: st.DataObject, home: int | None) -> None:
        task = data.draw(st.sampled_from(sorted(self.naive)))
        priority, _, missing = self.naive[task]
        self.naive[task] = (priority, home, missing)
        self.parked.move_home(task, home)

    @precondition(lambda self: self.naive)
    @rule(data=st.data(), worker=WORKERS, nbytes=st.none() | st.integers(0, 4))
    def set_missing(self, data: st.DataObject, worker: int, nbytes: int | None) -> None:
        task = data.draw(st.sampled_from(sorted(self.naive)))
        missing = self.naive[task][2]
        missing.pop(worker, None)
        if nbytes is not None:
            missing[worker] = nbytes
        self.parked.set_missing(task, worker, nbytes)

    @rule(worker=WORKERS)
    def drop_worker(self, worker: int) -> None:
        for _, _, missing in self.naive.values():
            missing.pop(worker, None)
        self.parked.drop_worker(worker)

    def at_home(self, *homes: int | None) -> list[int]:
        found = [(priority, t) for t, (priority, home, _) in self.naive.items() if home in homes]
        return [task for _, task in sorted(found)]

    # One question each: an invariant that asked all of them would keep the heaps clean.

    @rule(worker=WORKERS, count=st.integers(0, 6))
    def nearest(self, worker: int, count: int) -> None:
        found = [(m[worker], p, t) for t, (p, _, m) in self.naive.items() if worker in m]
        assert self.parked.nearest(worker, count) == [t for _, _, t in sorted(found)[:count]]

    @rule(worker=WORKERS, count=st.integers(0, 6))
    def in_order(self, worker: int, count: int) -> None:
        assert self.parked.in_order(worker, count) == self.at_home(worker, None)[:count]

    @rule(worker=WORKERS, count=st.integers(0, 6))
    def at_home_in_order(self, worker: int, count: int) -> None:
        assert self.parked.at_home_in_order(worker, count) == self.at_home(worker)[:count]

    @rule(home=HOMES)
    def at_home_in_any_order(self, home: int | None) -> None:
        assert sorted(self.parked.at_home(home)) == sorted(self.at_home(home))

    @rule(worker=WORKERS)
    def busiest_home(self, worker: int) -> None:
        counts = {home: len(self.at_home(home)) for home in range(3) if home != worker}
        most = max(counts.values())
        expected = next(home for home, n in counts.items() if n == most) if most else None
        assert self.parked.busiest_home(worker) == expected

    @rule(count=st.integers(0, 30), seed=st.integers(0, 99))
    def sample(self, count: int, seed: int) -> None:
        drawn = self.parked.sample(random.Random(seed), count)
        assert len(drawn) == len(set(drawn)) == min(count, len(self.naive))
        assert set(drawn) <= self.naive.keys()

    @rule(count=st.integers(0, 6))
    def oldest(self, count: int) -> None:
        assert self.parked.oldest(count) == list(self.naive)[:count]

    @invariant()
    def tables_agree(self) -> None:
        if not hasattr(self, "parked"):
            return
        index = self.parked
        self.most = max(self.most, len(self.naive))
        assert index.tasks() == list(self.naive)
        assert len(index) == len(self.naive)
        assert all(task in index for task in self.naive)
        assert all(index.home(task) == home for task, (_, home, _) in self.naive.items())
        assert all(index.home_count(h) == len(self.at_home(h)) for h in (None, 0, 1, 2))
        assert all(
            index._near_count.get(worker, 0) == sum(worker in m for *_, m in self.naive.values())
            for worker in range(3)
        )
        assert {task: index._place[task] for task in index._pool} == {
            task: place for place, task in enumerate(index._pool)
        }
        for heap in (*index._by_home.values(), *index._by_missing.values()):
            # At most so many after a push; removing tasks does not look at them.
            assert len(heap) <= _SLACK * self.most + 65


TestParkedMachine = ParkedMachine.TestCase
TestParkedMachine.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)
