"""Frames on a process's own input and output, as processes beside the scheduler have them."""

from __future__ import annotations

import os
import select
from collections.abc import Callable
from typing import Final

from dask_mlsched.core import message_frame
from dask_mlsched.core.message_frame import Frame

#: Bytes that are read at once.
_PART: Final = 1 << 20


def begin(niceness: int) -> Callable[[Frame], None]:
    """Lower the priority of this process by so many steps, and return what sends a frame.

    Called once, at the start. What sends raises BrokenPipeError once nobody listens any more.
    """
    os.nice(niceness)
    answers = os.fdopen(os.dup(1), "wb")
    # What anything prints must not come between frames.
    os.dup2(2, 1)

    def answer(frame: Frame) -> None:
        answers.write(message_frame.encode(frame))
        answers.flush()

    return answer


def take(count: int) -> bytes:
    """Read so many bytes, or fewer at the end; nothing is read ahead, so `waiting` knows all."""
    parts = []
    while count and (part := os.read(0, min(count, _PART))):
        parts.append(part)
        count -= len(part)
    return b"".join(parts)


def waiting() -> bool:
    """Tell whether there is something to read, or the input has ended."""
    return bool(select.select([0], [], [], 0)[0])


def abandoned() -> bool:
    """Tell whether whoever wrote to the input is gone, even if not all of it has been read."""
    poll = select.poll()
    poll.register(0, select.POLLIN)
    return any(event & (select.POLLHUP | select.POLLERR) for _, event in poll.poll(0))
