from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dask_mlsched.extension.numbering import Numbering


def test_numbers_are_given_out_from_zero_and_once_per_key():
    numbering: Numbering[str] = Numbering()
    assert [numbering.add(key) for key in "abca"] == [0, 1, 2, 0]
    assert len(numbering) == 3
    assert numbering.keys() == ["a", "b", "c"]


def test_a_key_without_a_number_has_none():
    numbering: Numbering[str] = Numbering()
    assert numbering.get("a") is None
    numbering.add("a")
    assert numbering.get("a") == 0
    assert numbering.key(0) == "a"


def test_freed_numbers_are_given_out_again_smallest_first():
    numbering: Numbering[str] = Numbering()
    for key in "abcd":
        numbering.add(key)
    numbering.free("c")
    numbering.free("a")
    assert numbering.get("a") is None
    assert [numbering.add(key) for key in "xyz"] == [0, 2, 4]
    assert numbering.key(0) == "x"


def test_a_key_may_be_false_or_none_of_many_types():
    numbering: Numbering[object] = Numbering()
    keys = ["", 0, ("x", 0, 1), b"x", 1.5]
    assert [numbering.key(numbering.add(key)) for key in keys] == keys


def test_freeing_what_has_no_number_is_an_error_and_changes_nothing():
    numbering: Numbering[str] = Numbering()
    numbering.add("a")
    with pytest.raises(KeyError):
        numbering.free("b")
    assert numbering.keys() == ["a"]


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 20))))
def test_each_number_belongs_to_one_key_and_none_is_larger_than_need_be(steps):
    numbering: Numbering[int] = Numbering()
    most = 0
    for add, key in steps:
        if add:
            numbering.add(key)
        elif numbering.get(key) is not None:
            numbering.free(key)
        numbers = {numbering.get(each): each for each in numbering._numbers}
        assert len(numbers) == len(numbering)
        assert all(numbering.key(number) == each for number, each in numbers.items() if number)
        most = max(most, len(numbering))
        assert all(number < most for number in numbers if number is not None)
