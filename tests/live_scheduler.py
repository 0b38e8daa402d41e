"""Clusters inside the test's process, and what must hold of their scheduler at any time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

from distributed import Client, Scheduler
from distributed.utils_test import gen_cluster

import dask_mlsched
from dask_mlsched.core.graph import TaskState
from dask_mlsched.extension import parking
from dask_mlsched.extension.cluster import LocalDeviceCluster
from dask_mlsched.extension.emulated_host_file import EmulatedHostFile
from dask_mlsched.extension.scheduler_plugin import MLSchedulerPlugin
from dask_mlsched.extension.worker_plugin import MLWorkerPlugin
from sample_tasks import added, chunk, total

#: Room for ten chunks of 10 kB; copies that cost next to nothing.
DEVICE: dict[str, Any] = {
    "device_memory_limit": "100kB",
    "bandwidth": "10GB/s",
    "latency": "1us",
}

_STATES = {"processing": TaskState.RUNNING, "memory": TaskState.COMPUTED}


def cluster_test(
    threads: Sequence[int] = (1, 2), *, tiered: bool = True, **kwargs: Any
) -> Callable[[Any], Any]:
    """Run a coroutine with a client, a validating scheduler, and workers in this process.

    The coroutine gets the client, the scheduler, and as many workers as `threads` is long.
    """
    if tiered:
        worker_kwargs = {"data": (EmulatedHostFile, DEVICE), **kwargs.pop("worker_kwargs", {})}
    else:
        # Without a limit, Dask's own worker does not spill either.
        worker_kwargs = {"memory_limit": 0, **kwargs.pop("worker_kwargs", {})}
    kwargs["worker_kwargs"] = worker_kwargs
    nthreads = [("127.0.0.1", count) for count in threads]
    return gen_cluster(client=True, nthreads=nthreads, **kwargs)  # type: ignore[no-any-return, no-untyped-call]


def device_cluster(n_workers: int, **kwargs: Any) -> LocalDeviceCluster:
    """Start the same devices in a cluster as users do, by default with processes."""
    return LocalDeviceCluster(n_workers, dashboard_address=":0", **{**DEVICE, **kwargs})


def tree(c: Client, leaves: int) -> Any:
    """Submit a reduction over chunks that together are larger than the device."""
    level = c.map(chunk, [10] * leaves, range(leaves), pure=False)
    while len(level) > 1:
        pairs = zip(level[::2], level[1::2], strict=False)
        odd = [level[-1]] if len(level) % 2 else []
        level = [c.submit(added, *pair) for pair in pairs] + odd
    return c.submit(total, *level)


def tree_total(leaves: int) -> float:
    return 1250.0 * sum(range(leaves))


async def until(condition: Callable[[], object]) -> None:
    for _ in range(1000):
        if condition():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it did not happen in ten seconds")


def plugins_of(scheduler: Scheduler) -> list[MLSchedulerPlugin]:
    return [each for each in scheduler.plugins.values() if isinstance(each, MLSchedulerPlugin)]


def plugin_of(scheduler: Scheduler) -> MLSchedulerPlugin:
    (plugin,) = plugins_of(scheduler)
    return plugin


@asynccontextmanager
async def installed(
    client: Client, scheduler: Scheduler, **settings: Any
) -> AsyncIterator[tuple[dask_mlsched.Handle, MLSchedulerPlugin]]:
    """Install the plugin; uninstall it in the end, and see that it left nothing and no error."""
    handle = await dask_mlsched.install(client, **settings)
    plugin = plugin_of(scheduler)
    yield handle, plugin
    if scheduler.status.name == "running":
        assert_in_step(plugin)
    await handle.uninstall()
    assert_no_errors(plugin)
    assert_nothing_left(scheduler)


def assert_no_errors(plugin: MLSchedulerPlugin) -> None:
    assert not plugin.errors, plugin.last_error
    assert not plugin.reports.malformed, plugin.reports.last_problem
    assert not plugin.reports.worker_errors, plugin.reports.last_problem


def assert_nothing_left(scheduler: Scheduler) -> None:
    """Neither half of the plugin is there, and no task shows that it ever was."""
    assert not plugins_of(scheduler)
    assert MLWorkerPlugin.name not in scheduler.worker_plugins
    assert not [name for name in scheduler.handlers if "mlsched" in name]
    assert_nothing_parked(scheduler)


def assert_nothing_parked(scheduler: Scheduler) -> None:
    assert not [ts for ts in scheduler.tasks.values() if parking.is_ours(ts)]
    assert not [
        ts
        for ts in scheduler.tasks.values()
        if any("mlsched" in name for name in ts.worker_restrictions or ())
    ]


def assert_in_step(plugin: MLSchedulerPlugin) -> None:
    """The controller's picture is the scheduler's, and nothing in it belongs to nobody."""
    scheduler, controller, translator = plugin.scheduler, plugin.controller, plugin.translator
    if controller is None or translator is None:
        assert not plugin.manages
        assert_nothing_parked(scheduler)
        return
    graph = controller.graph
    assert set(translator.workers.keys()) == set(scheduler.workers)
    assert set(translator.tasks.keys()) <= set(scheduler.tasks)
    parked = 0
    for key, ts in scheduler.tasks.items():
        number = translator.tasks.get(key)
        if number is None:
            assert ts.run_spec is None, f"{ts} is unknown, and only scattered data may be"
            continue
        states = {_STATES.get(ts.state, TaskState.WAITING)}
        if ts.state == "no-worker" and parking.is_ours(ts):
            states = {TaskState.PARKED}
        elif ts.state == "no-worker":
            # A parked task that somebody restricts is given back when its turn comes.
            states.add(TaskState.PARKED)
        assert graph.state[number] in states, (key, ts.state, graph.state[number])
        parked += graph.state[number] == TaskState.PARKED
        assert all(holder in controller.devices for holder in graph.holders[number])
    assert controller.parked == parked
    for worker, device in controller.devices.items():
        ws = scheduler.workers[translator.workers.key(worker)]
        for number in device.in_flight:
            ts = scheduler.tasks[translator.tasks.key(number)]
            assert ts.processing_on is ws, (ts, ws)
        for number in device.residency.held():
            assert graph.state[number] in (TaskState.COMPUTED, TaskState.RUNNING), number
        for number, state in enumerate(graph.state):
            if state == TaskState.COMPUTED and worker in graph.holders[number]:
                assert number in device.residency.held()
