"""A process beside the scheduler, as that holds it: heard, killed, ended, and nothing left."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
from collections.abc import Callable
from typing import Any

import numpy as np

from dask_mlsched.core.message_frame import Frame
from dask_mlsched.extension.side_process import SideProcess
from live_scheduler import until
from side_processes import alive

#: Sends back every frame that it gets.
ECHO = """
import os, sys
from dask_mlsched.core import message_frame
while (frame := message_frame.read(sys.stdin.buffer.read)) is not None:
    os.write(1, message_frame.encode(frame))
"""


class Made:
    """A process of some Python code, and what was heard of it."""

    def __init__(self, code: str) -> None:
        self.heard: list[Frame] = []
        self.ended: list[str] = []
        self.process = SideProcess(
            "tested", (sys.executable, "-c", code), self.heard.append, self.ended.append
        )


def own_threads() -> list[threading.Thread]:
    return [each for each in threading.enumerate() if "mlsched-tested" in each.name]


def run(scenario: Callable[[], Any]) -> None:
    asyncio.run(scenario())
    assert own_threads() == []


def test_what_it_answers_is_heard_in_the_event_loop() -> None:
    async def scenario() -> None:
        made = Made(ECHO)
        large = np.arange(1_000_000)
        made.process.ask(Frame(7, {"number": 1}, {"large": large}))
        await until(lambda: made.heard)
        (frame,) = made.heard
        assert frame.fields == {"number": 1}
        np.testing.assert_array_equal(frame.arrays["large"], large)
        made.process.close()
        assert not alive(made.process.pid)
        assert made.ended == []

    run(scenario)


def test_a_newer_request_takes_the_place_of_one_that_is_not_read() -> None:
    async def scenario() -> None:
        made = Made("import time; time.sleep(0.5)\n" + ECHO)
        fill = np.zeros(1_000_000)
        for number in range(5):
            made.process.ask(Frame(7, {"number": number}, {"fill": fill}))
            await asyncio.sleep(0.01)
        await until(lambda: made.heard and made.heard[-1].fields["number"] == 4)
        assert len(made.heard) <= 3
        made.process.close()

    run(scenario)


def test_one_that_is_killed_says_so_once() -> None:
    async def scenario() -> None:
        made = Made(ECHO)
        os.kill(made.process.pid, signal.SIGKILL)
        await until(lambda: made.ended)
        assert made.ended == ["it ended with status -9"]
        made.process.ask(Frame(1))
        made.process.close()

    run(scenario)


def test_one_that_says_anything_else_is_ended() -> None:
    async def scenario() -> None:
        made = Made("print('hello, I am somebody else'); input()")
        await until(lambda: made.ended)
        assert "a frame begins with b'hell'" in made.ended[0]
        assert not alive(made.process.pid)

    run(scenario)


def test_one_that_reads_nothing_is_closed_at_once() -> None:
    async def scenario() -> None:
        made = Made("import time; time.sleep(1000)")
        made.process.ask(Frame(1, {}, {"large": np.zeros(1_000_000)}))
        await asyncio.sleep(0.1)
        made.process.close()
        made.process.close()
        assert not alive(made.process.pid)

    run(scenario)
