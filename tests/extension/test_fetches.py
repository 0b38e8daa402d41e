"""The worker's log of what it fetched: read in order, and every entry once."""

from __future__ import annotations

from collections import deque
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from dask_mlsched.extension.fetches import Fetched, FetchLog


def entry(number: int, **changes: Any) -> dict[str, Any]:
    """An entry as distributed writes it."""
    times = {"start": 10.0, "stop": 10.25, "middle": 10.125, "duration": 0.25}
    keys = {f"x-{number}": 800}
    others = {"total": 800, "bandwidth": 3200.0, "who": "tcp://a:1"}
    return {**times, "keys": keys, **others, **changes}


def log_of(*entries: dict[str, Any], length: int = 10) -> deque[dict[str, Any]]:
    return deque(entries, maxlen=length)


def keys_of(fetched: list[Fetched]) -> list[Any]:
    return [key for each in fetched for key, _ in each.arrays]


def test_an_answer_has_its_source_its_seconds_and_each_of_its_arrays():
    log = log_of()
    reader = FetchLog(log)
    log.append(entry(1, keys={"x": 800, ("y", 2): 16}))
    assert reader.news() == [Fetched("tcp://a:1", 0.25, (("x", 800), (("y", 2), 16)))]


def test_what_was_there_before_is_no_news():
    log = log_of(entry(1), entry(2))
    reader = FetchLog(log)
    assert reader.news() == []
    log.append(entry(3))
    assert keys_of(reader.news()) == ["x-3"]


def test_an_answer_is_news_once():
    log = log_of()
    reader = FetchLog(log)
    log += [entry(1), entry(2)]
    assert keys_of(reader.news()) == ["x-1", "x-2"]
    assert reader.news() == []


def test_answers_that_are_alike_are_told_apart():
    log = log_of(entry(1))
    reader = FetchLog(log)
    log += [entry(1), entry(1)]
    assert keys_of(reader.news()) == ["x-1", "x-1"]


def test_what_fell_out_of_the_log_is_lost_and_the_rest_is_not():
    log = log_of(entry(0), length=3)
    reader = FetchLog(log)
    log += [entry(number) for number in range(1, 8)]
    assert keys_of(reader.news()) == ["x-5", "x-6", "x-7"]
    log.append(entry(8))
    assert keys_of(reader.news()) == ["x-8"]


def test_a_log_that_keeps_nothing_brings_no_news():
    log = log_of(length=0)
    reader = FetchLog(log)
    log.append(entry(1))
    assert reader.news() == []


@given(st.lists(st.integers(0, 6)), st.integers(1, 5))
def test_every_entry_that_is_still_there_comes_once_and_in_order(counts: list[int], length: int):
    log = log_of(length=length)
    reader = FetchLog(log)
    number = 0
    for count in counts:
        log += [entry(number + i) for i in range(count)]
        expected = [f"x-{number + i}" for i in range(count)][-length:]
        number += count
        assert keys_of(reader.news()) == expected


def test_short_answers_take_what_they_took_and_not_the_millisecond_of_the_log():
    log = log_of()
    reader = FetchLog(log)
    log.append(entry(1, start=10.0, stop=10.0 + 2**-12, duration=0.001))
    assert reader.news()[0].seconds == 2**-12


def test_a_clock_that_was_set_back_makes_no_negative_time():
    log = log_of()
    reader = FetchLog(log)
    log.append(entry(1, start=10.0, stop=9.0))
    assert reader.news()[0].seconds == 0.0


def test_an_array_of_unknown_size_counts_as_nothing():
    log = log_of()
    reader = FetchLog(log)
    log.append(entry(1, keys={"x": None}))
    assert reader.news()[0].arrays == (("x", 0),)
