"""Learning on a live scheduler: runs are told apart, kept and learned from, whatever dies."""

from __future__ import annotations

import asyncio
import dataclasses
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from distributed import Event

import dask_mlsched
from dask_mlsched.config import ConfigError
from dask_mlsched.core import events as ev
from dask_mlsched.core.calibration import calibrate
from dask_mlsched.core.controller import Controller
from dask_mlsched.core.taken import taken
from dask_mlsched.core.trace import Trace
from dask_mlsched.core.trace_codec import decode
from dask_mlsched.core.training_message import RUN_SUFFIX, RUNS
from dask_mlsched.extension import episodes, online_training
from dask_mlsched.extension.episodes import LEAST_TASKS
from dask_mlsched.extension.online_training import OnlineTraining
from dask_mlsched.extension.recording import Ended
from dask_mlsched.extension.spool import Spool
from ended_runs import over, saved
from learning_process import command
from live_scheduler import (
    cluster_test,
    device_cluster,
    installed,
    plugins_of,
    tree,
    tree_total,
    until,
)
from sample_tasks import added, chunk, inc, total, wait_then
from side_processes import alive, patiently

pytestmark = pytest.mark.integration


@pytest.fixture(autouse=True)
def few_instances(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(online_training, "COMMAND", command("bad"))


def learning(folder: Path, mode: str = "background", **settings: Any) -> dict[str, Any]:
    return {
        "training": mode,
        "training_directory": str(folder),
        "training_capacity": 500,
        "training_update_after": 10,
        "training_seconds": "5s",
        **settings,
    }


def told(plugin: Any) -> dict[str, Any]:
    assert plugin.training is not None
    snapshot: dict[str, Any] = plugin.training.snapshot()
    return snapshot


def began(trace: Trace) -> int:
    return sum(isinstance(event, ev.TaskStarted) for event in trace.events())


def spooled(folder: Path) -> list[Path]:
    # Not what somebody was writing when he was killed.
    return sorted((folder / RUNS).glob(f"*{RUN_SUFFIX}"))


# Runs


@cluster_test(timeout=110)
async def test_a_run_that_is_over_is_collected_and_tried(c, s, a, b, tmp_path):
    async with installed(c, s, **learning(tmp_path)) as (handle, plugin):
        assert await tree(c, 32) == tree_total(32)
        before = (await handle.status())["decisions"]
        await over(plugin)
        await patiently(lambda: told(plugin)["events"].get("refused"))
        status = await handle.status()
        # What was counted goes on counting.
        assert status["decisions"] == before >= 64
        training = status["training"]
        assert training["runs"] == {"spooled": 1, "collected": 1, "rejected": 0, "dropped": 0}
        assert training["decisions"] > 10
        assert (training["mode"], training["directory"]) == ("background", str(tmp_path))
        assert training["last_event"]["event"] == "refused"
        assert training["problems"] == 0, training["last_problem"]
        pid = plugin.training.pid
    assert not alive(pid)
    assert spooled(tmp_path) == []


@cluster_test(timeout=110)
async def test_each_run_has_a_trace_of_its_own_and_the_last_one_is_saved(c, s, a, b, tmp_path):
    async with installed(c, s, **learning(tmp_path / "t", "collect")) as (handle, plugin):
        assert await tree(c, 32) == tree_total(32)
        first = began(await saved(handle, tmp_path))
        await over(plugin)
        # Nothing runs: it is the one that is over.
        assert began(await saved(handle, tmp_path)) == first >= 64
        assert await tree(c, 16) == tree_total(16)
        assert began(await saved(handle, tmp_path)) < first
        await over(plugin)
        await patiently(lambda: told(plugin)["runs"]["collected"] == 2)
        assert not {"created", "refused"} & set(told(plugin)["events"])


@cluster_test(timeout=110)
async def test_what_stays_resident_is_given_in_the_next_run(c, s, a, b, tmp_path):
    async with installed(c, s, **learning(tmp_path / "t", "collect")) as (handle, plugin):
        kept = c.map(chunk, [10] * 16, range(16), pure=False)
        kept = [c.submit(added, x, y) for x, y in zip(kept, reversed(kept), strict=True)]
        await c.gather(kept)
        await over(plugin)
        pairs = [c.submit(total, x, y) for x in kept[:6] for y in kept[6:]]
        await c.gather(pairs)
        await asyncio.sleep(0.1)
        trace = await saved(handle, tmp_path)
        dag = taken(trace).dag
        given = {key for key, given in zip(dag.keys, dag.given.tolist(), strict=True) if given}
        assert {each.key for each in kept} <= given
        assert not given & {each.key for each in pairs}
        # They have to be loaded before they are read, and nobody computes them again.
        assert calibrate(trace).machine.limit == 100_000
        await over(plugin)
        await patiently(lambda: told(plugin)["runs"]["collected"] == 2)
        assert told(plugin)["last_rejection"] is None


@cluster_test()
async def test_a_run_of_few_tasks_is_not_learned_from_nor_part_of_the_next(c, s, a, b, tmp_path):
    async with installed(c, s, **learning(tmp_path / "t")) as (handle, plugin):
        await c.gather(c.map(inc, range(LEAST_TASKS - 1)))
        await over(plugin)
        assert told(plugin)["runs"]["spooled"] == 0
        assert plugin.training.pid is None
        await c.gather(c.map(inc, range(100, 100 + LEAST_TASKS)))
        assert began(await saved(handle, tmp_path)) == LEAST_TASKS
        await over(plugin)
        await until(lambda: told(plugin)["runs"]["spooled"] == 1)


@cluster_test([2, 2])
async def test_a_run_goes_on_while_anything_is_under_way(c, s, a, b, tmp_path):
    async with installed(c, s, **learning(tmp_path)) as (_, plugin):
        gate = c.submit(wait_then, "go", key="gate")
        await c.gather(c.map(inc, range(LEAST_TASKS)))
        controller = plugin.controller
        await asyncio.sleep(2 * episodes.QUIET)
        assert plugin.controller is controller
        await Event("go").set()
        await gate
        await over(plugin)
        assert plugin.controller is not controller


@cluster_test()
async def test_with_too_much_left_behind_the_run_goes_on(c, s, a, b, tmp_path, monkeypatch):
    monkeypatch.setattr("dask_mlsched.extension.management.MOST_LEFT", 10)
    async with installed(c, s, **learning(tmp_path)) as (_, plugin):
        kept = c.map(inc, range(LEAST_TASKS))
        await c.gather(kept)
        controller = plugin.controller
        await asyncio.sleep(2 * episodes.QUIET)
        assert plugin.controller is controller
        del kept
        await over(plugin)


@cluster_test(timeout=110)
async def test_runs_that_are_only_observed_are_collected_too(c, s, a, b, tmp_path):
    async with installed(c, s, mode="observe", **learning(tmp_path, "collect")) as (_, plugin):
        assert await tree(c, 32) == tree_total(32)
        await over(plugin)
        await patiently(lambda: told(plugin)["runs"]["collected"] == 1)


@cluster_test(timeout=110)
async def test_switching_the_mode_ends_a_run(c, s, a, b, tmp_path):
    async with installed(c, s, **learning(tmp_path, "collect")) as (handle, plugin):
        for mode in ("observe", "off", "manage"):
            assert await tree(c, 16) == tree_total(16)
            await handle.set_mode(mode)
        assert await tree(c, 16) == tree_total(16)
        # In the mode off, nothing is seen.
        await until(lambda: told(plugin)["runs"]["spooled"] == 2)
        await over(plugin)
        await until(lambda: told(plugin)["runs"]["spooled"] == 3)
        await patiently(lambda: told(plugin)["runs"]["collected"] == 3)


@cluster_test()
async def test_traces_that_are_asked_for_besides_are_written_as_well(c, s, a, b, tmp_path):
    settings = learning(tmp_path / "training", trace_directory=str(tmp_path / "traces"))
    async with installed(c, s, **settings) as (handle, plugin):
        assert await tree(c, 16) == tree_total(16)
        await over(plugin)
        await until(lambda: told(plugin)["runs"]["spooled"] == 1)
        first = min((tmp_path / "traces").iterdir())
        assert began(decode(first.read_bytes())) >= 32
        assert began(await saved(handle, tmp_path)) >= 32


# What goes wrong


@cluster_test(timeout=110)
async def test_a_process_that_is_killed_is_followed_by_one_that_goes_on(c, s, a, b, tmp_path):
    async with installed(c, s, **learning(tmp_path)) as (_, plugin):
        assert await tree(c, 32) == tree_total(32)
        await patiently(lambda: told(plugin)["runs"]["collected"] == 1)
        first = plugin.training.pid
        os.kill(first, signal.SIGKILL)
        await patiently(lambda: told(plugin)["restarts"] == 1)
        assert await tree(c, 16) == tree_total(16)
        await patiently(lambda: told(plugin)["runs"]["collected"] == 2)
        assert told(plugin)["problems"] == 1
        assert told(plugin)["last_problem"] == "the training's process: it ended with status -9"
        assert plugin.training.pid != first


@cluster_test()
async def test_a_process_that_always_ends_is_started_a_few_times(
    c, s, a, b, tmp_path, monkeypatch, caplog
):
    monkeypatch.setattr(online_training, "COMMAND", (sys.executable, "-c", ""))
    async with installed(c, s, **learning(tmp_path)) as (_, plugin):
        assert await tree(c, 16) == tree_total(16)
        await until(lambda: told(plugin)["problems"] == 1 + online_training.RESTARTS)
        await asyncio.sleep(0.2)
        assert not told(plugin)["running"]
        assert told(plugin)["restarts"] == online_training.RESTARTS
        assert await tree(c, 16) == tree_total(16)
    # The runs wait for a better one.
    assert len(spooled(tmp_path)) == 2
    assert caplog.text.count("the training's process: it ended with status 0") == 1


@cluster_test()
async def test_a_process_that_cannot_be_started_is_a_problem(c, s, a, b, tmp_path, monkeypatch):
    monkeypatch.setattr(online_training, "COMMAND", (str(tmp_path / "nothing"),))
    async with installed(c, s, **learning(tmp_path)) as (_, plugin):
        assert await tree(c, 16) == tree_total(16)
        await until(lambda: told(plugin)["problems"])
        assert "cannot be started" in told(plugin)["last_problem"]


@cluster_test(timeout=110)
async def test_the_last_run_waits_for_the_next_scheduler(c, s, a, b, tmp_path):
    async with installed(c, s, **learning(tmp_path)) as (_, plugin):
        assert await tree(c, 32) == tree_total(32)
    assert len(spooled(tmp_path)) == 1
    assert told(plugin)["runs"]["spooled"] == 1
    async with installed(c, s, **learning(tmp_path)) as (_, plugin):
        await patiently(lambda: told(plugin)["runs"]["collected"] == 1)
    assert spooled(tmp_path) == []


@cluster_test()
async def test_a_folder_that_cannot_be_written_is_told_of_once_and_runs_go_on(
    c, s, a, b, tmp_path, caplog
):
    (tmp_path / "file").touch()
    async with installed(c, s, **learning(tmp_path / "file")) as (_, plugin):
        for number in (1, 2):
            assert await tree(c, 16) == tree_total(16)
            await until(lambda number=number: told(plugin)["problems"] == number)
        assert "cannot be written to the folder of the training" in told(plugin)["last_problem"]
        assert told(plugin)["runs"]["spooled"] == 0
    assert caplog.text.count("cannot be written to the folder") == 1


@cluster_test()
async def test_a_folder_is_asked_for_before_anything_is_installed(c, s, a, b):
    with pytest.raises(ConfigError, match=r"mlsched.training.directory is None; expected a dir"):
        await dask_mlsched.install(c, training="background")
    assert plugins_of(s) == []
    assert not any(worker.plugins.get("mlsched-worker") for worker in (a, b))


@cluster_test(timeout=110)
async def test_the_event_loop_does_not_wait(c, s, a, b, tmp_path, monkeypatch):
    begun, may_end = threading.Event(), threading.Event()
    threads: list[int] = []
    add, take = Spool.add, OnlineTraining.take

    def held(spool: Spool, run: bytes) -> int:
        threads.append(threading.get_ident())
        begun.set()
        assert may_end.wait(60)
        return add(spool, run)

    def watched(training: OnlineTraining, ended: Ended, *, at_once: bool) -> None:
        def read() -> bytes:
            threads.append(threading.get_ident())
            return ended.read()

        take(training, dataclasses.replace(ended, read=read), at_once=at_once)

    monkeypatch.setattr(Spool, "add", held)
    monkeypatch.setattr(OnlineTraining, "take", watched)
    async with installed(c, s, **learning(tmp_path)) as (_, plugin):
        kept = c.map(inc, range(2 * LEAST_TASKS), pure=False)
        await c.gather(kept)
        assert plugin.recording.begun
        await until(begun.is_set)
        # While it is written, the loop serves: this goes through it several times.
        assert await c.submit(inc, 1, pure=False) == 2
        assert told(plugin)["runs"]["spooled"] == 0
        may_end.set()
        await until(lambda: told(plugin)["runs"]["spooled"])
    # One trace was read, and one file written.
    assert len(threads) == 2
    assert threading.get_ident() not in threads


@cluster_test([1])
async def test_where_it_is_off_nothing_is_recorded_and_there_is_no_process(c, s, a):
    async with installed(c, s) as (handle, plugin):
        assert plugin.training is None
        assert type(plugin.controller) is Controller
        assert (await handle.status())["training"] is None


def test_neither_the_plugin_nor_what_it_needs_to_have_runs_learned_from_imports_torch():
    code = (
        "import sys, dask_mlsched.extension.scheduler_plugin as plugin\n"
        "assert 'dask_mlsched.extension.online_training' not in sys.modules\n"
        "import dask_mlsched.extension.online_training\n"
        "costly = ('torch', 'dask_mlsched.learning')\n"
        "found = [name for name in sys.modules if name.startswith(costly)]\n"
        "assert not found, found"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


SCRIPT = """
import sys
import threading
import time
import dask_mlsched
from distributed import Client
from dask_mlsched.extension import online_training
from live_scheduler import device_cluster, tree

if __name__ == "__main__":
    # One that takes no run away, and ends with the scheduler.
    online_training.COMMAND = (sys.executable, "-c", "import sys; sys.stdin.read()")
    with device_cluster(1, processes=False) as cluster, Client(cluster) as client:
        dask_mlsched.install(client, training="background", training_directory=sys.argv[1])
        for _ in range(10**6):
            tree(client, 32).result()
            time.sleep(1.0)
"""


@cluster_test(timeout=110)
async def test_what_a_scheduler_that_is_killed_leaves_is_learned_from(c, s, a, b, tmp_path):
    script, folder = tmp_path / "script.py", tmp_path / "training"
    script.write_text(SCRIPT)
    path = os.pathsep.join([str(Path(__file__).parent.parent), *sys.path])
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(script), str(folder), env={**os.environ, "PYTHONPATH": path}
    )
    await patiently(lambda: spooled(folder))
    process.send_signal(signal.SIGKILL)
    await process.wait()
    left = len(spooled(folder))
    async with installed(c, s, **learning(folder)) as (_, plugin):
        await patiently(lambda: told(plugin)["runs"]["collected"] == left)
        assert told(plugin)["last_rejection"] is None


# As users have it


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_program_that_is_run_again_and_again_is_learned_from(tmp_path, monkeypatch):
    monkeypatch.undo()  # the real process
    real = (sys.executable, "-m", "dask_mlsched.benchmarks.online_trainer")
    assert real == online_training.COMMAND
    from distributed import Client

    device = device_cluster(1, device_memory_limit="2MB", bandwidth="20MB/s")
    with device as cluster, Client(cluster) as client:
        settings = learning(tmp_path, training_update_after=20, training_seconds="3s")
        handle = dask_mlsched.install(client, **settings)
        deadline = time.monotonic() + 240
        training: dict[str, Any] = {}
        while not {"created", "refused"} & set(training.get("events", ())):
            assert time.monotonic() < deadline, training
            if training.get("decisions", 0) < 20:
                rows = client.map(chunk, [100] * 8, range(8), pure=False)
                columns = client.map(chunk, [100] * 8, range(8), pure=False)
                sums = [client.submit(total, x, y) for x in rows for y in columns]
                client.gather(sums)
                del rows, columns, sums
            time.sleep(1.0)
            training = handle.status()["training"]
        handle.uninstall()
    assert training["runs"]["collected"] >= 1
    assert training["last_event"]["reason"]
    assert training["problems"] == 0, training["last_problem"]
