"""What a page has beside the words of `extension.in_words`: units of axes, shares, long keys."""

from __future__ import annotations

from dask_mlsched.extension.in_words import BYTE_UNITS

#: Characters of a key that are shown.
KEY_LENGTH = 90


def byte_unit(most: float) -> tuple[float, str]:
    """Choose the unit for an axis that goes up to so many bytes.

    Examples
    --------
    >>> byte_unit(25e6), byte_unit(0)
    ((1000000.0, 'MB'), (1.0, 'bytes'))
    """
    return next(((unit, name) for unit, name in BYTE_UNITS if most >= unit), (1.0, "bytes"))


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
