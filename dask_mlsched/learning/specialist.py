"""The process beside the scheduler that specialises: requests on its input, answers on its output.

It answers each request two or three times: with the best candidates, and when the search has ended.
A newer request ends the search for the one before. The process has low priority, tells once when
its code is loaded, and ends when its input does, as it does when the scheduler has died.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from typing import Final

import numpy as np

from dask_mlsched.core import message_frame
from dask_mlsched.core.chooser import Settings
from dask_mlsched.core.costs import CopyCost, Costs
from dask_mlsched.core.dag import Dag, DagTask
from dask_mlsched.core.graph_message import FAILED, READY, REQUEST, Answer, Request
from dask_mlsched.core.machine import Machine
from dask_mlsched.core.message_frame import Frame, FrameError
from dask_mlsched.core.network import Network
from dask_mlsched.learning import frame_streams
from dask_mlsched.learning.default_model import default_network
from dask_mlsched.learning.specialise import Specialist, specialise

#: Steps towards the lowest priority.
NICENESS: Final = 15


def serve(
    take: Callable[[int], bytes],
    answer: Callable[[Frame], None],
    *,
    waiting: Callable[[], bool],
    clock: Callable[[], float] = time.monotonic,
) -> None:
    """Answer requests until there are no more.

    Parameters
    ----------
    take
        Returns so many of the next bytes of a stream of frames; fewer only at its end.
    answer
        Takes the frames that come back.
    waiting
        Tells whether there is something to read, or the stream has ended.
    clock
        Seconds.

    Raises
    ------
    FrameError
        If the stream holds anything but frames: nothing behind that can be trusted.
    """
    start = default_network()
    _load(start)
    answer(Frame(READY))
    while (frame := message_frame.read(take)) is not None:
        began = clock()
        try:
            _answer(frame, start, answer, waiting=waiting, clock=clock, began=began)
        except BrokenPipeError:
            raise  # nobody listens any more
        except Exception as error:  # noqa: BLE001 - the next request may fare better
            number = frame.fields.get("number", -1)
            answer(Frame(FAILED, {"number": number, "error": f"{type(error).__name__}: {error}"}))


def _answer(
    frame: Frame,
    start: Network,
    answer: Callable[[Frame], None],
    *,
    waiting: Callable[[], bool],
    clock: Callable[[], float],
    began: float,
) -> None:
    if frame.kind != REQUEST:
        msg = f"a frame of kind {frame.kind}; expected {REQUEST}, a request"
        raise FrameError(msg)
    request = Request.from_frame(frame)

    def tell(made: Specialist, *, final: bool) -> None:
        seconds = clock() - began
        told = Answer(
            request.number,
            made.arm,
            made.network,
            made.may_hold,
            made.foretold,
            made.evaluations,
            seconds,
            final,
            made.guide,
        )
        answer(told.frame())

    made = specialise(
        request.dag,
        request.machine,
        request.settings,
        request.order,
        start if request.start is None else request.start,
        expired=lambda: clock() - began >= request.seconds or waiting(),
        rng=np.random.default_rng(request.seed),
        objective=request.objective,
        on_candidates=lambda best: tell(best, final=False),
    )
    tell(made, final=True)


def _load(start: Network) -> None:
    """Have everything compiled or loaded before there is a request: seconds, or a minute once."""
    chunks = [DagTask(f"a-{i}", (), 10, 1.0, "a") for i in range(6)]
    pairs = [
        DagTask(f"b-{i}-{j}", (f"a-{i}", f"a-{j}"), 10, 1.0, "b")
        for i in range(6)
        for j in range(6)
        if i != j
    ]
    dag = Dag.build("to load the code", [*chunks, *pairs])
    copy = CopyCost(10.0)
    machine = Machine(50, workers=2, costs=Costs(copy, copy, copy))
    specialise(
        dag,
        machine,
        Settings(bandwidth=10.0),
        np.arange(len(dag)),
        start,
        expired=lambda: True,
        rng=np.random.default_rng(0),
    )


def main() -> None:
    """Serve the process's own input and output."""
    answer = frame_streams.begin(NICENESS)
    with contextlib.suppress(BrokenPipeError, KeyboardInterrupt):
        serve(frame_streams.take, answer, waiting=frame_streams.waiting)


if __name__ == "__main__":
    main()
