"""Paired, alternating runs of a problem under several policies.

Every run has a cluster of its own, started for it and closed after it, so that no run finds
anything that another left behind: durations that Dask learned, resident arrays, plugins. Before
the clock starts, the workers import what the tasks need. ``stock`` is Dask alone: no scheduler
plugin, only the worker plugin that counts what moves; it counts in the other runs as well. Policies
take turns, forwards in one repeat and backwards in the next, and only runs of the same repeat are
compared.
"""

from __future__ import annotations

import logging
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dask.typing import Key
from distributed import Client, Future, Worker, futures_of, wait

from dask_mlsched.benchmarks.problem import Problem, digest
from dask_mlsched.benchmarks.tiles import Matrix
from dask_mlsched.config import check_overrides
from dask_mlsched.extension.cluster import LocalDeviceCluster
from dask_mlsched.extension.emulated_host_file import EmulatedHostFile
from dask_mlsched.extension.handle import Handle, install
from dask_mlsched.extension.worker_plugin import (
    MLWorkerPlugin,
    reset_statistics,
    worker_history,
    worker_statistics,
)

#: The name of the runs that have no scheduler plugin.
STOCK = "stock"


class RunFailedError(RuntimeError):
    """A run that did not end as it should: one line that says which, and how."""


#: Called with the share of the results that are there, 0 to 1.
OnProgress = Callable[[float], None]


@dataclass(frozen=True)
class Conditions:
    """What the runs have in common."""

    device_memory_limit: int
    #: Bytes per second.
    bandwidth: float
    #: Seconds.
    latency: float = 1e-5
    workers: int = 1
    threads_per_worker: int = 1
    #: Seconds after which a run counts as stuck.
    timeout: float = 600.0


@dataclass(frozen=True, slots=True)
class Sample:
    """One move between the tiers of a worker, seen from the beginning of the run."""

    #: Seconds.
    time: float
    loaded: int
    evicted: int
    #: Bytes on the worker's device after it.
    resident_bytes: int


@dataclass(frozen=True)
class Arm:
    """One run of one policy."""

    policy: str
    repeat: int
    #: Whether it was the first, second, … run of its repeat.
    position: int
    seconds: float
    #: Totals over all workers, by the names of the fields of `TierStatistics`.
    totals: Mapping[str, float]
    #: `Handle.status` at the end; empty for `STOCK`.
    status: Mapping[str, Any]
    digest: str
    matches_reference: bool
    #: The moves of each worker, in order.
    history: Mapping[str, Sequence[Sample]] = field(repr=False)
    #: The bytes of the trace, if the run was recorded.
    trace: bytes | None = field(default=None, repr=False)


def check_policy(name: str) -> str:
    """Return the name of a policy, or the dotted path of one, if it can be run.

    Raises
    ------
    ConfigError
        If there is none of that name.
    """
    if name != STOCK:
        check_overrides(policy=name)
    return name


def turns(names: Sequence[str], repeats: int) -> Iterator[tuple[int, int, str]]:
    """Yield repeat, position and policy of each run: every other repeat goes backwards.

    Examples
    --------
    >>> list(turns(["stock", "greedy"], 2))
    [(0, 0, 'stock'), (0, 1, 'greedy'), (1, 0, 'greedy'), (1, 1, 'stock')]
    """
    for repeat in range(repeats):
        order = names if repeat % 2 == 0 else names[::-1]
        for position, name in enumerate(order):
            yield repeat, position, name


def run_arm(
    problem: Problem,
    policy: str,
    conditions: Conditions,
    *,
    repeat: int = 0,
    position: int = 0,
    record: bool = False,
    on_progress: OnProgress | None = None,
) -> Arm:
    """Run a problem once on a cluster of its own.

    With `record`, all that happens is recorded in memory. Stock, too, then has the scheduler
    plugin, which only observes.

    Raises
    ------
    RunFailedError
        If a task fails, or the run takes longer than it may.
    """
    with ExitStack() as stack:
        client = stack.enter_context(_cluster(conditions))
        handle = _install(client, policy, record=record)
        client.run(_warm_up)
        client.run(reset_statistics)
        start = time.monotonic()
        persisted = client.persist(problem.collections)
        futures = futures_of(persisted)
        with _watching(futures, on_progress):
            _finish(problem, policy, futures, conditions.timeout)
        seconds = time.monotonic() - start
        status = {} if handle is None else handle.status()
        totals = _sum(client.run(worker_statistics).values())
        history = {
            worker: [_sample(move, start) for move in moves]
            for worker, moves in client.run(worker_history).items()
        }
        trace = _trace(handle) if record and handle is not None else None
        results = _results(client, problem.keys())
        if handle is not None:
            handle.uninstall()
    return Arm(
        policy=policy,
        repeat=repeat,
        position=position,
        seconds=seconds,
        totals=totals,
        status=status,
        digest=digest(results),
        matches_reference=problem.check(results),
        history=history,
        trace=trace,
    )


@contextmanager
def _cluster(conditions: Conditions) -> Iterator[Client]:
    with (
        LocalDeviceCluster(
            conditions.workers,
            conditions.threads_per_worker,
            device_memory_limit=conditions.device_memory_limit,
            bandwidth=conditions.bandwidth,
            latency=conditions.latency,
            dashboard_address=None,
            # Without a dashboard, too, the scheduler opens a port: any that is free.
            scheduler_kwargs={"dashboard_address": ":0"},
            # A worker that is busy while its cluster closes logs an error. Errors that matter
            # end the run; those of our own plugin have a logger of their own.
            silence_logs=logging.CRITICAL,
        ) as cluster,
        Client(cluster) as client,
    ):
        yield client


def _install(client: Client, policy: str, *, record: bool) -> Handle | None:
    if policy == STOCK and not record:
        client.register_plugin(MLWorkerPlugin())
        return None
    mode = "observe" if policy == STOCK else "manage"
    handle: Handle = install(client, policy=policy, mode=mode, trace="memory" if record else "off")
    return handle


def _trace(handle: Handle) -> bytes:
    with tempfile.TemporaryDirectory(prefix="mlsched-") as folder:
        path: Path = handle.save_trace(Path(folder) / "run")
        return path.read_bytes()


def _warm_up() -> None:
    """Import, on a worker, what the first task would have to."""
    import dask_mlsched.benchmarks.workloads  # noqa: F401


@contextmanager
def _watching(futures: Sequence[Future[Any]], on_progress: OnProgress | None) -> Iterator[None]:
    """Tell how far the run is, five times a second, from what the client knows anyway."""
    if on_progress is None:
        yield
        return
    finished = threading.Event()

    def watch(tell: OnProgress) -> None:
        while not finished.wait(0.2):
            tell(sum(future.done() for future in futures) / len(futures))

    thread = threading.Thread(target=watch, args=(on_progress,), daemon=True)
    thread.start()
    try:
        yield
    finally:
        finished.set()
        thread.join()
    on_progress(1.0)


def _finish(problem: Problem, policy: str, futures: Sequence[Future[Any]], timeout: float) -> None:
    what = f"workload {problem.workload!r} under policy {policy!r}"
    try:
        wait(futures, timeout=timeout)
    except TimeoutError as error:
        missing = sum(not future.done() for future in futures)
        msg = f"{what} did not end within {timeout:g} s: {missing} results are missing"
        raise RunFailedError(msg) from error
    for future in futures:
        if future.status != "finished":
            msg = f"{what} failed: task {future.key!r} is {future.status}"
            raise RunFailedError(msg) from future.exception()


def _sum(statistics: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    names = (
        "loads",
        "evictions",
        "bytes_loaded",
        "bytes_evicted",
        "load_seconds",
        "evict_seconds",
        "callback_errors",
    )
    statistics = list(statistics)
    return {name: sum(each[name] for each in statistics) for name in names}


def _sample(move: tuple[Any, ...], start: float) -> Sample:
    # Move's fields; its clock is the machine's, which all processes share.
    end, _, direction, nbytes, _, resident_bytes = move
    return Sample(
        time=end - start,
        loaded=nbytes if direction == "load" else 0,
        evicted=nbytes if direction == "evict" else 0,
        resident_bytes=resident_bytes,
    )


def _results(client: Client, keys: Sequence[Key]) -> dict[Key, Matrix]:
    """Fetch the results past the device: to read them through it would move them all again."""
    found: dict[Key, Matrix] = {}
    for part in client.run(_peek, keys=list(keys)).values():
        found.update(part)
    return {key: found[key] for key in keys}


def _peek(dask_worker: Worker, keys: Sequence[Key]) -> dict[Key, Matrix]:
    data = dask_worker.data
    assert isinstance(data, EmulatedHostFile), data
    return {
        key: tier[key]
        for key in keys
        for tier in (data.others, data.device, data.host)
        if key in tier
    }
