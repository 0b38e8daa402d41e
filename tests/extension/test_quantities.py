from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest

from dask_mlsched.extension.quantities import parse_bandwidth, parse_duration, parse_size

PARSERS = [parse_size, parse_bandwidth, parse_duration]


@pytest.mark.parametrize(
    ("text", "nbytes"), [(64, 64), ("64", 64), ("64MB", 64_000_000), ("2 KiB", 2048), (1.5e3, 1500)]
)
def test_a_size_is_a_number_or_a_text_with_a_unit(text: float | str, nbytes: int):
    assert parse_size("limit", text) == nbytes
    assert type(parse_size("limit", text)) is int


@pytest.mark.parametrize(
    ("text", "rate"), [(5, 5.0), ("1GB/s", 1e9), ("200 MB/s", 2e8), ("1.5GiB", 1.5 * 2**30)]
)
def test_a_bandwidth_may_leave_out_the_second(text: float | str, rate: float):
    assert parse_bandwidth("bandwidth", text) == rate


@pytest.mark.parametrize(("text", "seconds"), [(2, 2.0), ("10us", 1e-5), ("3 ms", 3e-3)])
def test_a_duration_is_in_seconds_unless_it_says_otherwise(text: float | str, seconds: float):
    assert parse_duration("latency", text) == pytest.approx(seconds)


@pytest.mark.parametrize("parse", PARSERS)
@pytest.mark.parametrize(
    "value",
    [0, -1, "0", "-3", "", "MB", "s", "many", "5 parsecs", None, True, [], math.nan, math.inf],
)
def test_all_else_is_refused_in_one_line_with_value_expectation_and_cure(
    parse: Callable[[str, Any], float], value: Any
):
    with pytest.raises(ValueError, match=r"^speed is .*; expected .*; write it like ") as error:
        parse("speed", value)
    assert repr(value) in str(error.value)
    assert "\n" not in str(error.value)


def test_a_unit_of_another_kind_is_refused():
    with pytest.raises(ValueError, match="10us"):
        parse_size("limit", "10us")
    with pytest.raises(ValueError, match="64MB"):
        parse_duration("latency", "64MB")
    with pytest.raises(ValueError, match="MB/s"):
        parse_size("limit", "64MB/s")


def test_less_than_one_byte_is_no_size():
    with pytest.raises(ValueError, match=r"0\.5; expected a size of 1 byte or more"):
        parse_size("limit", 0.5)
