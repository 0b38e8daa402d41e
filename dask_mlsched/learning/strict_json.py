"""JSON from a file that nobody vouches for: what is odd about it is found when it is read."""

from __future__ import annotations

import json
import math
from numbers import Real
from typing import Any, Final

#: Lists and objects within one another.
DEPTH: Final = 16


def loads(text: str | bytes) -> Any:
    """Read JSON; unlike Python's own reader, only what the standard allows, and not too deep.

    Raises
    ------
    ValueError
        If it is no JSON, deeper than `DEPTH`, holds a name twice in one object, or a number that
        is not finite.
    """
    try:
        found = json.loads(
            text,
            object_pairs_hook=_object,
            parse_constant=_not_finite,
            parse_float=_float,
        )
    except RecursionError:
        raise ValueError(f"lists within lists, deeper than {DEPTH}") from None
    _check_depth(found, DEPTH)
    return found


def number(value: Any) -> float | None:
    """Return a finite number as such; None for all else, also for truth values.

    Examples
    --------
    >>> number(3), number(True), number("3"), number(10**400)
    (3.0, None, None, None)
    """
    if isinstance(value, bool) or not isinstance(value, Real):
        return None
    try:
        found = float(value)
    except OverflowError:
        return None
    return found if math.isfinite(found) else None


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name twice in one object")
    return found


def _not_finite(text: str) -> float:
    raise ValueError(f"the number {text}")


def _float(text: str) -> float:
    found = float(text)
    # Written with digits, but too large to be held.
    return found if math.isfinite(found) else _not_finite(text[:20])


def _check_depth(value: Any, left: int) -> None:
    inner = value.values() if isinstance(value, dict) else value
    if isinstance(value, dict | list):
        if not left:
            raise ValueError(f"lists within lists, deeper than {DEPTH}")
        for each in inner:
            _check_depth(each, left - 1)
