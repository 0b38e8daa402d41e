"""Heaps that know where each task stands, against sorted lists."""

from __future__ import annotations

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from dask_mlsched.core.compiled import heaps

_TASKS = 12
_KEYS = st.integers(-3, 3)


class HeapMachine(RuleBasedStateMachine):
    """A heap, and the keys of the tasks in it."""

    def __init__(self) -> None:
        super().__init__()
        self.heap = np.zeros(_TASKS, np.int32)
        self.place = np.zeros(_TASKS, np.int32)
        self.first = np.zeros(_TASKS, np.int64)
        # No two tasks have both keys in common.
        self.second = np.array([7, 3, 11, 0, 5, 9, 2, 8, 4, 10, 1, 6], np.int64)
        self.inside: set[int] = set()
        self.size = 0

    def in_order(self) -> list[int]:
        return sorted(self.inside, key=lambda task: (self.first[task], self.second[task]))

    @precondition(lambda self: len(self.inside) < _TASKS)
    @rule(data=st.data(), key=_KEYS)
    def push(self, data: st.DataObject, key: int) -> None:
        task = data.draw(st.sampled_from(sorted(set(range(_TASKS)) - self.inside)))
        self.first[task] = key
        self.inside.add(task)
        self.size = heaps.push(self.heap, self.place, self.size, self.first, self.second, task)

    @precondition(lambda self: self.inside)
    @rule(data=st.data(), key=_KEYS)
    def change(self, data: st.DataObject, key: int) -> None:
        task = data.draw(st.sampled_from(sorted(self.inside)))
        self.first[task] = key
        heaps.moved(self.heap, self.place, self.size, self.first, self.second, task)

    @precondition(lambda self: self.inside)
    @rule(data=st.data())
    def remove(self, data: st.DataObject) -> None:
        task = data.draw(st.sampled_from(sorted(self.inside)))
        self.inside.discard(task)
        self.size = heaps.remove(self.heap, self.place, self.size, self.first, self.second, task)

    @rule(count=st.integers(0, _TASKS + 1))
    def smallest_are_the_first_in_order(self, count: int) -> None:
        out, frontier = np.full(_TASKS + 1, -1, np.int32), np.zeros(count + 1, np.int32)
        before = self.heap[: self.size].tolist()
        found = heaps.smallest(self.heap, self.size, self.first, self.second, count, out, frontier)
        assert out[:found].tolist() == self.in_order()[:count]
        assert self.heap[: self.size].tolist() == before

    @invariant()
    def the_first_stands_on_top(self) -> None:
        assert self.size == len(self.inside)
        if self.inside:
            assert self.heap[0] == self.in_order()[0]

    @invariant()
    def every_task_knows_its_index(self) -> None:
        inside = {int(task): i + 1 for i, task in enumerate(self.heap[: self.size])}
        assert self.place.tolist() == [inside.get(task, 0) for task in range(_TASKS)]


TestHeap = HeapMachine.TestCase
TestHeap.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)


def test_a_heap_gives_its_tasks_in_order():
    rng = np.random.default_rng(0)
    first, second = rng.integers(0, 9, 200), rng.permutation(200)
    heap, place = np.zeros(200, np.int32), np.zeros(200, np.int32)
    size = 0
    for task in range(200):
        size = heaps.push(heap, place, size, first, second, task)
    drained = []
    while size:
        drained.append(int(heap[0]))
        size = heaps.remove(heap, place, size, first, second, drained[-1])
    assert drained == np.lexsort((second, first)).tolist()
    assert not place.any()
