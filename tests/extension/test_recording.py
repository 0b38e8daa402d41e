"""Traces of real clusters: to memory and to files, through accidents, and never in the way."""

from __future__ import annotations

import asyncio
import errno
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from distributed import Client, Event, Worker

import dask_mlsched
from dask_mlsched.config import Config
from dask_mlsched.core import events as ev
from dask_mlsched.core.chooser import Settings
from dask_mlsched.core.policies import GreedyHold
from dask_mlsched.core.replay import verify
from dask_mlsched.core.trace import Trace
from dask_mlsched.core.trace_codec import decode
from dask_mlsched.extension.emulated_host_file import EmulatedHostFile
from dask_mlsched.extension.policy_source import load_policy
from dask_mlsched.extension.recording import NotRecordedError, Recording
from dask_mlsched.extension.trace_files import FileStore
from live_scheduler import (
    DEVICE,
    cluster_test,
    device_cluster,
    installed,
    plugin_of,
    tree,
    tree_total,
    until,
)
from sample_tasks import chunk, inc, total, wait_then

pytestmark = pytest.mark.integration


def read(path: Path) -> Trace:
    return decode(path.read_bytes())


def only(folder: Path) -> Path:
    (path,) = folder.iterdir()
    return path


async def saved(handle: Any, folder: Path) -> Trace:
    """Save the trace, and see that a replay of it says the same."""
    path = await handle.save_trace(folder / "saved")
    trace = read(path)
    assert trace.complete
    verify(trace, load_policy)
    return trace


# What a trace has


@cluster_test()
async def test_a_run_is_recorded_to_memory_and_replayed_exactly(c, s, a, b, tmp_path):
    async with installed(c, s, trace="memory", seed=5) as (handle, plugin):
        assert await tree(c, 64) == tree_total(64)
        trace = await saved(handle, tmp_path)
        assert (trace.header.policy, trace.header.mode) == ("learned", "manage")
        assert trace.header.settings == plugin.controller.settings
        assert trace.header.settings.seed == 5
        assert abs(trace.header.started - time.time()) < 100
        runs = [each for each in trace.instructions() if isinstance(each, ev.Run)]
        assert len(runs) == 2 * 64
        asked = [run for run in runs if run.reason == "policy"]
        held = [each for each in trace.instructions() if isinstance(each, ev.Hold)]
        chosen = list(trace.decisions())
        assert len(chosen) >= len(asked) + len(held) > 0
        assert all(decision.seconds > 0 for decision in chosen)


@cluster_test([1], config={"distributed.scheduler.worker-saturation": 1.1})
async def test_single_copies_are_those_that_the_worker_made(c, s, a, tmp_path):
    async with installed(c, s, trace="memory", policy="random") as (handle, _):
        chunks = c.map(chunk, [10] * 30, range(30))
        sums = [c.submit(total, x, y) for x, y in zip(chunks, reversed(chunks), strict=True)]
        await c.gather(sums)
        history = a.plugins["mlsched-worker"].history
        await until(lambda: plugin_of(s).reports.totals[a.address]["loads"] > 0)
        await asyncio.sleep(0.05)
        trace = await saved(handle, tmp_path)
        copies = list(trace.copies())
        assert len(copies) > 10
        made = [(m.direction == "load", m.nbytes, m.seconds) for m in history]
        assert [(c.loaded, c.nbytes, c.seconds) for c in copies] == made


@cluster_test([1, 1])
async def test_fetches_are_those_that_the_workers_made(c, s, a, b, tmp_path):
    async with installed(c, s, trace="memory") as (handle, plugin):
        left = c.map(chunk, [10] * 8, range(8), workers=[a.address])
        right = c.map(chunk, [10] * 8, range(8, 16), workers=[b.address])
        sums = [c.submit(total, x, y) for x, y in zip(left, right, strict=True)]
        await c.gather(sums)
        logs = {each.address: list(each.transfer_incoming_log) for each in (a, b)}
        number = plugin.translator.workers.get

        def reported() -> int:
            return sum(
                len(event.fetches)
                for event in decode(plugin.recording.fetch()).events()
                if isinstance(event, ev.ArraysMoved)
            )

        await until(lambda: reported() >= sum(map(len, logs.values())))
        made = {
            (number(address), number(entry["who"]), entry["stop"] - entry["start"], entry["total"])
            for address, log in logs.items()
            for entry in log
        }
        known = {plugin.translator.tasks.get(each.key) for each in (*left, *right)}
        fetches = list((await saved(handle, tmp_path)).fetches())
    assert {(f.worker, f.source, f.seconds, f.nbytes) for f in fetches} == made
    arrays = [array for fetch in fetches for array, _ in fetch.arrays]
    # One side of each sum came from the other worker.
    assert len(arrays) == len(sums)
    assert set(arrays) <= known


@cluster_test()
async def test_the_graph_of_a_run_has_its_keys_sizes_and_times(c, s, a, b, tmp_path):
    async with installed(c, s, trace="memory") as (handle, _):
        data = await c.scatter([1, 2], workers=[a.address])
        leaves = c.map(chunk, [2, 4], range(2), key=["small", "large"])
        top = c.submit(total, *leaves, key=("top", 1))
        both = c.submit(lambda *each: each, top, *data, key="both")
        await both
        never = c.submit(wait_then, "never", key="never")
        dag = (await saved(handle, tmp_path)).dag("mine")
        number = {key: place for place, key in enumerate(dag.keys)}
        assert set(number) == {"small", "large", "('top', 1)", "both", *(d.key for d in data)}
        top_number = number["('top', 1)"]
        assert {dag.keys[i] for i in dag.dependencies(top_number)} == {"small", "large"}
        assert dag.nbytes[number["large"]] == 4000
        assert dag.nbytes[number["small"]] == 2000
        assert [bool(dag.given[number[d.key]]) for d in data] == [True, True]
        # The client holds both: their arrays are there although all that reads them has run.
        assert dag.wanted[number["both"]]
        assert dag.wanted[top_number]
        await Event("never").set()
        await never


@cluster_test()
async def test_policies_that_are_switched_fail_or_dawdle_are_replayed(c, s, a, b, tmp_path):
    settings = {"trace": "memory", "time_budget": "1ms", "failures": 4}
    async with installed(c, s, **settings) as (handle, _):
        hostile = ("hostile_policies.Raises", "hostile_policies.Dawdles")
        for policy in ("random", hostile[0], "dmdar", "fifo", hostile[1]):
            await handle.set_policy(policy)
            assert await tree(c, 32) == tree_total(32)
        trace = await saved(handle, tmp_path)
        said = {str(decision.failure) for decision in trace.decisions()}
        assert any("raised RuntimeError: meant to fail" in each for each in said)
        assert any("it may take 0.001 s" in each for each in said)


@cluster_test([1, 1, 1])
async def test_a_run_with_a_worker_lost_and_another_joined_is_replayed(c, s, a, b, d, tmp_path):
    async with installed(c, s, trace="memory") as (handle, plugin):
        result = tree(c, 64)
        await until(lambda: plugin.controller.chooser.reasons.total() > 20)
        await a.close()
        async with Worker(s.address, data=(EmulatedHostFile, DEVICE)):
            assert await result == tree_total(64)
            trace = await saved(handle, tmp_path)
        kinds = {type(event) for event in trace.events()}
        assert {ev.WorkerLeft, ev.TaskStopped, ev.WorkerJoined} <= kinds


@cluster_test()
async def test_a_trace_begins_anew_where_the_picture_does(c, s, a, b, tmp_path):
    async with installed(c, s, trace="memory") as (handle, plugin):
        kept = c.map(inc, range(10))
        await c.gather(kept)
        plugin._resync()
        await c.submit(sum, kept)
        trace = await saved(handle, tmp_path)
        appeared = [e for e in trace.events() if isinstance(e, ev.ArrayAppeared)]
        assert len(appeared) == 10
        assert sum(isinstance(e, ev.TaskFinished) for e in trace.events()) == 1


@cluster_test()
async def test_a_run_that_is_only_observed_is_recorded_as_well(c, s, a, b, tmp_path):
    async with installed(c, s, trace="memory", mode="observe") as (handle, _):
        assert await tree(c, 16) == tree_total(16)
        trace = await saved(handle, tmp_path)
        assert trace.header.mode == "observe"
        assert trace.instructions() == []
        assert len(trace.dag()) == 32


# Getting it


def test_an_ordinary_client_saves_a_trace_of_processes(tmp_path):
    with device_cluster(2) as cluster, Client(cluster) as client:
        handle = dask_mlsched.install(client, trace="memory")
        assert tree(client, 24).result() == tree_total(24)
        path = handle.save_trace(str(tmp_path / "run"))
        assert path == tmp_path / "run"
        trace = read(path)
        assert trace.complete
        verify(trace, load_policy)
        addresses = {name for entry in trace.entries for _, name in getattr(entry, "workers", ())}
        assert addresses == set(handle.status()["workers"])
        with pytest.raises(FileNotFoundError):
            handle.save_trace(tmp_path / "nowhere" / "run")
        handle.uninstall()


@cluster_test()
async def test_a_run_that_was_not_recorded_says_so_with_the_cure(c, s, a, b, tmp_path):
    async with installed(c, s) as (handle, _):
        with pytest.raises(NotRecordedError, match=r"install\(client, trace='memory'\)"):
            await handle.save_trace(tmp_path / "run")
        assert list(tmp_path.iterdir()) == []


@cluster_test([], tiered=False)
async def test_where_nothing_was_managed_there_is_nothing_to_save(c, s, tmp_path):
    async with installed(c, s, trace="memory") as (handle, _):
        with pytest.raises(NotRecordedError, match="nothing has been managed or observed so far"):
            await handle.save_trace(tmp_path / "run")


@cluster_test()
async def test_what_was_recorded_can_be_saved_after_switching_off(c, s, a, b, tmp_path):
    async with installed(c, s, trace="memory") as (handle, _):
        assert await tree(c, 16) == tree_total(16)
        await handle.set_mode("off")
        trace = await saved(handle, tmp_path)
        assert len(trace.dag()) == 32
        assert not (await handle.status())["trace"]["recording"]


# Files


@cluster_test()
async def test_with_a_directory_the_run_goes_to_a_file_there(c, s, a, b, tmp_path):
    folder = tmp_path / "traces"
    async with installed(c, s, trace_directory=str(folder)) as (handle, _):
        assert await tree(c, 32) == tree_total(32)
        status = (await handle.status())["trace"]
        assert status["recording"]
        assert status["where"] == str(only(folder))
        here = await saved(handle, tmp_path)
        assert status["events"] <= len(list(here.steps()))
    there = read(only(folder))
    assert there.complete
    verify(there, load_policy)
    assert there.entries[: len(here.entries)] == here.entries


@cluster_test()
async def test_each_activation_has_a_file_of_its_own(c, s, a, b, tmp_path):
    async with installed(c, s, trace_directory=str(tmp_path)) as (handle, _):
        assert await tree(c, 8) == tree_total(8)
        await handle.set_mode("off")
        assert read(only(tmp_path)).complete
        await handle.set_mode("manage")
        assert await tree(c, 8) == tree_total(8)
    traces = [read(path) for path in tmp_path.iterdir()]
    assert [len(trace.dag()) > 0 for trace in traces] == [True, True]
    assert all(trace.complete for trace in traces)


@cluster_test()
async def test_what_happens_is_in_the_file_after_a_second(c, s, a, b, tmp_path):
    async with installed(c, s, trace_directory=str(tmp_path)):
        assert await c.submit(inc, 1, key="x") == 2

        def written() -> bool:
            trace = read(only(tmp_path))
            return any(isinstance(event, ev.TaskFinished) for event in trace.events())

        await until(written)
        assert "its end is missing" in str(read(only(tmp_path)).problem)


@cluster_test()
async def test_a_directory_that_cannot_be_made_is_counted_and_the_run_goes_on(
    c, s, a, b, tmp_path, caplog
):
    (tmp_path / "file").touch()
    async with installed(c, s, trace_directory=str(tmp_path / "file")) as (handle, _):
        assert await tree(c, 16) == tree_total(16)
        status = (await handle.status())["trace"]
        assert (status["recording"], status["problems"]) == (False, 1)
        assert "FileExistsError" in status["last_problem"]
        with pytest.raises(NotRecordedError, match="nothing is recorded: FileExistsError"):
            await handle.save_trace(tmp_path / "run")
    assert caplog.text.count("recording failed: FileExistsError") == 1


@cluster_test()
async def test_a_disk_that_fills_up_ends_the_recording_and_not_the_run(
    c, s, a, b, tmp_path, monkeypatch
):
    def full(self: FileStore, data: bytes) -> None:
        if self._length > 2000:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        write(self, data)

    write = FileStore.write
    monkeypatch.setattr(FileStore, "write", full)
    async with installed(c, s, trace_directory=str(tmp_path)) as (handle, plugin):
        assert await tree(c, 200) == tree_total(200)
        await until(lambda: plugin.recording.snapshot()["problems"])
        status = (await handle.status())["trace"]
        assert (status["recording"], status["problems"]) == (False, 1)
        assert "No space left" in status["last_problem"]
        assert "No space left" in status["truncated"]
        assert await tree(c, 16) == tree_total(16)
    trace = read(only(tmp_path))
    assert not trace.complete
    assert len(list(trace.steps())) > 100
    verify(trace, load_policy)


@pytest.mark.parametrize("where", ["memory", "directory"])
@cluster_test()
async def test_a_full_trace_says_so_and_the_run_goes_on(c, s, a, b, where, tmp_path):
    folder = tmp_path / "traces"
    settings = {"trace": "memory"} if where == "memory" else {"trace_directory": str(folder)}
    async with installed(c, s, **settings, trace_limit="20kB") as (handle, _):
        assert await tree(c, 200) == tree_total(200)
        path = await handle.save_trace(tmp_path / "run")
        status = (await handle.status())["trace"]
        assert status["truncated"] == "the limit of 20000 bytes is reached"
        assert status["problems"] == 0
        assert not status["recording"]
    # What comes in one report is written as a whole, or not at all.
    assert 5_000 < path.stat().st_size <= 20_000
    trace = read(path)
    assert trace.problem is None
    assert trace.truncated == "the limit of 20000 bytes is reached"
    verify(trace, load_policy)
    if where == "directory":
        assert only(folder).read_bytes() == path.read_bytes()


SCRIPT = """
import sys
import dask_mlsched
from distributed import Client
from live_scheduler import device_cluster
from sample_tasks import added, chunk, slow_inc

if __name__ == "__main__":
    with device_cluster(2, processes=False) as cluster, Client(cluster) as client:
        dask_mlsched.install(client, trace_directory=sys.argv[1])
        kept = []
        for i in range(10**6):
            x, y = client.map(chunk, [10, 10], [i, i + 1], pure=False)
            kept = kept[-20:] + [client.submit(added, x, y)]
            if i % 10 == 9:
                kept[0].result()
                print(i, flush=True)
"""


def test_a_scheduler_that_is_killed_leaves_a_file_that_can_be_read(tmp_path):
    script, folder = tmp_path / "script.py", tmp_path / "traces"
    script.write_text(SCRIPT)
    path = os.pathsep.join([str(Path(__file__).parent.parent), *sys.path])
    process = subprocess.Popen(
        [sys.executable, str(script), str(folder)],
        env={**os.environ, "PYTHONPATH": path},
        stdout=subprocess.PIPE,
    )
    try:
        assert process.stdout is not None
        for _ in range(5):
            assert process.stdout.readline(), "the script ended by itself"
        before = only(folder).stat().st_size
        deadline = time.monotonic() + 30
        while only(folder).stat().st_size == before:
            assert time.monotonic() < deadline
            time.sleep(0.01)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()  # type: ignore[union-attr]
    assert process.returncode == -signal.SIGKILL
    trace = read(only(folder))
    assert not trace.complete
    assert "its end is missing" in str(trace.problem)
    assert len(trace.dag()) > 50
    assert len(trace.instructions()) > 50
    verify(trace, load_policy)


# Alone, without a cluster


def test_a_recording_that_is_not_wanted_costs_nothing():
    from dask_mlsched.core.controller import Controller

    recording = Recording(Config.read())
    controller = recording.begin(None, Settings(), policy_name="stock", mode="manage")
    assert type(controller) is Controller
    recording.policy_switched("greedy")
    recording.flush()
    recording.end()
    assert not recording.snapshot()["recording"]


@cluster_test([1])
async def test_a_file_that_somebody_took_away_is_one_clear_error(c, s, a, tmp_path):
    folder = tmp_path / "traces"
    async with installed(c, s, trace_directory=str(folder)) as (handle, _):
        only(folder).unlink()
        with pytest.raises(NotRecordedError, match=r"cannot be read .*record to memory instead"):
            await handle.save_trace(tmp_path / "run")
        assert await c.submit(inc, 1) == 2


def test_errors_while_recording_are_logged_once(caplog, tmp_path):
    (tmp_path / "file").touch()
    recording = Recording(Config.read(trace_directory=str(tmp_path / "file")))
    for _ in range(3):
        recording.begin(GreedyHold(), Settings(), policy_name="greedy-hold", mode="manage")
    assert recording.problems == 3
    assert caplog.text.count("recording failed") == 1
