"""Figures as people read them."""

from __future__ import annotations

#: (from so many on, so many of these are one, its name, digits)
_BYTES = ((1e12, 1e12, "TB"), (1e9, 1e9, "GB"), (1e6, 1e6, "MB"), (1e3, 1e3, "kB"))
_SECONDS = ((1.0, 1.0, "s"), (1e-3, 1e-3, "ms"), (0.0, 1e-6, "µs"))

#: Characters of a key that are shown.
KEY_LENGTH = 90


def byte_unit(most: float) -> tuple[float, str]:
    """Choose the unit for an axis that goes up to so many bytes.

    Examples
    --------
    >>> byte_unit(25e6), byte_unit(0)
    ((1000000.0, 'MB'), (1.0, 'bytes'))
    """
    return next(((unit, name) for least, unit, name in _BYTES if most >= least), (1.0, "bytes"))


def bytes_text(nbytes: float) -> str:
    """Write a number of bytes with three digits.

    Examples
    --------
    >>> bytes_text(0), bytes_text(999), bytes_text(12_345_678)
    ('0 B', '999 B', '12.3 MB')
    """
    for least, unit, name in _BYTES:
        if nbytes >= least:
            return f"{_three_digits(nbytes / unit)} {name}"
    return f"{nbytes:.0f} B"


def seconds_text(seconds: float) -> str:
    """Write a time with three digits.

    Examples
    --------
    >>> seconds_text(0), seconds_text(0.01234), seconds_text(123.4)
    ('0 s', '12.3 ms', '123 s')
    """
    if seconds == 0:
        return "0 s"
    for least, unit, name in _SECONDS:
        if abs(seconds) >= least:
            return f"{_three_digits(seconds / unit)} {name}"
    raise AssertionError("the last row takes every number")


def share_text(share: float) -> str:
    """Write a share of one in per cent.

    Examples
    --------
    >>> share_text(0.1234), share_text(1.0)
    ('12.3 %', '100.0 %')
    """
    return f"{100 * share:.1f} %"


def key_text(key: str) -> str:
    """Shorten a long key in its middle, where it says least.

    Examples
    --------
    >>> key_text("x" * 200).count("x"), key_text("short")
    (89, 'short')
    """
    if len(key) <= KEY_LENGTH:
        return key
    front = KEY_LENGTH // 2
    return f"{key[:front]}…{key[len(key) - (KEY_LENGTH - front - 1) :]}"


def _three_digits(number: float) -> str:
    magnitude = abs(number)
    digits = 2 if magnitude < 9.995 else 1 if magnitude < 99.95 else 0
    return f"{number:,.{digits}f}"
