"""What Dask lets users do works with the plugin on."""

from __future__ import annotations

import pytest
from distributed import Client, Event, Queue, Variable, wait
from distributed.utils_test import wait_for_state

from dask_mlsched.extension import parking
from live_scheduler import (
    assert_in_step,
    cluster_test,
    installed,
    tree,
    tree_total,
    until,
)
from sample_tasks import (
    Counter,
    added,
    address,
    chunk,
    fail,
    fail_until,
    inc,
    slow_inc,
    sum_of_subtasks,
    sum_of_subtasks_after_secede,
    total,
    wait_then,
)

pytestmark = pytest.mark.integration


@pytest.mark.parametrize("lookahead", [0, 1])
@pytest.mark.parametrize("task", [sum_of_subtasks, sum_of_subtasks_after_secede])
@cluster_test([1, 1])
async def test_tasks_submitted_from_tasks_on_workers_of_one_thread(c, s, a, b, task, lookahead):
    async with installed(c, s, lookahead=lookahead, check_interval="20ms"):
        results = c.map(task, [5] * 6, pure=False)
        assert await c.gather(results) == [15] * 6


@cluster_test([1])
async def test_tasks_that_submit_tasks_that_submit_tasks(c, s, a):
    def nested(depth: int) -> int:
        from distributed import worker_client

        if depth == 0:
            return 1
        with worker_client() as client:
            return sum(client.gather(client.map(nested, [depth - 1] * 2, pure=False)))

    async with installed(c, s, lookahead=0, check_interval="10ms"):
        assert await c.submit(nested, 3) == 8


@cluster_test([1, 1])
async def test_actors(c, s, a, b):
    async with installed(c, s) as (_, plugin):
        counter = await c.submit(Counter, actor=True)
        result = tree(c, 16)
        for expected in (1, 2, 3):
            assert await counter.add() == expected
        assert await result == tree_total(16)
        assert plugin.dispatcher.unmanaged["actor"] == 1


@cluster_test([1])
async def test_the_user_s_priority_comes_first(c, s, a):
    async with installed(c, s, lookahead=0):
        blocker = c.submit(wait_then, "go", priority=100)
        await wait_for_state(blocker.key, "processing", s)
        low = c.map(inc, range(5), key="low", priority=-1)
        middle = c.map(inc, range(5), key="middle")
        high = c.map(inc, range(5), key="high", priority=1)
        await wait_for_state(high[-1].key, "no-worker", s)
        await Event("go").set()
        await wait([*low, *middle, *high])
        order = [entry[0] for entry in s.transition_log if entry[2] == "memory"]
        names = [key.rsplit("-", 1)[0] for key in order if key != blocker.key]
        assert names == ["high"] * 5 + ["middle"] * 5 + ["low"] * 5


@cluster_test([1, 1])
async def test_workers_resources_and_hosts_are_honoured_and_counted(c, s, a, b):
    async with installed(c, s) as (handle, _):
        await b.set_resources(GPU=1)
        here = c.map(address, range(4), workers=[a.address], key="here")
        gpu = c.map(address, range(4), resources={"GPU": 1}, key="gpu")
        loose = c.map(
            address, range(4), workers=["tcp://1.2.3.4:5"], allow_other_workers=True, key="loose"
        )
        host = c.map(address, range(4), workers=["127.0.0.1"], key="host")
        anywhere = c.map(address, range(4), key="anywhere")
        assert await c.gather(here) == [a.address] * 4
        assert await c.gather(gpu) == [b.address] * 4
        assert len(await c.gather([*loose, *host, *anywhere])) == 12
        status = await handle.status()
        assert status["unmanaged"] == {"restricted": 16}
        assert status["decisions"] == 4


@cluster_test([1, 1])
async def test_two_clients(c, s, a, b):
    async with installed(c, s), Client(s.address, asynchronous=True) as d:
        results = [tree(client, 24) for client in (c, d, c, d)]
        assert [await result for result in results] == [tree_total(24)] * 4


@cluster_test([1, 1])
async def test_a_client_that_leaves_in_the_middle_of_a_run(c, s, a, b):
    async with installed(c, s) as (_, plugin):
        async with Client(s.address, asynchronous=True) as d:
            left = d.map(slow_inc, range(200), seconds=0.02)
            await until(lambda: plugin.controller.parked > 100)
            assert len(left) == 200
        await until(lambda: not s.tasks)
        assert_in_step(plugin)
        assert await tree(c, 8) == tree_total(8)


@cluster_test([1, 1])
async def test_scattered_data_is_seen_and_used(c, s, a, b):
    async with installed(c, s):
        scattered = await c.scatter([chunk(10, value) for value in range(12)])
        everywhere = await c.scatter(chunk(10, 5.0), broadcast=True)
        results = [c.submit(total, x, everywhere) for x in scattered]
        assert await c.gather(results) == [1250.0 * (value + 5) for value in range(12)]


@cluster_test([1, 1])
async def test_variables_queues_and_published_data(c, s, a, b):
    async with installed(c, s):
        future = c.submit(chunk, 10, 2.0)
        await Variable("v").set(future)
        await (await Queue("q")).put(future)
        await c.publish_dataset(data=future)
        del future
        for source in (Variable("v").get(), (await Queue("q")).get(), c.get_dataset("data")):
            assert await c.submit(total, await source, pure=False) == 2500.0
        await c.unpublish_dataset("data")
        Variable("v").delete()


@cluster_test([1, 1])
async def test_failing_tasks_and_retries(c, s, a, b, tmp_path):
    async with installed(c, s) as (_, plugin):
        failed = c.submit(fail, c.submit(inc, 1))
        after = c.submit(inc, failed)
        retried = c.submit(fail_until, str(tmp_path / "a"), 2, retries=2)
        not_enough = c.submit(fail_until, str(tmp_path / "b"), 3, retries=1)
        for future in (failed, after, not_enough):
            with pytest.raises(ZeroDivisionError):
                await future
        assert await retried == "at last"
        await c.retry([not_enough])
        with pytest.raises(ZeroDivisionError):
            await not_enough
        assert_in_step(plugin)
        assert await tree(c, 8) == tree_total(8)


@cluster_test([1, 1])
async def test_cancelling_what_is_parked_and_what_runs(c, s, a, b):
    async with installed(c, s) as (_, plugin):
        futures = c.map(wait_then, ["go"] * 30, range(30))
        results = [c.submit(inc, future) for future in futures]
        await until(lambda: plugin.controller.parked > 20)
        await c.cancel([*futures[::2], *results[::2]])
        assert_in_step(plugin)
        await Event("go").set()
        assert await c.gather(results[1::2]) == list(range(2, 31, 2))
        assert all(future.cancelled() for future in futures[::2])


@cluster_test([1, 1])
async def test_tasks_that_are_released_and_wanted_again(c, s, a, b):
    async with installed(c, s) as (_, plugin):
        for _ in range(3):
            futures = c.map(slow_inc, range(30), seconds=0.005)
            await until(lambda: plugin.controller.parked > 10)
            wanted = futures[::3]
            del futures
            assert await c.gather(wanted) == list(range(1, 31, 3))
            del wanted
            await until(lambda: not s.tasks)
            assert_in_step(plugin)


@cluster_test([1, 1])
async def test_a_lost_input_is_computed_again(c, s, a, b):
    async with installed(c, s):
        chunks = c.map(chunk, [10] * 8, range(8))
        await wait(chunks)
        result = c.submit(wait_then, "go", 1, *chunks)
        await wait_for_state(result.key, "processing", s)
        holder = next(iter(s.tasks[chunks[0].key].who_has)).address
        await s.remove_worker(holder, stimulus_id="test")
        await Event("go").set()
        assert await result == 1
        assert await c.submit(total, *chunks) == 1250.0 * sum(range(8))


@cluster_test([1, 1])
async def test_the_same_keys_are_submitted_again_with_another_graph(c, s, a, b):
    async with installed(c, s) as (_, plugin):
        x = c.submit(chunk, 10, 1.0, key="x")
        y = c.get({"y": (total, "x"), "x": (chunk, 10, 1.0)}, "y", sync=False)
        z = c.get({"z": (added, "x", "x"), "x": (chunk, 10, 1.0)}, "z", sync=False)
        assert await y == 1250.0
        assert float((await z).sum()) == 2500.0
        assert_in_step(plugin)
        await x


@cluster_test([1, 1])
async def test_nothing_is_left_of_tasks_that_are_gone(c, s, a, b):
    async with installed(c, s) as (_, plugin):
        for _ in range(3):
            assert await tree(c, 24) == tree_total(24)
            await until(lambda: not s.tasks)
        controller = plugin.controller
        assert len(plugin.translator.tasks) == 0
        assert controller.graph.computed_bytes == 0
        assert all(not device.residency.held() for device in controller.devices.values())
        assert all(not device.in_flight for device in controller.devices.values())
        assert not any(parking.is_ours(ts) for ts in s.tasks.values())
