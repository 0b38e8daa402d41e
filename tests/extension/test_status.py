from __future__ import annotations

import json

import pytest
from distributed import Event
from distributed.utils_test import wait_for_state

from live_scheduler import cluster_test, installed, until
from sample_tasks import Counter, added, chunk, inc, total, wait_then

pytestmark = pytest.mark.integration


@cluster_test([1, 1])
async def test_the_status_before_anything_has_run(c, s, a, b):
    async with installed(c, s) as (handle, plugin):
        await until(lambda: plugin.manages)
        status = await handle.status()
        worker = status["workers"].pop(a.address)
        assert set(status["workers"]) == {b.address}
        assert worker == {
            "kind": "emulated-device",
            "unserved": None,
            "limit": 100_000,
            "resident_bytes": 0,
            "loads": 0,
            "evictions": 0,
            "bytes_loaded": 0,
            "bytes_evicted": 0,
            "load_seconds": 0.0,
            "evict_seconds": 0.0,
            "in_flight": 0,
        }
        del status["workers"], status["reports"], status["dashboard"]
        assert status.pop("version")
        assert status == {
            "mode": "manage",
            "policy": "learned",
            "managing": True,
            "parked": 0,
            "unmanaged": {},
            "errors": 0,
            "last_error": None,
            "trace": {
                "recording": False,
                "where": None,
                "events": 0,
                "nbytes": 0,
                "truncated": None,
                "problems": 0,
                "last_problem": None,
            },
            "specialising": None,
            "training": None,
            "decisions": 0,
            "reasons": {},
            "holds": 0,
            "hold_seconds": 0.0,
            "oversized": 0,
            "decision_seconds": {"p50": None, "p99": None, "total": 0.0},
            "policy_failures": 0,
            "last_policy_failure": None,
            "policy_off": False,
        }


@cluster_test([1, 1])
async def test_the_status_of_a_plugin_that_is_off_has_the_same_fields(c, s, a, b):
    async with installed(c, s) as (handle, _):
        on = await handle.status()
        await handle.set_mode("off")
        off = await handle.status()
        assert off.keys() == on.keys()
        assert not off["managing"]
        assert off["decision_seconds"].keys() == on["decision_seconds"].keys()


@cluster_test([1, 1])
async def test_the_status_in_the_middle_of_a_run(c, s, a, b):
    async with installed(c, s, lookahead=1) as (handle, _):
        futures = c.map(wait_then, ["go"] * 10, range(10))
        await wait_for_state(futures[-1].key, "no-worker", s)
        await until(lambda: len(s.workers[a.address].processing) == 2)
        status = await handle.status()
        assert status["parked"] == 6
        assert [status["workers"][w.address]["in_flight"] for w in (a, b)] == [2, 2]
        assert status["decisions"] == 4
        await Event("go").set()
        await c.gather(futures)


@cluster_test([1, 1])
async def test_the_status_after_a_run(c, s, a, b):
    async with installed(c, s) as (handle, plugin):
        kept = c.map(chunk, [10] * 63, range(63))
        assert await c.submit(total, *kept) == 1250.0 * sum(range(63))
        await until(lambda: any(t["evictions"] for t in plugin.reports.totals.values()))
        status = await handle.status()
        assert status["decisions"] == 64 == sum(status["reasons"].values())
        assert 0 < status["decision_seconds"]["p50"] <= status["decision_seconds"]["p99"]
        assert status["decision_seconds"]["total"] > 0
        assert sum(worker["bytes_evicted"] for worker in status["workers"].values()) > 0
        json.dumps(status)  # plain values throughout


@cluster_test([1, 1])
async def test_explaining_a_task_that_has_run(c, s, a, b):
    async with installed(c, s) as (handle, _):
        inputs = c.map(chunk, [10] * 3, range(3))
        result = c.submit(added, *inputs)
        await result
        answer = await handle.explain(result)
        assert answer["key"] == result.key
        assert answer["state"] == "memory"
        assert answer["managed"]
        decision = answer["decision"]
        assert decision["worker"] == next(iter(s.tasks[result.key].who_has)).address
        assert decision["reason"] in ("fits", "policy", "only choice")
        assert decision["candidates"] == 1
        assert decision["place_in_dask_order"] == 0
        assert decision["held_seconds"] >= 0
        assert decision["missing_bytes"] >= 0
        assert "parked" not in answer
        assert await handle.explain(result.key) == answer


@cluster_test([1, 1])
async def test_explaining_a_task_that_is_parked(c, s, a, b):
    async with installed(c, s, lookahead=0) as (handle, _):
        big = c.submit(chunk, 10, workers=[a.address])
        await big
        blockers = c.map(wait_then, ["go"] * 2, range(2))
        parked = c.submit(added, big, big, key="parked")
        await wait_for_state("parked", "no-worker", s)
        await until(lambda: all(ws.processing for ws in s.workers.values()))
        answer = await handle.explain("parked")
        assert answer["state"] == "no-worker"
        assert answer["parked"] == {
            "inputs": 1,
            "home": a.address,
            "missing_bytes": {a.address: 0, b.address: s.tasks[big.key].nbytes},
            "free_slots": {a.address: 0, b.address: 0},
        }
        assert "decision" not in answer
        await Event("go").set()
        await c.gather([parked, *blockers])


@cluster_test([1, 1])
async def test_explaining_what_is_left_to_dask(c, s, a, b):
    async with installed(c, s) as (handle, _):
        here = c.submit(inc, 1, workers=[a.address], key="here")
        actor = c.submit(Counter, actor=True, key="actor")
        (scattered,) = await c.scatter([1])
        assert await here == 2
        await actor
        for key, reason in [
            ("here", "restricted"),
            ("actor", "actor"),
            (scattered.key, "no run spec"),
        ]:
            answer = await handle.explain(key)
            assert not answer["managed"]
            assert answer["left_to_dask"] == reason
        await handle.set_mode("observe")
        answer = await handle.explain("here")
        assert answer["left_to_dask"] == "the plugin manages nothing now"


@cluster_test([1, 1])
async def test_explaining_what_nobody_knows(c, s, a, b):
    async with installed(c, s) as (handle, _):
        assert await handle.explain("nothing") == {
            "key": "nothing",
            "state": "unknown",
            "similar": (),
        }
        future = c.submit(inc, 1, key="something")
        await future
        assert (await handle.explain("thing"))["similar"] == ("something",)


@cluster_test([1])
async def test_decisions_are_remembered_up_to_a_length(c, s, a):
    async with installed(c, s, explain_length=3) as (handle, _):
        futures = c.map(inc, range(10), key="x")
        await c.gather(futures)
        answers = [await handle.explain(future) for future in futures]
        assert sum("decision" in answer for answer in answers) == 3
    async with installed(c, s, explain_length=0) as (handle, _):
        await c.submit(inc, 1, key="y")
        assert "decision" not in await handle.explain("y")


@cluster_test([1])
async def test_a_key_may_be_a_tuple(c, s, a):
    async with installed(c, s) as (handle, _):
        future = c.submit(inc, 2, key=("y", 0))
        await future
        assert (await handle.explain(("y", 0)))["decision"]["worker"] == a.address


@cluster_test([1])
async def test_explaining_what_was_passed_over(c, s, a):
    def last(situation):
        # Whatever Dask would run first is passed over as long as there is anything else.
        return [*range(len(situation.candidates))] + [-1.0] * (situation.hold is not None)

    async with installed(c, s, lookahead=0, policy="greedy") as (handle, plugin):
        inputs = c.map(chunk, [10] * 20, range(20))
        await c.gather(inputs)
        plugin.controller.chooser.guard.policy.score = last
        blocker = c.submit(wait_then, "go", 0)
        await until(lambda: s.workers[a.address].processing)
        sums = [c.submit(added, inputs[n], inputs[n + 10], key=f"sum-{n}") for n in range(4)]
        await until(lambda: plugin.controller.parked == 4)
        await Event("go").set()
        await c.gather([*sums, blocker])
        answers = [await handle.explain(each) for each in sums]
        passed = [answer for answer in answers if "passed_over" in answer]
        assert len(passed) == 3
        for answer in passed:
            found = answer["passed_over"]
            assert found["worker"] == a.address
            assert found["instead"].startswith("sum-")
            assert found["instead"] != answer["key"]
            assert not found["held"]
            assert "It was passed over" in str(answer)


@cluster_test([1])
async def test_explaining_names_the_policy_that_decided(c, s, a):
    async with installed(c, s, policy="greedy") as (handle, _):
        future = c.submit(inc, 1)
        await future
        await handle.set_policy("fifo")
        assert (await handle.explain(future))["decision"]["policy"] == "greedy"


@cluster_test([1])
async def test_explaining_a_task_that_waits(c, s, a):
    async with installed(c, s) as (handle, _):
        blocker = c.submit(wait_then, "go", 0)
        waiting = c.submit(added, blocker, blocker, key="waiting")
        await until(lambda: "waiting" in s.tasks)
        answer = await handle.explain("waiting")
        assert answer["waits_for"] == 1
        assert "waits for 1 of its inputs" in str(answer)
        await Event("go").set()
        await waiting
