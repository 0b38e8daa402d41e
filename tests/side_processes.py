"""What tests ask about processes beside the scheduler."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable

from live_scheduler import until


def alive(pid: int | None) -> bool:
    """Tell whether there is a process of this number; None is none."""
    if pid is None:
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


async def patiently(condition: Callable[[], object]) -> None:
    """Wait as long as a process takes to load its code on a busy machine."""
    for _ in range(8):
        with contextlib.suppress(AssertionError):
            await until(condition)
            return
    raise AssertionError("it did not happen in eighty seconds")
