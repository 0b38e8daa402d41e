"""What is left to run, as it is sent: tasks, arrays that are there, estimates, devices."""

from __future__ import annotations

import io
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from dask_mlsched.core import events as ev
from dask_mlsched.core.chooser import Settings
from dask_mlsched.core.controller import Controller
from dask_mlsched.core.graph_message import Request
from dask_mlsched.core.message_frame import encode, read
from dask_mlsched.extension.graph_request import Estimates, Pressed, collect

#: Prefixes of chunks, of sums, and of what nothing is known of.
CHUNK, SUM, NEW = 0, 1, 2


def controller(limit: int | None = 200) -> Controller:
    """Make one with four chunks, a sum of each pair, and one task that reads both sums::

    0 1 -> 4 -> 6
    2 3 -> 5 -> 6
    """
    made = Controller(None, Settings(seed=3), lambda: 0.0)
    made.handle(ev.WorkerJoined(0.0, 0, 1, limit))
    made.handle(ev.WorkerJoined(0.0, 1, 3, limit))
    chunks = [ev.TaskSpec(i, (), (0, 0, 10 - i), CHUNK) for i in range(4)]
    sums = [ev.TaskSpec(4, (0, 1), (0, 0, 4), SUM), ev.TaskSpec(5, (2, 3), (0, 0, 5), SUM)]
    made.handle(ev.GraphArrived(0.0, (*chunks, *sums, ev.TaskSpec(6, (4, 5), (0, 0, 6), NEW))))
    return made


def run(made: Controller, task: int, nbytes: int = 100, seconds: float = 0.5) -> None:
    made.handle(ev.TaskStarted(1.0, task, 0))
    made.handle(ev.TaskFinished(2.0, task, nbytes, seconds))


def collected(made: Controller, **prefixes: float) -> tuple[Request, Estimates] | None:
    """Collect; task 6 is wanted, and prefixes have the durations that Dask knows."""
    translator: Any = SimpleNamespace(tasks=SimpleNamespace(key=str), prefix_name=lambda p: f"p{p}")
    known = {name: SimpleNamespace(duration_average=value) for name, value in prefixes.items()}
    tasks = {
        str(task): SimpleNamespace(who_wants={"client"} if task == 6 else set())
        for task in range(7)
    }
    scheduler: Any = SimpleNamespace(tasks=tasks, task_prefixes=known)
    pressed = Pressed.of(made)
    assert pressed is not None
    return collect(
        scheduler,
        made,
        translator,
        pressed,
        number=1,
        seconds_per_task=0.5,
        least_seconds=1.0,
        most_seconds=2.0,
    )


def half_done() -> Controller:
    """Have all chunks and one sum; the chunks of the sum are gone."""
    made = controller()
    for task in range(4):
        run(made, task)
    run(made, 4, nbytes=300, seconds=1.5)
    for task in (0, 1):
        made.handle(ev.ArrayReleased(3.0, task))
    return made


def test_what_is_there_and_read_is_given_and_what_is_gone_is_left_out() -> None:
    result = collected(half_done())
    assert result is not None
    dag = result[0].dag
    place = {int(key): at for at, key in enumerate(dag.keys)}
    assert set(place) == {2, 3, 4, 5, 6}
    assert {task for task, at in place.items() if dag.given[at]} == {2, 3, 4}
    reads = {task: {int(dag.keys[d]) for d in dag.dependencies(at)} for task, at in place.items()}
    assert reads == {2: set(), 3: set(), 4: set(), 5: {2, 3}, 6: {4, 5}}
    assert [int(dag.keys[at]) for at in np.flatnonzero(dag.wanted)] == [6]


def test_sizes_and_times_are_measured_ones_or_means() -> None:
    result = collected(half_done(), p2=7.0)
    assert result is not None
    dag = result[0].dag
    nbytes = dict(zip(map(int, dag.keys), dag.nbytes.tolist(), strict=True))
    assert nbytes == {2: 100, 3: 100, 4: 300, 5: 300, 6: 200}
    seconds = dict(zip(map(int, dag.keys), dag.seconds.tolist(), strict=True))
    assert seconds == {2: 0.0, 3: 0.0, 4: 0.0, 5: 1.5, 6: 7.0}


def test_order_is_dasks_and_the_budget_within_its_bounds() -> None:
    result = collected(half_done())
    assert result is not None
    request = result[0]
    by_order = [int(request.dag.keys[at]) for at in np.argsort(request.order)]
    assert by_order == [4, 5, 6, 3, 2]
    assert request.seconds == 1.0  # two tasks are left
    assert request.seed == 3


def test_it_can_be_read_at_the_other_end() -> None:
    result = collected(half_done())
    assert result is not None
    frame = read(io.BytesIO(encode(result[0].frame())).read)
    assert frame is not None
    assert Request.from_frame(frame).machine == result[0].machine


def test_a_device_is_at_least_as_large_as_the_largest_task() -> None:
    result = collected(half_done())
    assert result is not None
    # Both sums and what is made of them.
    assert result[0].machine.limit == 800
    assert (result[0].machine.workers, result[0].machine.threads) == (2, 2)


def test_bytes_count_until_the_speed_of_copies_is_known() -> None:
    made = half_done()
    result = collected(made)
    assert result is not None
    assert result[0].objective == "bytes"
    made.handle(ev.ArraysMoved(4.0, 0, ((2, False),), 10_000, 0.01))
    result = collected(made)
    assert result is not None
    assert result[0].objective == "makespan"
    assert result[0].machine.costs.load.bandwidth == pytest.approx(1e6)


def test_nothing_is_pressed_while_all_fits_or_nothing_is_known() -> None:
    assert Pressed.of(controller()) is None
    for limit in (None, 10_000):
        made = controller(limit)
        run(made, 0)
        assert Pressed.of(made) is None


def test_there_is_no_request_when_nothing_is_left_to_run() -> None:
    made = half_done()
    run(made, 5)
    run(made, 6)
    assert collected(made) is None


def test_estimates_differ_once_tasks_to_come_are_of_another_size() -> None:
    made = controller()
    run(made, 0)
    estimates = Estimates.of(made.graph, {})
    assert not estimates.differ(made.graph, 0.2)
    run(made, 1, nbytes=110)
    assert not estimates.differ(made.graph, 0.2)
    run(made, 2, nbytes=400)
    assert estimates.differ(made.graph, 0.2)
