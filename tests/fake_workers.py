"""A real scheduler whose workers are played by the test: no network, no threads, no waiting.

The scheduler's messages to a worker come into the worker's list at once, and the test says when
and how the worker answers. So every interleaving that a network allows can be played, and played
again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any
from unittest import mock

import dask
from dask._expr import LLGExpr
from dask._task_spec import Task, TaskRef
from distributed import Scheduler
from distributed.comm.core import CommClosedError
from distributed.protocol.serialize import Serialized, serialize, to_serialize
from distributed.scheduler import ClientState

from dask_mlsched.extension.reports import TOPIC

CLIENT = "client"

CONFIG = {
    "distributed.scheduler.validate": True,
    # They talk to workers in ways that are not played here, and have their own tests.
    "distributed.scheduler.work-stealing": False,
    "distributed.scheduler.active-memory-manager.start": False,
    "distributed.scheduler.http.routes": [],
    "distributed.admin.system-monitor.interval": "1h",
    "distributed.admin.tick.interval": "1h",
}


class Channel:
    """In the place of a `BatchedSend`: keeps what the scheduler says to a worker."""

    def __init__(self, *_: Any, **__: Any) -> None:
        self.messages: list[dict[str, Any]] = []

    def send(self, *messages: dict[str, Any]) -> None:
        self.messages += messages

    def start(self, comm: Any) -> None:
        pass

    def abort(self) -> None:
        pass

    async def close(self, **_: Any) -> None:
        pass

    def closed(self) -> bool:
        return False


class Comm:
    """The worker's end of the connection: silent until it breaks."""

    name = peer_address = "fake"

    def __init__(self) -> None:
        self.broken = asyncio.Event()

    async def write(self, *_: Any, **__: Any) -> int:
        return 0

    async def read(self, *_: Any, **__: Any) -> Any:
        await self.broken.wait()
        raise CommClosedError

    def abort(self) -> None:
        self.broken.set()

    async def close(self) -> None:
        self.broken.set()

    def closed(self) -> bool:
        return self.broken.is_set()


class FakeWorker:
    """What one worker has and does, as its scheduler must believe it."""

    def __init__(self, scheduler: Scheduler, number: int, threads: int) -> None:
        self.scheduler = scheduler
        self.address = f"tcp://127.0.0.1:{10_000 + number}"
        self.threads = threads
        self.comm = Comm()
        #: Tasks that were sent here -> their run, in order; those that left the thread pool.
        self.running: dict[Any, int] = {}
        self.seceded: set[Any] = set()
        #: Tasks that were taken back; the answer may already have been on its way.
        self.cancelled: list[tuple[Any, int]] = []
        self.data: dict[Any, int] = {}
        self.seq = 0

    async def join(self) -> None:
        """Connect and register."""
        add = self.scheduler.add_worker(
            self.comm,
            address=self.address,
            status="running",
            server_id=self.address,
            nthreads=self.threads,
            name=self.address,
            resolve_address=False,
            now=0.0,
            resources={},
            memory_limit=10**9,
            metrics=_METRICS,
            services={},
            local_directory="",
            versions={},
            nanny="",
            extra={},
            stimulus_id="join",
        )
        with mock.patch("distributed.scheduler.BatchedSend", Channel):
            self._connection = asyncio.ensure_future(add)
            while self.address not in self.scheduler.stream_comms:
                await asyncio.sleep(0)
        self.channel = self.scheduler.stream_comms[self.address]

    @property
    def gone(self) -> bool:
        """Whether the scheduler has removed this worker."""
        return self.scheduler.stream_comms.get(self.address) is not self.channel

    @property
    def spare(self) -> set[Any]:
        """The arrays that no task here reads: only those does a worker ever drop by itself."""
        tasks = self.scheduler.tasks
        in_use = {dep.key for key in self.running for dep in tasks[key].dependencies}
        return set(self.data) - in_use

    def read(self) -> None:
        """Take in what the scheduler has said."""
        while self.channel.messages:
            message = self.channel.messages.pop(0)
            match message["op"]:
                case "compute-task":
                    key = message["key"]
                    self.running[key] = message["run_id"]
                    self.seceded.discard(key)
                    for dependency in message["who_has"]:
                        self._fetch(dependency)
                case "free-keys" | "remove-replicas":
                    for key in message["keys"]:
                        self.data.pop(key, None)
                        if key in self.running:
                            self.cancelled.append((key, self.running.pop(key)))

    def _fetch(self, key: Any) -> None:
        ts = self.scheduler.tasks.get(key)
        if key not in self.data and ts is not None and ts.state == "memory":
            self.data[key] = ts.nbytes
            self.scheduler.add_keys(self.address, [key])

    # Answers. A run that the scheduler took back may still be answered.

    def finish(self, key: Any, run_id: int, nbytes: int) -> None:
        self.running.pop(key, None)
        self.data[key] = nbytes
        self.scheduler.handle_task_finished(
            key,
            self.address,
            "finished",
            run_id=run_id,
            metadata={},
            nbytes=nbytes,
            type=b"",
            typename="int",
            startstops=[{"action": "compute", "start": 0.0, "stop": 0.001}],
            thread=1,
        )

    def fail(self, key: Any, run_id: int) -> None:
        self.running.pop(key, None)
        self.scheduler.handle_task_erred(
            key,
            "erred",
            worker=self.address,
            run_id=run_id,
            exception=serialize(to_serialize(ZeroDivisionError("meant to"))),
            traceback=None,
            exception_text="",
            traceback_text="",
        )

    def reschedule(self, key: Any) -> None:
        del self.running[key]
        self.scheduler._reschedule(key, self.address, stimulus_id="reschedule")

    def secede(self, key: Any) -> None:
        self.seceded.add(key)
        self.scheduler.handle_long_running(key, self.address, self.running[key], 0.001, "secede")

    def lose(self, key: Any) -> None:
        """Tell that a copy of an array is gone."""
        del self.data[key]
        self.scheduler.release_worker_data(key, self.address, "lost")

    # Reports

    def introduce(self, limit: int | None) -> None:
        kind = None if limit is None else "emulated-device"
        self.say({"op": "tier", "kind": kind, "limit": limit, "resident": []})

    def report(
        self, moves: Iterable[tuple[Any, str]], resident: list[Any] | None, *, lost: int = 0
    ) -> dict[str, Any]:
        """Say what moved, after `lost` reports that never came; return the message."""
        self.seq += 1 + lost
        message = {
            "op": "report",
            "seq": self.seq,
            "moves": [[key, direction, 10, 0.001] for key, direction in moves],
            "resident_bytes": 10,
            "totals": {"loads": self.seq},
            "resident": None if resident is None else [[key, 10] for key in resident],
        }
        self.say(message)
        return message

    def say(self, message: dict[str, Any]) -> None:
        self.scheduler.log_event(TOPIC, {"worker": self.address, **message})


async def start_scheduler() -> Scheduler:
    """Start a scheduler with one client, which sends and hears nothing by itself."""
    with dask.config.set(CONFIG):
        scheduler = await Scheduler(
            dashboard=False,
            dashboard_address=":0",
            protocol="inproc",
            transition_counter_max=False,
        )

    async def broadcast(**_: Any) -> dict[str, Any]:
        return {}

    scheduler.broadcast = broadcast  # type: ignore[method-assign]
    scheduler.clients[CLIENT] = ClientState(CLIENT, versions={})
    return scheduler


async def submit(
    scheduler: Scheduler, graph: dict[str, list[str]], wanted: set[str], priority: int = 0
) -> None:
    """Send a graph, task -> dependencies, as a client does. Nobody will run the tasks."""
    tasks = {key: Task(key, _never, *map(TaskRef, deps)) for key, deps in graph.items()}
    expression = LLGExpr(tasks)
    await scheduler.update_graph(
        client=CLIENT,
        expr_ser=Serialized(*serialize(to_serialize(expression), on_error="raise")),
        keys=wanted,
        span_metadata={"collections": []},
        internal_priority={key: place for place, key in enumerate(graph)},
        submitting_task=None,
        annotations={"priority": priority},
        stimulus_id="update-graph",
    )


def _never(*_: Any) -> None:
    raise AssertionError("no worker is real")


_METRICS: dict[str, Any] = {
    "memory": 0,
    "managed_bytes": 0,
    "spilled_bytes": {"memory": 0, "disk": 0},
    "task_counts": {},
    "event_loop_interval": 0.02,
    "cpu": 0,
    "transfer": {"incoming_bytes": 0},
    "bandwidth": {"total": 1e8, "workers": {}, "types": {}},
    "digests_total_since_heartbeat": {},
}
