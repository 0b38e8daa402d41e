from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import dask
import pytest
from distributed import Client, Event, Scheduler, Worker
from distributed.diagnostics.plugin import SchedulerPlugin
from distributed.scheduler import TaskState
from distributed.utils_test import wait_for_state

from dask_mlsched.extension import parking
from live_scheduler import cluster_test, installed
from sample_tasks import Counter, inc, wait_then

pytestmark = pytest.mark.integration


class Parks(SchedulerPlugin):
    """Parks every task that can be, and does nothing else."""

    name = "parks"

    def update_graph(self, scheduler: Scheduler, *, tasks: Any, **_: Any) -> None:  # type: ignore[override]
        for key in tasks:
            if parking.reason_to_leave(scheduler.tasks[key]) is None:
                parking.park(scheduler.tasks[key])


def parking_test(function: Callable[..., Any]) -> Any:
    """Run a coroutine with two workers of one thread, and a scheduler on which tasks park."""

    async def with_plugin(c: Client, s: Scheduler, a: Worker, b: Worker) -> None:
        s.add_plugin(Parks())
        await function(c, s, a, b)
        parking.release_all(s, "test")

    with_plugin.__name__ = function.__name__
    return cluster_test([1, 1], tiered=False)(with_plugin)


def task_of(s: Scheduler, future: Any) -> TaskState:
    return s.tasks[future.key]


@parking_test
async def test_a_ready_task_waits_although_workers_are_idle(c, s, a, b):
    x = c.submit(inc, 1)
    await wait_for_state(x.key, "no-worker", s)
    assert parking.is_ours(task_of(s, x))
    s.validate_state()


@parking_test
async def test_a_parked_task_keeps_the_scheduler_from_being_idle(c, s, a, b):
    xs = c.map(inc, range(30))
    await wait_for_state(xs[-1].key, "no-worker", s)
    assert s.check_idle() is None
    # Half a second each, as Dask guesses, of five that a worker should have to do.
    assert s.adaptive_target() == 3


@parking_test
async def test_a_task_is_sent_to_the_worker_that_was_chosen(c, s, a, b):
    xs = c.map(inc, range(4))
    for x in xs:
        await wait_for_state(x.key, "no-worker", s)
    choices = [(task_of(s, x), w.address) for x, w in zip(xs, [b, a, a, b], strict=True)]
    assert parking.dispatch(s, choices, "test") == []
    assert [task_of(s, x).processing_on.address for x in xs] == [where for _, where in choices]
    assert all(parking.is_ours(task_of(s, x)) for x in xs)
    assert await c.gather(xs) == [1, 2, 3, 4]


@parking_test
async def test_tasks_leave_in_the_order_in_which_they_were_chosen(c, s, a, b):
    xs = c.map(inc, range(5))
    for x in xs:
        await wait_for_state(x.key, "no-worker", s)
    order = [xs[i] for i in (3, 0, 4, 2, 1)]
    parking.dispatch(s, [(task_of(s, x), a.address) for x in order], "in order")
    sent = [entry[0] for entry in s.transition_log if entry[2] == "processing"]
    assert sent == [x.key for x in order]


@parking_test
async def test_a_task_whose_worker_takes_none_is_refused_and_stays_parked(c, s, a, b):
    x, y, z = c.map(inc, range(3))
    for future in (x, y, z):
        await wait_for_state(future.key, "no-worker", s)
    s.handle_worker_status_change("paused", a.address, "test")
    choices = [
        (task_of(s, x), a.address),
        (task_of(s, y), "tcp://127.0.0.1:1"),
        (task_of(s, z), b.address),
    ]
    assert parking.dispatch(s, choices, "test") == [task_of(s, x), task_of(s, y)]
    assert task_of(s, x).state == task_of(s, y).state == "no-worker"
    assert all(parking.is_ours(task_of(s, each)) for each in (x, y, z))
    assert await z == 3
    s.handle_worker_status_change("running", a.address, "test")


@parking_test
async def test_a_restriction_that_somebody_sets_while_the_task_leaves_wins(c, s, a, b):
    class Meddles(SchedulerPlugin):
        def transition(self, key: Any, start: Any, finish: Any, *_: Any, **__: Any) -> None:
            if finish == "processing":
                s.set_restrictions({key: [b.address]})

    x = c.submit(inc, 1)
    await wait_for_state(x.key, "no-worker", s)
    s.add_plugin(Meddles(), name="meddles")
    parking.dispatch(s, [(task_of(s, x), a.address)], "test")
    assert task_of(s, x).worker_restrictions == {b.address}
    assert await x == 2


@parking_test
async def test_releasing_gives_all_tasks_back_and_counts_those_that_were_parked(c, s, a, b):
    x = c.submit(inc, 1)
    y = c.submit(inc, x)
    await wait_for_state(y.key, "waiting", s)
    await wait_for_state(x.key, "no-worker", s)
    assert parking.release_all(s, "test") == 1
    assert not [ts for ts in s.tasks.values() if ts.worker_restrictions is not None]
    assert await y == 3
    assert parking.release_all(s, "test") == 0


@parking_test
async def test_released_root_tasks_are_queued_as_dask_always_does(c, s, a, b):
    with dask.annotate(priority=0):
        xs = c.map(wait_then, ["go"] * 20, range(20))
    await wait_for_state(xs[-1].key, "no-worker", s)
    assert parking.release_all(s, "test") == 20
    states = [task_of(s, x).state for x in xs]
    assert states.count("queued") > 10
    assert states.count("no-worker") == 0
    # Dask's own order: those that come first run first.
    assert states.index("queued") > states.index("processing")
    s.validate_state()
    await Event("go").set()
    assert await c.gather(xs) == list(range(20))


@cluster_test([1, 1], tiered=False)
async def test_tasks_that_dask_has_queued_are_taken_over(c, s, a, b):
    xs = c.map(wait_then, ["go"] * 20, range(20))
    await wait_for_state(xs[-1].key, "queued", s)
    queued = list(s.queued)
    parking.adopt(s, queued, "test")
    assert {ts.state for ts in queued} == {"no-worker"}
    assert not s.queued
    s.validate_state()
    assert parking.release_all(s, "test") == len(queued)
    await Event("go").set()
    assert await c.gather(xs) == list(range(20))


@parking_test
async def test_a_task_that_must_be_computed_again_parks_again(c, s, a, b):
    x = c.submit(inc, 1)
    await wait_for_state(x.key, "no-worker", s)
    parking.dispatch(s, [(task_of(s, x), a.address)], "test")
    assert await x == 2
    await a.close()
    await wait_for_state(x.key, "no-worker", s)
    assert parking.is_ours(task_of(s, x))
    parking.dispatch(s, [(task_of(s, x), b.address)], "test")
    assert await x == 2


@parking_test
async def test_keeping_alive_sets_only_the_clocks_of_parked_tasks_back(c, s, a, b):
    parked = c.submit(inc, 1)
    nowhere = c.submit(inc, 2, workers=["tcp://127.0.0.1:1"], key="nowhere")
    later = c.submit(inc, 3)
    for future in (parked, nowhere, later):
        await wait_for_state(future.key, "no-worker", s)
    before = dict(s.unrunnable)
    await asyncio.sleep(0.01)
    parking.keep_alive(s)
    after = dict(s.unrunnable)
    assert after[task_of(s, nowhere)] == before[task_of(s, nowhere)]
    for future in (parked, later):
        assert after[task_of(s, future)] > before[task_of(s, future)]
    s.validate_state()  # the times are in order of insertion


@parking_test
async def test_what_is_left_to_dask_and_why(c, s, a, b):
    await a.set_resources(GPU=1)
    futures = {
        "worker": c.submit(inc, 1, workers=[a.address], key="worker"),
        "host": c.submit(inc, 1, workers=["127.0.0.1"], key="host"),
        "loose": c.submit(inc, 1, workers=["no"], allow_other_workers=True, key="loose"),
        "resource": c.submit(inc, 1, resources={"GPU": 1}, key="resource"),
        "actor": c.submit(Counter, actor=True, key="actor"),
    }
    await c.gather([futures[key] for key in ("worker", "host", "loose", "resource")])
    await futures["actor"]
    (scattered,) = await c.scatter([1])
    reasons = {key: parking.reason_to_leave(s.tasks[key]) for key in futures}
    assert reasons.pop("actor") == "actor"
    assert set(reasons.values()) == {"restricted"}
    assert parking.reason_to_leave(task_of(s, scattered)) == "no run spec"
    running = c.submit(wait_then, "go", workers=[a.address], key="running")
    await wait_for_state("running", "processing", s)
    s.set_restrictions({"running": None})
    assert parking.reason_to_leave(s.tasks["running"]) == "under way"
    await Event("go").set()
    await running


@parking_test
async def test_the_tasks_around_the_barrier_of_a_shuffle_are_left_to_dask(c, s, a, b):
    pd = pytest.importorskip("pandas")
    dd = pytest.importorskip("dask.dataframe")
    frame = pd.DataFrame({"x": range(20), "y": range(20)})
    with dask.config.set({"dataframe.shuffle.method": "p2p"}):
        shuffled = dd.from_pandas(frame, npartitions=4).shuffle("x")
    future = c.compute(shuffled)
    while not any("barrier" in str(key) for key in s.tasks):
        await asyncio.sleep(0.01)
    (barrier,) = [ts for ts in s.tasks.values() if "barrier" in str(ts.key)]
    around = {barrier, *barrier.dependencies, *barrier.dependents}
    assert {parking.reason_to_leave(ts) for ts in around} <= {"p2p", "restricted", "under way"}
    assert not any(parking.is_ours(ts) for ts in around)
    s.remove_plugin("parks")
    parking.release_all(s, "test")
    assert len(await future) == 20


@pytest.mark.parametrize("how", ["uninstall", "observe", "resync"])
@cluster_test([1, 1])
async def test_a_parked_task_whose_restriction_a_user_takes_away_runs_without_us(c, s, a, b, how):
    async with installed(c, s, lookahead=0) as (handle, plugin):
        blockers = c.map(wait_then, ["go"] * 2, range(2))
        parked = c.submit(inc, 1, key="parked")
        await wait_for_state("parked", "no-worker", s)
        s.set_restrictions({"parked": None})
        if how == "resync":
            plugin._resync()
        elif how == "observe":
            await handle.set_mode("observe")
        else:
            await handle.uninstall()
        await Event("go").set()
        assert await parked == 2
        await c.gather(blockers)
