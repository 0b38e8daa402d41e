"""The specialist's process: it answers, gives way to newer requests, and ends with its input."""

from __future__ import annotations

import io
import itertools
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pytest

from core.recorded_simulations import MACHINE_LIMIT, block_product
from core.rollouts import COPY
from dask_mlsched.core import features
from dask_mlsched.core.chooser import Settings
from dask_mlsched.core.costs import Costs
from dask_mlsched.core.graph_message import ANSWER, FAILED, READY, Answer, Request
from dask_mlsched.core.machine import Machine
from dask_mlsched.core.message_frame import Frame, FrameError, encode, read
from dask_mlsched.core.network import linear
from dask_mlsched.learning.specialist import serve


def request(number: int = 0, *, tiles: int = 4, seconds: float = 1.0) -> Request:
    dag = block_product(tiles)
    machine = Machine(MACHINE_LIMIT, costs=Costs(COPY, COPY, COPY))
    settings = Settings(bandwidth=COPY.bandwidth)
    return Request(number, dag, np.arange(len(dag)), machine, settings, "makespan", seconds, 0)


def served(data: bytes, *, waiting: Callable[[], bool] = lambda: False) -> list[Frame]:
    """Serve a stream here; the clock goes on by a tenth of a second each time it is read."""
    answers: list[Frame] = []
    ticks = itertools.count()
    serve(io.BytesIO(data).read, answers.append, waiting=waiting, clock=lambda: 0.1 * next(ticks))
    return answers


def test_it_is_ready_before_it_is_asked() -> None:
    assert [frame.kind for frame in served(b"")] == [READY]


def test_it_answers_at_once_and_when_time_is_up() -> None:
    _, *frames = served(encode(request(5).frame()))
    answers = [Answer.from_frame(frame) for frame in frames]
    assert [each.number for each in answers] == [5] * len(answers)
    # The best in Dask's order, the best of all candidates, and what a search came to.
    assert [each.final for each in answers] == [False, False, True]
    first, guided, last = answers
    assert guided.evaluations > first.evaluations
    assert (first.guide is None, guided.guide is None) == (True, False)
    assert last.evaluations - guided.evaluations == 7
    assert last.foretold[last.arm] <= guided.foretold[guided.arm] < first.foretold[first.arm]


def test_it_begins_at_the_network_that_it_is_given() -> None:
    shy = linear(np.zeros(features.COUNT))
    told = [
        Answer.from_frame(served(encode(asked.frame()))[1]).foretold["generalist"]
        for asked in (request(), replace(request(), start=shy))
    ]
    assert told[0] != told[1]


def test_a_newer_request_ends_the_search() -> None:
    _, *frames = served(encode(request().frame()), waiting=lambda: True)
    *_, candidates, last = map(Answer.from_frame, frames)
    assert candidates.evaluations == last.evaluations
    assert last.final


def test_a_request_that_fails_is_answered_with_why_and_the_next_one_served() -> None:
    impossible = replace(request(1), machine=Machine(1))
    _, failed, *rest = served(encode(impossible.frame()) + encode(request(2).frame()))
    assert failed.kind == FAILED
    assert failed.fields["number"] == 1
    assert "device memory is 1 bytes" in failed.text("error")
    assert {frame.kind for frame in rest} == {ANSWER}
    assert Answer.from_frame(rest[-1]).final


def test_foreign_bytes_end_it() -> None:
    with pytest.raises(FrameError):
        served(b"GET / HTTP/1.1\r\n\r\n")


@contextmanager
def process() -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, "-m", "dask_mlsched.learning.specialist"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as made:
        try:
            yield made
        finally:
            made.kill()


def received(made: subprocess.Popen[bytes]) -> Frame:
    assert made.stdout is not None
    frame = read(made.stdout.read)
    assert frame is not None
    return frame


def ask(made: subprocess.Popen[bytes], asked: Request) -> None:
    assert made.stdin is not None
    made.stdin.write(encode(asked.frame()))
    made.stdin.flush()


@pytest.mark.slow
def test_the_process_answers_gives_way_and_ends_with_its_input() -> None:
    with process() as made:
        assert received(made).kind == READY
        ask(made, request(1, seconds=60.0))
        assert Answer.from_frame(received(made)).number == 1
        ask(made, request(2, seconds=60.0))
        answers = [Answer.from_frame(received(made))]
        while answers[-1].number == 1:
            answers.append(Answer.from_frame(received(made)))
        assert [each.final for each in answers[-2:]] == [True, False]
        assert made.stdin is not None
        # In the middle of a search: the one who asked has died.
        made.stdin.close()
        assert made.wait(timeout=30) == 0


def test_it_never_imports_torch() -> None:
    code = "import sys, dask_mlsched.learning.specialist; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
