"""Sizes, bandwidths and durations as people write them: checked, and turned into numbers."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from dask.utils import parse_bytes, parse_timedelta

if TYPE_CHECKING:
    from collections.abc import Callable


def parse_size(name: str, value: float | str) -> int:
    """Return a number of bytes, at least one.

    Parameters
    ----------
    name
        What the value is, for the error.
    value
        A number of bytes, or a string such as ``"64MB"`` or ``"2 GiB"``.

    Raises
    ------
    ValueError
        The value is not a size, or less than one byte.

    Examples
    --------
    >>> parse_size("limit", "64MB")
    64000000
    """
    return int(
        _parse(name, value, parse_bytes, 1, "a size of 1 byte or more", '64000000 or "64MB"')
    )


def parse_bandwidth(name: str, value: float | str) -> float:
    """Return a number of bytes per second, above zero.

    Parameters
    ----------
    name
        What the value is, for the error.
    value
        Bytes per second, or a string such as ``"1GB/s"``.

    Raises
    ------
    ValueError
        The value is not a bandwidth, or not above zero.

    Examples
    --------
    >>> parse_bandwidth("bandwidth", "1.5 GB/s")
    1500000000.0
    """

    def parse(text: str) -> float:
        return float(parse_bytes(text.removesuffix("/s")))

    return _parse(name, value, parse, 0, "bytes per second above 0", '1e9 or "1GB/s"')


def parse_duration(name: str, value: float | str) -> float:
    """Return a number of seconds, above zero.

    Parameters
    ----------
    name
        What the value is, for the error.
    value
        Seconds, or a string such as ``"10us"``.

    Raises
    ------
    ValueError
        The value is not a duration, or not above zero.

    Examples
    --------
    >>> parse_duration("latency", "250ms")
    0.25
    """
    return _parse(name, value, parse_timedelta, 0, "seconds above 0", '1e-5 or "10us"')


def _parse(
    name: str,
    value: float | str,
    parse: Callable[[str], float],
    minimum: float,
    expected: str,
    example: str,
) -> float:
    try:
        if isinstance(value, str):
            # Dask takes a unit alone for one of it, and nothing at all for one byte.
            number = parse(value) if any(map(str.isdigit, value)) else math.nan
        else:
            number = float(value)
    except (KeyError, TypeError, ValueError):  # all of these, from Dask's parsers
        number = math.nan
    in_range = math.isfinite(number) and number > 0 and number >= minimum
    if isinstance(value, bool) or not in_range:
        message = f"{name} is {value!r}; expected {expected}; write it like {example}"
        raise ValueError(message)
    return number
