"""Models on a live scheduler: each run has its own, or is left to Dask, and all can be seen."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from distributed import Event

from dask_mlsched.core import events as ev
from dask_mlsched.core.calibration import calibrate
from dask_mlsched.core.message_frame import Frame, encode
from dask_mlsched.core.model_choice import BASELINE, CATALOGUE, Belief, Catalogue, KnownFamily
from dask_mlsched.core.trace import NetworkServed, PolicySwitched, Trace
from dask_mlsched.core.training_message import HAPPENED, Happened
from dask_mlsched.extension import model_serving, online_training, parking
from dask_mlsched.extension.model_events import TOPIC
from ended_runs import over, saved
from fake_chooser import GENERALIST, SPECIALIST, FakeChooser, catalogue, family, network_of_model
from library_process import command, say
from live_scheduler import (
    assert_in_step,
    assert_nothing_parked,
    cluster_test,
    device_cluster,
    installed,
    plugin_of,
    tree,
    tree_total,
    until,
)
from sample_tasks import chunk, inc, total, wait_then
from side_processes import patiently

pytestmark = pytest.mark.integration

BACK = "clearly slower than Dask alone"


@pytest.fixture(autouse=True)
def told_by_the_test(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(online_training, "COMMAND", command(tmp_path / "said"))
    monkeypatch.setattr(model_serving, "CHOOSER", "fake_chooser.FakeChooser")


def learning(folder: Path, **settings: Any) -> dict[str, Any]:
    library = folder / "training" / "library"
    library.mkdir(parents=True, exist_ok=True)
    # With something in it, the process is started at once.
    (library / "aliases.json").touch()
    return {"training": "collect", "training_directory": str(folder / "training"), **settings}


async def tell(plugin: Any, folder: Path, told: Catalogue) -> None:
    """Have the process tell a catalogue, and wait until it is there."""
    say(folder / "said", told.frame())
    models = plugin.training.models
    await patiently(lambda: models.catalogue and models.catalogue.number == told.number)


def choice(plugin: Any) -> Any:
    snapshot = plugin.training.snapshot()
    assert snapshot["problems"] == 0, snapshot["last_problem"]
    return None if snapshot["choice"] is None else snapshot["choice"]["model"]


def network(plugin: Any) -> Any:
    return plugin.controller.chooser.guard.policy.network


def assert_serves(plugin: Any, model: str) -> None:
    assert choice(plugin) == model
    np.testing.assert_array_equal(network(plugin).skip, network_of_model(model).skip)


def runs(trace: Trace) -> int:
    return sum(isinstance(each, ev.Run) for each in trace.instructions())


def sent_back(number: int, name: str = "chunk") -> Catalogue:
    return catalogue(number, family(name, SPECIALIST, BACK))


@cluster_test(timeout=110)
async def test_the_model_of_its_family_decides_a_run(c, s, a, b, tmp_path, caplog):
    caplog.set_level("INFO", "dask_mlsched")
    async with installed(c, s, **learning(tmp_path)) as (handle, plugin):
        assert choice(plugin) is None
        await tell(plugin, tmp_path, catalogue(1, family("chunk", SPECIALIST)))
        result = tree(c, 32)
        assert await result == tree_total(32)
        assert_serves(plugin, SPECIALIST)
        trace = await saved(handle, tmp_path)
        served = [each for each in trace.entries if isinstance(each, NetworkServed)]
        np.testing.assert_array_equal(
            served[-1].served.network.skip, network_of_model(SPECIALIST).skip
        )
        assert not calibrate(trace).stock
        training = (await handle.status())["training"]
        assert training["catalogue"] == {
            "number": 1,
            "champion": GENERALIST,
            # As they come to a client.
            "families": ("chunk",),
            "models": (SPECIALIST, GENERALIST),
        }
        assert training["choice"]["family"] == "chunk"
        assert training["choices"] == {SPECIALIST: 1}
        explained = await handle.explain(result)
        assert explained["decision"]["model"] == SPECIALIST
        del result
        # The next run is of no family.
        await over(plugin)
        await c.gather(c.map(inc, range(30)))
        assert_serves(plugin, GENERALIST)
        events = [msg for _, msg in s.get_events(TOPIC)]
        assert [msg["model"] for msg in events] == [SPECIALIST, GENERALIST]
        assert all(msg["event"] == "chosen" and msg["why"] for msg in events)
    assert f"mlsched: chosen: {SPECIALIST}, family chunk: it was told so" in caplog.text


@cluster_test(timeout=110)
async def test_a_run_that_is_left_to_dask_is_never_parked_and_the_next_one_is(c, s, a, b, tmp_path):
    async with installed(c, s, **learning(tmp_path)) as (handle, plugin):
        await tell(plugin, tmp_path, sent_back(1))
        decided = (await handle.status())["decisions"]
        result = tree(c, 32)
        await until(lambda: choice(plugin) == BASELINE)
        assert_nothing_parked(s)
        status = await handle.status()
        assert not status["managing"]
        assert status["mode"] == "manage"
        assert await result == tree_total(32)
        assert_nothing_parked(s)
        trace = await saved(handle, tmp_path)
        assert runs(trace) == 0
        assert [each for each in trace.entries if isinstance(each, PolicySwitched)] == [
            PolicySwitched("stock")
        ]
        found = calibrate(trace)
        assert found.stock
        assert len(found.taken.sent) >= 60
        status = await handle.status()
        assert status["decisions"] == decided
        assert status["unmanaged"]["baseline"] >= 63
        assert status["training"]["choice"]["family"] == "chunk"
        explained = await handle.explain(result)
        assert explained["left_to_dask"] == "baseline: it was told so"
        del result
        await over(plugin)
        # What is of another family is managed again.
        before = status["unmanaged"]["baseline"]
        await c.gather(c.map(inc, range(30)))
        assert_serves(plugin, GENERALIST)
        trace = await saved(handle, tmp_path)
        assert runs(trace) == 30
        assert not calibrate(trace).stock
        status = await handle.status()
        assert status["managing"]
        assert status["unmanaged"]["baseline"] == before
        # And so is the same family, once it is not sent back any more.
        await over(plugin)
        await tell(plugin, tmp_path, catalogue(2, family("chunk", SPECIALIST)))
        assert await tree(c, 16) == tree_total(16)
        assert_serves(plugin, SPECIALIST)


@cluster_test(timeout=110)
async def test_a_catalogue_in_the_middle_of_a_run_waits_for_the_next(c, s, a, b, tmp_path):
    async with installed(c, s, **learning(tmp_path)) as (_, plugin):
        await tell(plugin, tmp_path, catalogue(1, family("chunk", SPECIALIST)))
        gate = c.submit(wait_then, "go", 0.0, key="gate")
        chunks = c.map(chunk, [10] * 40, range(40), pure=False)
        results = [c.submit(total, each, gate) for each in chunks]
        await until(lambda: plugin.recording.begun > 10)
        assert_serves(plugin, SPECIALIST)
        await tell(plugin, tmp_path, sent_back(2))
        results += [c.submit(total, each, gate) for each in chunks[:5]]
        await asyncio.sleep(0.2)
        assert_serves(plugin, SPECIALIST)
        assert plugin.manages
        await Event("go").set()
        await c.gather(results)
        del chunks, results, gate
        await over(plugin)
        assert await tree(c, 16) == tree_total(16)
        assert choice(plugin) == BASELINE
        assert not plugin.manages


@cluster_test(timeout=110)
async def test_a_run_that_grows_into_another_family_changes_hands(c, s, a, b, tmp_path):
    async with installed(c, s, **learning(tmp_path)) as (handle, plugin):
        await tell(plugin, tmp_path, sent_back(1))
        gate = c.submit(wait_then, "go", 0, key="gate")
        held = [c.submit(inc, gate, pure=False) for _ in range(20)]
        await until(lambda: plugin.recording.begun > 0)
        assert_serves(plugin, GENERALIST)
        await until(lambda: len(s.tasks) == 21)
        parked = [ts for ts in s.tasks.values() if parking.is_ours(ts)]
        assert len(parked) >= 20
        chunks = c.map(chunk, [10] * 40, range(40), pure=False)
        sums = [c.submit(total, x, y) for x, y in pairwise(chunks)]
        await until(lambda: choice(plugin) == BASELINE)
        await until(lambda: not any(parking.is_ours(ts) for ts in s.tasks.values()))
        assert_in_step(plugin)
        await Event("go").set()
        assert await c.gather(sums) == [1250.0 * (2 * i + 1) for i in range(39)]
        assert await c.gather(held) == [1] * 20
        trace = await saved(handle, tmp_path)
        # It was managed when it began.
        assert not calibrate(trace).stock
        assert PolicySwitched("stock") in trace.entries


@cluster_test(timeout=110)
async def test_a_run_that_is_left_to_dask_may_grow_into_one_that_is_managed(c, s, a, b, tmp_path):
    async with installed(c, s, **learning(tmp_path)) as (_, plugin):
        await tell(plugin, tmp_path, catalogue(1, family("chunk", SPECIALIST), unknown=BASELINE))
        gate = c.submit(wait_then, "go", 0, key="gate")
        held = [c.submit(inc, gate, pure=False) for _ in range(20)]
        await until(lambda: len(s.tasks) == 21 and plugin.recording.begun > 0)
        assert choice(plugin) == BASELINE
        assert_nothing_parked(s)
        chunks = c.map(chunk, [10] * 40, range(40), pure=False)
        await until(lambda: choice(plugin) == SPECIALIST)
        # Those that wait are managed as well from now on.
        await until(lambda: all(parking.is_ours(s.tasks[each.key]) for each in held))
        await Event("go").set()
        assert len(await c.gather(chunks)) == 40
        assert await c.gather(held) == [1] * 20
        assert_serves(plugin, SPECIALIST)


@cluster_test(timeout=110)
async def test_persisted_arrays_are_given_in_the_next_run(c, s, a, b, tmp_path):
    async with installed(c, s, **learning(tmp_path)) as (_, plugin):
        await tell(plugin, tmp_path, catalogue(1, family("chunk", SPECIALIST)))
        kept = c.map(chunk, [10] * 24, range(24), pure=False)
        await c.gather(kept)
        assert_serves(plugin, SPECIALIST)
        await over(plugin)
        sums = [c.submit(total, x, y) for x, y in pairwise(kept)]
        await c.gather(sums)
        # Whose family it was does not matter: only what is computed now does.
        assert_serves(plugin, GENERALIST)
        fake = FakeChooser.made[-1]
        given = {key for key, _, _, given in fake.tasks if given}
        assert given == {each.key for each in kept}
        assert {key for key, _, _, given in fake.tasks if not given} == {e.key for e in sums}
        reads = {key: set(keys) for key, _, keys, _ in fake.tasks}
        assert reads[sums[0].key] == {kept[0].key, kept[1].key}


@cluster_test(timeout=110)
async def test_modes_and_policies_are_switched_around_a_choice(c, s, a, b, tmp_path):
    async with installed(c, s, **learning(tmp_path)) as (handle, plugin):
        await tell(plugin, tmp_path, sent_back(1))
        assert await tree(c, 16) == tree_total(16)
        assert choice(plugin) == BASELINE
        gate = c.submit(wait_then, "go", 0.0, key="gate")
        held = [c.submit(total, each, gate) for each in c.map(chunk, [10] * 24, range(24))]
        await until(lambda: len(s.tasks) >= 49)
        assert not plugin.manages
        # A policy of another kind is not chosen for; it manages what is there.
        await handle.set_policy("greedy")
        assert (plugin.manages, choice(plugin)) == (True, None)
        assert_in_step(plugin)
        await handle.set_policy("specialised")
        # If all chunks are there by now, what is left to be computed are sums.
        assert choice(plugin) in (BASELINE, GENERALIST)
        assert plugin.manages == (choice(plugin) != BASELINE)
        await handle.set_policy("learned")
        await handle.set_mode("observe")
        assert choice(plugin) is None
        await handle.set_mode("manage")
        # The chunks are there by now: what is left to be computed are sums.
        assert choice(plugin) in (BASELINE, GENERALIST)
        await handle.set_mode("off")
        more = c.map(chunk, [10] * 24, range(100, 124), pure=False, workers=[a.address])
        await handle.set_mode("manage")
        assert_in_step(plugin)
        plugin._resync()
        await asyncio.sleep(0)
        assert_in_step(plugin)
        await Event("go").set()
        await c.gather(held)
        await c.gather(more)


@cluster_test(timeout=110)
async def test_what_is_in_force_outlasts_a_picture_built_anew_but_not_a_restart(
    c, s, a, b, tmp_path
):
    async with installed(c, s, **learning(tmp_path)) as (_, plugin):
        await tell(plugin, tmp_path, catalogue(1, family("chunk", SPECIALIST)))
        gate = c.submit(wait_then, "go", 0.0, key="gate")
        held = [c.submit(total, x, gate) for x in c.map(chunk, [10] * 24, range(24))]
        await until(lambda: choice(plugin) == SPECIALIST and plugin.recording.begun)
        fake = FakeChooser.made[-1]
        chosen, began = plugin.training.models.choices.total(), fake.runs
        plugin._resync()
        assert_serves(plugin, SPECIALIST)
        assert plugin.training.models.choices.total() == chosen
        assert fake.runs == began
        await tell(plugin, tmp_path, sent_back(2))
        plugin._resync()
        assert_serves(plugin, SPECIALIST)
        plugin.restart(s)
        assert fake.runs == began + 1
        await Event("go").set()
        await c.gather(held)


@cluster_test(timeout=110)
async def test_a_picture_built_anew_in_a_run_that_is_left_to_dask_leaves_it_there(
    c, s, a, b, tmp_path
):
    async with installed(c, s, **learning(tmp_path)) as (handle, plugin):
        await tell(plugin, tmp_path, sent_back(1))
        gate = c.submit(wait_then, "go", 0.0, key="gate")
        held = [c.submit(total, x, gate) for x in c.map(chunk, [10] * 24, range(24))]
        await until(lambda: choice(plugin) == BASELINE and plugin.recording.begun)
        plugin._resync()
        assert not plugin.manages
        assert_nothing_parked(s)
        assert_in_step(plugin)
        await Event("go").set()
        await c.gather(held)
        assert calibrate(await saved(handle, tmp_path)).stock


@cluster_test(timeout=110)
async def test_a_plugin_that_takes_over_begins_without_a_choice(c, s, a, b, tmp_path):
    async with installed(c, s, **learning(tmp_path)) as (_, first):
        await tell(first, tmp_path, sent_back(1))
        gate = c.submit(wait_then, "go", 0.0, key="gate")
        held = [c.submit(total, x, gate) for x in c.map(chunk, [10] * 24, range(24))]
        await until(lambda: choice(first) == BASELINE)
        async with installed(c, s, **learning(tmp_path)) as (_, second):
            assert second is not first
            await until(lambda: second.manages)
            assert first.controller is None
            await Event("go").set()
            await c.gather(held)


@cluster_test(timeout=110)
async def test_a_model_whose_policy_fails_is_not_asked_in_the_next_run(
    c, s, a, b, tmp_path, monkeypatch
):
    async with installed(c, s, **learning(tmp_path, failures=1)) as (handle, plugin):
        await tell(plugin, tmp_path, catalogue(1, family("chunk", SPECIALIST)))
        policy = type(plugin.controller.chooser.guard.policy)
        with monkeypatch.context() as broken:
            broken.setattr(policy, "propose", lambda *_: 1 / 0)
            assert await tree(c, 32) == tree_total(32)
            assert plugin.controller.chooser.guard.off
            await over(plugin)
        await until(lambda: plugin.training.snapshot()["runs"]["spooled"] == 1)
        # Of the same family: Dask alone decides it.
        assert await tree(c, 32) == tree_total(32)
        assert choice(plugin) == BASELINE
        assert not plugin.manages
        training = (await handle.status())["training"]
        assert training["switched_off"] == (SPECIALIST,)
        assert "failed so often" in training["choice"]["why"]
        await over(plugin)
        await c.gather(c.map(inc, range(30)))
        assert_serves(plugin, GENERALIST)
        assert plugin.manages


@cluster_test(timeout=110)
async def test_a_policy_that_fails_without_any_choice_stays_off(c, s, a, b, tmp_path, monkeypatch):
    async with installed(c, s, **learning(tmp_path, failures=1)) as (_, plugin):
        policy = type(plugin.controller.chooser.guard.policy)
        monkeypatch.setattr(policy, "propose", lambda *_: 1 / 0)
        assert await tree(c, 32) == tree_total(32)
        controller = plugin.controller
        await asyncio.sleep(1.0)
        assert plugin.controller is controller
        assert controller.chooser.guard.off


@cluster_test(timeout=110)
async def test_what_is_specialised_begins_at_the_model_that_was_chosen(c, s, a, b, tmp_path):
    settings = learning(tmp_path, policy="specialised", least_seconds=0.2)
    async with installed(c, s, **settings) as (_, plugin):
        await tell(
            plugin,
            tmp_path,
            catalogue(1, family("chunk", SPECIALIST), family("inc", SPECIALIST, BACK)),
        )
        await patiently(lambda: plugin.specialising.snapshot()["ready"])
        asked: list[Any] = []
        ask = plugin.specialising._process.ask
        plugin.specialising._process.ask = lambda frame: (asked.append(frame), ask(frame))
        # What is left to Dask is not asked about.
        gate = c.submit(wait_then, "first", 0, key="gate")
        results = [c.submit(inc, gate, pure=False) for _ in range(40)]
        await until(lambda: choice(plugin) == BASELINE)
        await asyncio.sleep(0.5)
        assert not asked
        await Event("first").set()
        await c.gather(results)
        del results, gate
        await over(plugin)
        chunks = c.map(chunk, [10] * 40, range(40), pure=False)
        gate = c.submit(wait_then, "go", 0.0, key="gate2")
        sums = [c.submit(total, x, y, gate) for x in chunks[:4] for y in chunks]
        await until(lambda: asked)
        assert choice(plugin) == SPECIALIST
        expected = network_of_model(SPECIALIST).skip
        np.testing.assert_array_equal(plugin.specialising._generalist.skip, expected)
        np.testing.assert_array_equal(asked[0].arrays["start_skip"], expected)
        await Event("go").set()
        await c.gather(sums)


@cluster_test(timeout=110)
async def test_the_chooser_that_ships_knows_a_graph_again_at_another_size(
    c, s, a, b, tmp_path, monkeypatch
):
    pytest.importorskip("dask_mlsched.learning.fingerprint")
    monkeypatch.undo()  # the real chooser, and no process that could be asked
    monkeypatch.setattr(online_training, "COMMAND", command(tmp_path / "said"))
    async with installed(c, s, **learning(tmp_path)) as (_, plugin):
        assert plugin.training.problems.count == 0, plugin.training.problems.last
        await tell(plugin, tmp_path, catalogue(1))
        assert await product(c, 6) == product_total(6)
        assert_serves(plugin, GENERALIST)
        found = plugin.training.models._chooser.fingerprint
        arms = (Belief(SPECIALIST, 0.5, 0.0, 5),)
        known = KnownFamily("product", found.to_json(), arms)
        await over(plugin)
        await tell(plugin, tmp_path, catalogue(2, known))
        assert await product(c, 8) == product_total(8)
        assert_serves(plugin, SPECIALIST)
        assert plugin.training.models.choice.family == "product"
        await over(plugin)
        await tell(plugin, tmp_path, catalogue(3, replace(known, sent_back=BACK)))
        assert await product(c, 7) == product_total(7)
        assert choice(plugin) == BASELINE
        assert BACK in plugin.training.models.choice.why


def product(c: Any, size: int) -> Any:
    rows = {f"row-{i}": (chunk, 10, i) for i in range(size)}
    columns = {f"column-{i}": (chunk, 10, i) for i in range(size)}
    blocks = {
        f"block-{i}-{j}": (total, f"row-{i}", f"column-{j}")
        for i in range(size)
        for j in range(size)
    }
    # All of it as one graph.
    return c.get({**rows, **columns, **blocks, "all-0": (total, *blocks)}, "all-0", sync=False)


def product_total(size: int) -> float:
    return 1250.0 * size * size * (size - 1)


# What goes wrong


@cluster_test(timeout=110)
async def test_frames_that_cannot_be_used_are_counted_and_the_catalogue_stays(c, s, a, b, tmp_path):
    async with installed(c, s, **learning(tmp_path)) as (handle, plugin):
        good = catalogue(1, family("chunk", SPECIALIST))
        await tell(plugin, tmp_path, good)
        wrong = {key: value for key, value in good.frame().fields.items() if key != "unknown"}
        say(
            tmp_path / "said",
            Frame(CATALOGUE, wrong, good.frame().arrays),
            Frame(CATALOGUE, good.frame().fields),
            Frame(HAPPENED, {"event": "created"}),
            Happened("created", "better", SPECIALIST, "chunk", {"overall": 0.9}).frame(),
        )
        await patiently(lambda: plugin.training.snapshot()["last_event"])
        training = (await handle.status())["training"]
        assert training["problems"] == 3
        assert "an answer of the training's process: field 'reason'" in training["last_problem"]
        assert training["catalogue"]["number"] == 1
        assert training["events"] == {"created": 1}
        assert training["last_event"]["model"] == SPECIALIST
        assert [msg["event"] for _, msg in s.get_events(TOPIC)] == ["created"]
        # Bytes that are no frame end the process; the next one says it all again.
        say(tmp_path / "said", b"nonsense, and a lot of it", encode(good.frame()))
        await patiently(lambda: plugin.training.snapshot()["restarts"] == online_training.RESTARTS)
        assert await tree(c, 32) == tree_total(32)
        assert plugin.training.models.choice.model == SPECIALIST


@cluster_test(timeout=110)
async def test_a_chooser_that_cannot_be_made_is_a_problem(c, s, a, b, tmp_path, monkeypatch):
    monkeypatch.setattr(model_serving, "CHOOSER", "dask_mlsched.nowhere.Chooser")
    async with installed(c, s, **learning(tmp_path)) as (_, plugin):
        assert "models cannot be chosen: ModuleNotFound" in plugin.training.problems.last
        await tell(plugin, tmp_path, sent_back(1))
        assert await tree(c, 32) == tree_total(32)
        assert plugin.training.models.choice is None
        assert plugin.manages


# As users have it


def test_dask_alone_comes_to_the_same_as_a_model_on_a_cluster_of_processes(tmp_path):
    from distributed import Client

    import dask_mlsched

    with device_cluster(2) as cluster, Client(cluster) as client:
        handle = dask_mlsched.install(client, **learning(tmp_path))
        plugin = plugin_of(cluster.scheduler)
        for number, told, model in (
            (1, sent_back(1), BASELINE),
            (2, catalogue(2, family("chunk", SPECIALIST)), SPECIALIST),
        ):
            say(tmp_path / "said", told.frame())
            client.sync(wait_for, plugin, lambda n=number: taken_in(plugin, n))
            assert tree(client, 32).result() == tree_total(32)
            training = handle.status()["training"]
            assert training["choice"]["model"] == model
            client.sync(wait_for, plugin, lambda: plugin.recording.begun == 0)
        assert handle.status()["training"]["choices"] == {BASELINE: 1, SPECIALIST: 1}
        events = [msg["model"] for _, msg in client.get_events(TOPIC)]
        assert events == [BASELINE, SPECIALIST]
        handle.uninstall()


def taken_in(plugin: Any, number: int) -> bool:
    found = plugin.training.models.catalogue
    return found is not None and found.number == number


async def wait_for(_: Any, condition: Any) -> None:
    await patiently(condition)
