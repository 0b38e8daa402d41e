from __future__ import annotations

import pytest

from dask_mlsched.extension.resident_arrays import Array, ResidentArrays


@pytest.fixture
def books() -> ResidentArrays:
    """Arrays a to d of ten bytes each, on a device of forty."""
    books = ResidentArrays(40)
    for number, key in enumerate("abcd"):
        books.enter(Array(key, number, object(), 10))
    return books


def order(books: ResidentArrays, *, forced: bool = False) -> list[object]:
    """What leaves one after the other, and that it does."""
    left: list[object] = []
    while (victim := books.victim((), forced=forced)) is not None:
        left.append(victim.key)
        books.exit(victim)
    return left


def test_bytes_are_counted_as_arrays_come_and_go(books: ResidentArrays):
    assert (books.nbytes, books.peak) == (40, 40)
    array = books.arrays["b"]
    books.exit(array)
    assert (books.nbytes, books.peak) == (30, 40)
    assert array.value is None
    array.value = object()
    books.enter(array)
    assert list(books.arrays) == ["a", "c", "d", "b"]


def test_what_is_on_its_way_in_takes_room(books: ResidentArrays):
    assert books.excess() == 0
    books.reserved += 15
    assert books.excess() == 15
    books.exit(books.arrays["a"])
    books.exit(books.arrays["b"])
    assert books.excess() == -5


def test_what_was_used_longest_ago_leaves_first(books: ResidentArrays):
    books.touch(books.arrays["b"])
    assert order(books) == ["a", "c", "d", "b"]
    assert books.nbytes == 0


def test_what_was_named_leaves_before_in_the_order_of_the_names(books: ResidentArrays):
    books.victims.update(dict.fromkeys("db"))
    assert order(books) == ["d", "b", "a", "c"]
    assert not books.victims


def test_what_was_named_and_then_read_leaves_last(books: ResidentArrays):
    books.victims["a"] = None
    books.touch(books.arrays["a"])
    assert order(books) == ["b", "c", "d", "a"]


def test_reading_an_array_is_noted_on_it(books: ResidentArrays):
    array = books.arrays["a"]
    assert not array.wanted
    books.touch(array)
    assert array.wanted


@pytest.mark.parametrize("forced", [False, True])
def test_what_a_running_task_uses_never_leaves(books: ResidentArrays, forced: bool):
    books.used.update("ab")
    books.victims["a"] = None
    assert order(books, forced=forced) == ["c", "d"]


def test_what_an_expected_task_uses_leaves_last_and_only_if_forced(books: ResidentArrays):
    books.soon.update("ab")
    books.victims.update(dict.fromkeys("bd"))
    assert order(books) == ["d", "c"]
    assert order(books, forced=True) == ["b", "a"]


def test_what_is_used_now_and_soon_stays(books: ResidentArrays):
    books.used.update("abcd")
    books.soon.update("abcd")
    assert books.victim((), forced=True) is None


def test_what_would_not_go_is_not_asked_again(books: ResidentArrays):
    books.victims["a"] = None
    victim = books.victim({"a", "b"}, forced=True)
    assert victim is books.arrays["c"]


def test_what_is_on_its_way_is_passed_over(books: ResidentArrays):
    books.arrays["a"].moving = "evict"
    assert order(books) == ["b", "c", "d"]
    assert list(books.arrays) == ["a"]
