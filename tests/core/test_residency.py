"""Predicted residency: example by example, and against a naive LRU."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from core.consistency import check_residency
from dask_mlsched.core.residency import Residency

ARRAYS = st.integers(0, 7)
#: From nothing to more than the device holds.
NBYTES = st.integers(0, 12)
LIMITS = st.none() | st.integers(1, 30)


def test_the_array_used_longest_ago_goes_out_first():
    residency = Residency(20)
    assert residency.touch(1, 10) == ([1], [])
    assert residency.touch(2, 10) == ([2], [])
    assert residency.touch(1, 10) == ([], [])
    assert residency.touch(3, 10) == ([3], [2])
    assert list(residency) == [1, 3]
    assert residency.in_slow_tier(2)


def test_an_evicted_array_comes_back_when_it_is_read():
    residency = Residency(10)
    residency.touch(1, 10)
    residency.touch(2, 10)
    assert residency.touch(1, 10) == ([1], [2])
    assert not residency.in_slow_tier(1)


def test_an_array_larger_than_the_limit_never_becomes_resident():
    residency = Residency(10)
    residency.touch(1, 10)
    assert residency.touch(2, 11) == ([], [])
    assert list(residency) == [1]
    assert residency.in_slow_tier(2)


def test_an_array_of_the_size_of_the_limit_fits():
    residency = Residency(10)
    assert residency.touch(1, 10) == ([1], [])


def test_a_resident_array_that_outgrows_the_limit_goes_out_itself():
    residency = Residency(10)
    residency.touch(1, 5)
    assert residency.resize(1, 11) == [1]
    assert residency.held() == [1]
    assert residency.resident_bytes == 0


def test_resizing_keeps_the_place_in_the_eviction_order():
    residency = Residency(20)
    residency.touch(1, 5)
    residency.touch(2, 5)
    assert residency.resize(1, 6) == []
    assert list(residency) == [1, 2]


def test_resizing_an_array_in_the_slow_tier_leaves_it_there():
    residency = Residency(10)
    residency.touch(1, 5)
    residency.evict(1)
    assert residency.resize(1, 3) == []
    assert residency.in_slow_tier(1)


def test_without_a_limit_nothing_is_evicted():
    residency = Residency(None)
    for array in range(100):
        assert residency.touch(array, 10**12) == ([array], [])
    assert residency.all_resident
    assert residency.would_evict(10**15) == []


def test_a_lower_limit_evicts_at_once():
    residency = Residency(None)
    for array in range(3):
        residency.touch(array, 10)
    assert residency.set_limit(15) == [0, 1]
    assert list(residency) == [2]


def test_would_evict_names_what_a_touch_then_evicts():
    residency = Residency(30)
    for array in range(3):
        residency.touch(array, 10)
    expected = residency.would_evict(15)
    assert expected == [(0, 10), (1, 10)]
    assert residency.touch(9, 15)[1] == [array for array, _ in expected]


def test_a_worker_s_own_list_takes_the_place_of_the_prediction():
    residency = Residency(30)
    for array in (1, 2, 3):
        residency.touch(array, 10)
    came, gone = residency.replace([(4, 10), (2, 10)])
    assert (came, gone) == ([4], [1, 3])
    assert list(residency) == [4, 2]
    assert residency.resident_bytes == 20
    assert residency.in_slow_tier(1)


def test_missing_bytes_sums_what_is_not_resident():
    residency = Residency(30)
    residency.touch(1, 10)
    residency.touch(2, 11)
    assert residency.missing_bytes([(1, 10), (2, 11), (3, 12)]) == 12
    residency.evict(1)
    assert residency.missing_bytes([(1, 10), (2, 11), (3, 12)]) == 22


class ResidencyMachine(RuleBasedStateMachine):
    """Against lists: oldest first, searched and summed anew each time."""

    @initialize(limit=LIMITS)
    def start(self, limit: int | None) -> None:
        self.limit = limit
        self.residency = Residency(limit)
        self.fast: list[tuple[int, int]] = []
        self.slow: dict[int, int] = {}

    def place(self, array: int) -> int | None:
        return next((i for i, (each, _) in enumerate(self.fast) if each == array), None)

    def make_room(self) -> list[int]:
        evicted = []
        while self.limit is not None and self.fast and sum(n for _, n in self.fast) > self.limit:
            array, nbytes = self.fast.pop(0)
            self.slow[array] = nbytes
            evicted.append(array)
        return evicted

    def insert(self, array: int, nbytes: int) -> tuple[list[int], list[int]]:
        if self.limit is not None and nbytes > self.limit:
            self.slow[array] = nbytes
            return [], []
        self.slow.pop(array, None)
        self.fast.append((array, nbytes))
        return [array], self.make_room()

    @rule(array=ARRAYS, nbytes=NBYTES)
    def touch(self, array: int, nbytes: int) -> None:
        place = self.place(array)
        if place is None:
            expected = self.insert(array, nbytes)
        else:
            _, old = self.fast.pop(place)
            self.fast.append((array, nbytes))
            # Reading what is there makes no room, even where a snapshot left too much.
            expected = ([], self.make_room() if nbytes > old else [])
        assert self.residency.touch(array, nbytes) == expected

    @rule(array=ARRAYS, nbytes=NBYTES)
    def resize(self, array: int, nbytes: int) -> None:
        place = self.place(array)
        if array in self.slow:
            self.slow[array] = nbytes
            expected: list[int] = []
        elif place is None:
            expected = self.insert(array, nbytes)[1]
        else:
            self.fast[place] = (array, nbytes)
            expected = self.make_room()
        assert self.residency.resize(array, nbytes) == expected

    @rule(array=ARRAYS)
    def evict(self, array: int) -> None:
        place = self.place(array)
        if place is not None:
            self.slow[array] = self.fast.pop(place)[1]
        assert self.residency.evict(array) == (place is not None)

    @rule(array=ARRAYS)
    def discard(self, array: int) -> None:
        place = self.place(array)
        if place is not None:
            self.fast.pop(place)
        self.slow.pop(array, None)
        assert self.residency.discard(array) == (place is not None)

    @rule(arrays=st.lists(st.tuples(ARRAYS, NBYTES), unique_by=lambda each: each[0]))
    def replace(self, arrays: list[tuple[int, int]]) -> None:
        before, after = dict(self.fast), dict(arrays)
        gone = [array for array in before if array not in after]
        came = [array for array in after if array not in before]
        self.slow.update((array, before[array]) for array in gone)
        for array in after:
            self.slow.pop(array, None)
        self.fast = list(arrays)
        assert self.residency.replace(arrays) == (came, gone)

    @rule(limit=LIMITS)
    def set_limit(self, limit: int | None) -> None:
        self.limit = limit
        assert self.residency.set_limit(limit) == self.make_room()

    @rule(nbytes=NBYTES)
    def would_evict(self, nbytes: int) -> None:
        left, victims = list(self.fast), []
        while self.limit is not None and left and sum(n for _, n in left) + nbytes > self.limit:
            victims.append(left.pop(0))
        assert self.residency.would_evict(nbytes) == victims

    @invariant()
    def answers_as_the_lists(self) -> None:
        if not hasattr(self, "residency"):
            return
        check_residency(self.residency)
        assert list(self.residency) == [array for array, _ in self.fast]
        assert len(self.residency) == len(self.fast)
        assert self.residency.resident_bytes == sum(nbytes for _, nbytes in self.fast)
        assert self.residency.all_resident == (not self.slow)
        assert sorted(self.residency.held()) == sorted([a for a, _ in self.fast] + [*self.slow])
        for array in range(8):
            assert (array in self.residency) == (self.place(array) is not None)
            assert self.residency.in_slow_tier(array) == (array in self.slow)


TestResidencyMachine = ResidencyMachine.TestCase
TestResidencyMachine.settings = settings(max_examples=100, stateful_step_count=30, deadline=None)


def test_an_array_is_clean_once_it_comes_back_from_the_slow_tier():
    residency = Residency(100)
    residency.touch(1, 60)
    assert not residency.is_clean(1)
    residency.touch(2, 60)  # evicts 1
    assert not residency.is_clean(1)  # it is not resident
    residency.touch(1, 60)  # loads 1, evicts 2
    assert residency.is_clean(1)
    residency.replace([(2, 60)])
    assert (residency.is_clean(1), residency.is_clean(2)) == (False, True)
    residency.discard(2)
    residency.touch(2, 60)  # made anew
    assert not residency.is_clean(2)
