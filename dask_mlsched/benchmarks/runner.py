"""Paired, alternating runs of a problem under several policies, on several stores.

Every run has a cluster of its own, started for it and closed after it, so that no run finds
anything that another left behind: durations that Dask learned, resident arrays, plugins. Before
the clock starts, the workers import what the tasks need. ``stock`` is Dask alone: no scheduler
plugin, only the worker plugin that counts what moves; it counts in the other runs as well.
Contenders take turns, forwards in one repeat and backwards in the next, and only runs of the same
repeat are compared.
"""

from __future__ import annotations

import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from dask.typing import Key
from distributed import Client, Future, Worker, futures_of, wait

from dask_mlsched.benchmarks.clusters import Conditions, Store, find_store, peek
from dask_mlsched.benchmarks.contender import STOCK, Contender
from dask_mlsched.benchmarks.device_arrays import HOST, on_device, synchronize, to_host
from dask_mlsched.benchmarks.problem import Problem, digest
from dask_mlsched.benchmarks.tiles import Matrix
from dask_mlsched.extension.handle import Handle, install
from dask_mlsched.extension.worker_plugin import (
    MLWorkerPlugin,
    reset_statistics,
    worker_history,
    worker_statistics,
)

_T = TypeVar("_T")


class RunFailedError(RuntimeError):
    """A run that did not end as it should: one line that says which, and how."""


#: Called with the share of the results that are there, 0 to 1.
OnProgress = Callable[[float], None]


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
    """One run of one contender."""

    contender: Contender
    repeat: int
    #: Whether it was the first, second, … run of its repeat.
    position: int
    seconds: float
    #: Totals over all workers, by the names of the fields of `TierStatistics`.
    totals: Mapping[str, float]
    #: What the workers' threads spent in tasks, loading of their inputs not included. On a device
    #: kernels may go on when their task has ended: what they take beyond it is not in here.
    compute_seconds: float
    #: `Handle.status` at the end; empty for `STOCK`.
    status: Mapping[str, Any]
    #: Of every bit of the results; None where libraries may round as they like, on a device.
    digest: str | None
    matches_reference: bool
    #: The moves of each worker, in order.
    history: Mapping[str, Sequence[Sample]] = field(repr=False)
    #: The bytes of the trace, if the run was recorded.
    trace: bytes | None = field(default=None, repr=False)


def turns(names: Sequence[_T], repeats: int) -> Iterator[tuple[int, int, _T]]:
    """Yield repeat, position and contender of each run: every other repeat goes backwards.

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
    contender: Contender,
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
    store = find_store(contender.store)
    collections = problem.collections
    if store.library != HOST:
        collections = on_device(collections, store.library)
    with ExitStack() as stack:
        client = stack.enter_context(Client(stack.enter_context(store.start(conditions))))
        handle = _install(client, contender, store, record=record)
        client.run(_warm_up, store.library)
        client.run(reset_statistics)
        before = _sum_of(client.run(_compute_seconds))
        start = time.monotonic()
        persisted = client.persist(collections)
        futures = futures_of(persisted)
        with _watching(futures, on_progress):
            _finish(f"workload {problem.workload!r} under {contender}", futures, conditions.timeout)
        client.run(synchronize, store.library)
        seconds = time.monotonic() - start
        status = {} if handle is None else handle.status()
        compute_seconds = _sum_of(client.run(_compute_seconds)) - before
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
        contender=contender,
        repeat=repeat,
        position=position,
        seconds=seconds,
        totals=totals,
        compute_seconds=compute_seconds,
        status=status,
        digest=digest(results) if store.library == HOST else None,
        matches_reference=problem.check(results),
        history=history,
        trace=trace,
    )


def _install(client: Client, contender: Contender, store: Store, *, record: bool) -> Handle | None:
    if contender.policy == STOCK and not record:
        client.register_plugin(MLWorkerPlugin())
        return None
    handle: Handle = install(
        client,
        policy=contender.policy,
        mode="observe" if contender.policy == STOCK else "manage",
        scope=store.scope,
        trace="memory" if record else "off",
    )
    return handle


def _trace(handle: Handle) -> bytes:
    with tempfile.TemporaryDirectory(prefix="mlsched-") as folder:
        path: Path = handle.save_trace(Path(folder) / "run")
        return path.read_bytes()


def _warm_up(library: str) -> None:
    """Import, on a worker, what the first task would have to, and have the device compile it."""
    import dask_mlsched.benchmarks.workloads  # noqa: F401
    from dask_mlsched.benchmarks.device_warm_up import warm_up

    warm_up(library)


def _compute_seconds(dask_worker: Worker) -> float:
    """Return what a worker's threads have spent in tasks; Dask keeps count of it."""
    return sum(
        float(seconds)
        for key, seconds in dask_worker.digests_total.items()
        if isinstance(key, tuple)
        and key[0] == "execute"
        and key[-2:] in {("thread-cpu", "seconds"), ("thread-noncpu", "seconds")}
    )


def _sum_of(figures: Mapping[str, float]) -> float:
    return sum(figures.values())


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


def _finish(what: str, futures: Sequence[Future[Any]], timeout: float) -> None:
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
        "loads_ahead",
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
    return {key: to_host(value) for key, value in peek(dask_worker.data, keys).items()}
