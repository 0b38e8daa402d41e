"""What travels with a task: on its way with it, gone before and after, followed by the worker."""

from __future__ import annotations

from typing import Any

import dask
import numpy as np
import pytest
from dask import delayed
from distributed import Client, Scheduler, Worker, wait

from dask_mlsched.extension import hints
from dask_mlsched.extension.cluster import LocalDeviceCluster
from dask_mlsched.extension.handle import install
from dask_mlsched.extension.worker_plugin import MLWorkerPlugin, worker_history

CHUNK = 8_000


class Task:
    """As much of a task as hints look at."""

    def __init__(self, annotations: dict[str, Any] | None) -> None:
        self.annotations = annotations


@pytest.mark.parametrize("before", [None, {}, {"retries": 3}])
def test_hints_travel_beside_the_user_s_annotations_and_are_gone_after(before: Any):
    here = Task(before)
    sent = hints.Hints(["x", ("y", 0)], load_ahead=True)
    with hints.travelling({here: sent}):  # type: ignore[dict-item]
        there = Task(here.annotations)
    assert here.annotations is before
    assert hints.take(there) == sent  # type: ignore[arg-type]
    assert there.annotations == (before or {})


def test_hints_are_taken_once():
    with hints.travelling({(here := Task(None)): hints.Hints(["x"])}):  # type: ignore[dict-item]
        there = Task(here.annotations)
    hints.take(there)  # type: ignore[arg-type]
    assert hints.take(there) is hints.NONE  # type: ignore[arg-type]


def test_annotations_are_restored_whatever_happens():
    task = Task({"retries": 3})
    with pytest.raises(ZeroDivisionError), hints.travelling({task: hints.NONE}):  # type: ignore[dict-item]
        _ = 1 / 0
    assert task.annotations == {"retries": 3}


def test_a_task_without_hints_has_none():
    for given in (None, {}, {"retries": 3}):
        task = Task(given)
        assert hints.take(task) is hints.NONE  # type: ignore[arg-type]
        assert task.annotations is given


@pytest.mark.integration
def test_a_worker_evicts_what_the_hint_names_before_it_reads_the_inputs():
    with (
        LocalDeviceCluster(
            1, 1, device_memory_limit=3 * CHUNK, processes=False, dashboard_address=":0"
        ) as cluster,
        Client(cluster) as client,
    ):
        client.register_plugin(MLWorkerPlugin())
        a, b, c = (client.submit(np.ones, CHUNK // 8, key=key, pure=False) for key in "abc")
        wait([a, b, c])
        worker = cluster.workers[0]
        assert isinstance(worker, Worker)
        with dask.annotate(**{hints.ANNOTATION: [["c", "unknown"], False]}):
            total = delayed(np.add, name="add")(a, b, dask_key_name="total")
        total = client.persist(total)
        wait(total)
        # By age, a would have gone for the output.
        assert sorted(worker.data.device) == ["a", "b", "total"]
        assert [move[1] for move in client.run(worker_history)[worker.address]] == ["c"]
        assert hints.ANNOTATION not in (worker.state.tasks["total"].annotations or {})


def loads_of_a_cycle(eviction: str) -> int:
    """Read five arrays in turn, five times, with room for four beside the sum."""
    with (
        LocalDeviceCluster(
            1, 1, device_memory_limit=6 * CHUNK, processes=False, dashboard_address=":0"
        ) as cluster,
        Client(cluster) as client,
    ):
        handle = install(client, policy="fifo", eviction=eviction, lookahead=0, scope="all")
        sources = [delayed(np.ones)(CHUNK // 8, dask_key_name=f"source-{i}") for i in range(5)]
        total = delayed(np.zeros)(CHUNK // 8, dask_key_name="sum-0")
        for step in range(1, 26):
            total = delayed(np.add)(total, sources[step % 5], dask_key_name=f"sum-{step}")
        assert np.all(client.compute(total).result(timeout=30) == 25)
        (moves,) = client.run(worker_history).values()
        scheduler = cluster.scheduler
        assert isinstance(scheduler, Scheduler)
        assert not any(
            hints.ANNOTATION in (ts.annotations or {}) for ts in scheduler.tasks.values()
        )
        handle.uninstall()
    return sum(move[2] == "load" for move in moves)


@pytest.mark.integration
def test_a_rule_of_eviction_reaches_the_store():
    # By age, what is evicted is always what is read next. Belady's optimum misses about one in
    # four, and the graph says what it needs to know.
    by_age, by_next_use = loads_of_a_cycle("lru"), loads_of_a_cycle("next-use")
    assert by_age > 15
    assert by_next_use < by_age / 2
