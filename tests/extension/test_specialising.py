"""Specialising on a live scheduler: an answer takes over in mid-run, and nothing is left behind."""

from __future__ import annotations

import os
import signal
import sys
import time
from dataclasses import replace
from functools import partial
from typing import Any
from unittest.mock import patch

import dask
import numpy as np
import pytest
from distributed import Client, Event

from dask_mlsched.core.graph_message import ARMS
from dask_mlsched.extension import parking
from dask_mlsched.extension.specialising import Specialising
from live_scheduler import cluster_test, installed, plugin_of, until
from sample_tasks import added, chunk, total, wait_then
from side_processes import alive, patiently

pytestmark = pytest.mark.integration

#: Ends a search soon.
QUICK: dict[str, Any] = {"policy": "specialised", "least_seconds": 0.2}

PRODUCT = 8 * 8 * 10 * 125 * 7.0


def slowly_added(*arrays: Any) -> np.ndarray[Any, Any]:
    time.sleep(0.005)
    return added(*(array for array in arrays if array is not None))


def product(c: Client, size: int = 8, name: str = "first") -> Any:
    """Submit a product of which the second half waits for an event of that name."""
    rows = c.map(chunk, [10] * size, range(size), pure=False, key=f"row{name}")
    columns = c.map(chunk, [10] * size, range(size), pure=False, key=f"column{name}")
    gate = c.submit(wait_then, name, key=f"gate{name}")
    blocks = [
        c.submit(slowly_added, row, column, *([gate] if i >= size // 2 else []))
        for i, row in enumerate(rows)
        for column in columns
    ]
    return c.submit(total, *blocks)


async def ready(scheduler: Any) -> Specialising:
    specialising = plugin_of(scheduler).specialising
    assert specialising is not None
    await patiently(lambda: specialising.snapshot()["ready"])
    return specialising


async def answered(c: Client, scheduler: Any) -> tuple[Specialising, Any]:
    """Have the first product specialised to, whatever is the best; return it as it waits."""
    specialising = await ready(scheduler)
    specialising._give_back = lambda: None
    result = product(c)
    await until(lambda: specialising.answer is not None and specialising.answer.final)
    return specialising, result


@cluster_test(timeout=110)
async def test_an_answer_takes_over_in_the_middle_of_a_run(c, s, a, b):
    async with installed(c, s, **QUICK) as (handle, plugin):
        specialising, result = await answered(c, s)
        assert specialising.answer.network is plugin.controller.chooser.guard.policy.network
        before = (await handle.status())["reasons"]["policy"]
        await Event("first").set()
        assert await result == PRODUCT
        status = await handle.status()
        assert status["reasons"]["policy"] > before
        assert status["policy_failures"] == 0, status["last_policy_failure"]
        told = status["specialising"]
        assert told["requests"] >= 1
        assert told["answers"] >= 2
        assert told["problems"] == 0, told["last_problem"]
        assert told["arm"] in ARMS
        assert told["evaluations"] > 0
        pid = specialising.pid
    assert not alive(pid)


@cluster_test(timeout=110)
async def test_the_first_graph_is_asked_about_at_once(c, s, a, b):
    async with installed(c, s, **QUICK) as (_, plugin):
        # Compiled code may have to be made first, so the wait is bounded; here it is there.
        assert plugin.specialising.snapshot()["ready"]


@cluster_test(timeout=110)
async def test_a_process_that_cannot_do_its_work_does_not_keep_the_plugin_from_starting(c, s, a, b):
    useless = partial(Specialising, command=(sys.executable, "-c", "pass"))
    with patch("dask_mlsched.extension.specialising.Specialising", useless):
        async with installed(c, s, **QUICK) as (handle, plugin):
            assert plugin.mode == "manage"
            told = (await handle.status())["specialising"]
            assert not told["ready"]
            assert told["problems"] >= 1
            await Event("first").set()
            assert await product(c) == PRODUCT


@cluster_test(timeout=110)
async def test_a_graph_that_has_grown_is_asked_about_again(c, s, a, b):
    async with installed(c, s, **QUICK):
        specialising = await ready(s)
        first = product(c)
        await until(lambda: specialising.answer is not None)
        before = specialising.requests
        second = product(c, name="second")
        await until(lambda: specialising.requests > before)
        await until(lambda: specialising.answer.number >= before)
        await Event("first").set()
        await Event("second").set()
        assert await first == await second == PRODUCT
        # What was learnt for these graphs says nothing about the next one.
        await until(lambda: specialising.answer is None)


@cluster_test(timeout=110)
async def test_delayed_tasks_are_specialised_to_as_well(c, s, a, b):
    async with installed(c, s, **QUICK):
        specialising = await ready(s)
        gate = dask.delayed(wait_then)("gate")
        rows = [dask.delayed(chunk)(10, i) for i in range(8)]
        columns = [dask.delayed(chunk)(10, i) for i in range(8)]
        blocks = [dask.delayed(slowly_added)(row, col) for row in rows[:4] for col in columns]
        late = [dask.delayed(slowly_added)(row, col, gate) for row in rows[4:] for col in columns]
        result = c.compute(dask.delayed(total)(*blocks, *late))
        await until(lambda: specialising.answer is not None)
        await Event("gate").set()
        assert await result == PRODUCT


@cluster_test(timeout=110)
async def test_a_process_that_is_killed_is_started_again_and_the_run_goes_on(c, s, a, b):
    async with installed(c, s, **QUICK) as (handle, _):
        specialising = await ready(s)
        result = product(c)
        await until(lambda: specialising.answer is not None)
        first = specialising.pid
        os.kill(first, signal.SIGKILL)
        await until(lambda: specialising.pid not in (first, None))
        await Event("first").set()
        assert await result == PRODUCT
        told = (await handle.status())["specialising"]
        assert told["restarts"] == 1
        assert told["last_problem"] == "the specialist's process: it ended with status -9"
        second = specialising.pid
    assert not alive(second)


@cluster_test(timeout=110)
async def test_tasks_go_back_to_dask_where_it_does_best_alone(c, s, a, b):
    async with installed(c, s, **QUICK) as (handle, plugin):
        give_back = plugin.specialising._give_back
        specialising, result = await answered(c, s)
        specialising._give_back = give_back
        told = {"stock": (1.0, 100), "order": (2.0, 100)}
        best = replace(specialising.answer, arm="stock", foretold=told)
        assert any(map(parking.is_ours, s.tasks.values()))
        specialising._hear(best.frame())
        assert not any(map(parking.is_ours, s.tasks.values()))
        await Event("first").set()
        assert await result == PRODUCT
        assert (await handle.status())["specialising"]["arm"] == "stock"
        # The next graph is ours again.
        second = product(c, name="second")
        await until(lambda: specialising.snapshot()["requests"] > 1)
        await Event("second").set()
        assert await second == PRODUCT


@cluster_test(timeout=110)
async def test_tasks_are_shown_in_the_order_of_an_answer(c, s, a, b):
    async with installed(c, s, **QUICK) as (handle, plugin):
        specialising, result = await answered(c, s)
        asked = specialising._asked.tasks
        policy = plugin.controller.chooser.guard.policy
        backwards = np.arange(len(asked))[::-1].copy()
        specialising._hear(replace(specialising.answer, guide=backwards).frame())
        assert policy.serves.guide == dict(zip(asked, backwards.tolist(), strict=True))
        # Tasks that nobody asked about cannot be put in order.
        answers, served = specialising.answer, policy.serves
        specialising._hear(replace(specialising.answer, guide=np.arange(len(asked) - 1)).frame())
        assert specialising.snapshot()["problems"] == 1
        specialising._hear(replace(answers, guide=np.arange(3)).frame())
        told = (await handle.status())["specialising"]
        assert told["problems"] == 2
        assert f"expected the {len(asked)} that were asked about" in told["last_problem"]
        assert policy.serves is served
        await Event("first").set()
        assert await result == PRODUCT
        assert (await handle.status())["policy_failures"] == 0


@cluster_test(timeout=110)
async def test_an_order_of_numbers_that_stand_for_other_tasks_now_is_forgotten(c, s, a, b):
    async with installed(c, s, **QUICK) as (_, plugin):
        specialising, result = await answered(c, s)
        guide = np.arange(len(specialising._asked.tasks))
        specialising._hear(replace(specialising.answer, guide=guide).frame())
        plugin._resync()
        assert plugin.controller.chooser.guard.policy.serves.guide is None
        assert specialising.answer is None
        await Event("first").set()
        assert await result == PRODUCT


@cluster_test(timeout=110)
async def test_another_policy_ends_the_process(c, s, a, b):
    async with installed(c, s, **QUICK) as (handle, plugin):
        pid = plugin.specialising.pid
        assert alive(pid)
        await handle.set_policy("greedy")
        assert not alive(pid)
        assert (await handle.status())["specialising"] is None


@cluster_test(timeout=110)
async def test_it_can_be_switched_off(c, s, a, b):
    async with installed(c, s, policy="specialised", specialise=False) as (_, plugin):
        assert plugin.specialising is None
        await Event("first").set()
        assert await product(c) == PRODUCT
