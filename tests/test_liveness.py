"""Whatever happens, every wanted key ends, and nothing stays parked.

A hypothesis state machine plays clients, workers, users and the network to a real scheduler with
the plugin on it. After every step the scheduler's own validation is clean, the controller's
picture is the scheduler's, and the plugin has had no error. In the end everybody behaves again,
and all that a client still wants must come to an end within a bounded number of steps.

More examples: HYPOTHESIS_PROFILE=thorough python -m pytest tests/test_liveness.py
"""

from __future__ import annotations

import asyncio
import logging
import os
import random
import time
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from distributed import Scheduler
from distributed.scheduler import TaskState
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

import hostile_policies
from dask_mlsched.extension import dispatcher, management, parking, scheduler_plugin, translator
from dask_mlsched.extension.scheduler_plugin import MLSchedulerPlugin
from fake_workers import CLIENT, FakeWorker, start_scheduler, submit
from live_scheduler import assert_in_step, assert_no_errors, assert_nothing_left

_COMMON: dict[str, Any] = {
    "deadline": None,
    "suppress_health_check": list(HealthCheck),
}
PROFILES = {
    "default": settings(max_examples=100, stateful_step_count=40, **_COMMON),
    "thorough": settings(max_examples=2000, stateful_step_count=80, **_COMMON),
}
PROFILE = os.environ.get("HYPOTHESIS_PROFILE", "default")

POLICIES = [
    "random",
    "fifo",
    "greedy",
    "greedy-hold",
    "hostile_policies.AlwaysHolds",
    "greedy-hold",
    "hostile_policies.Raises",
    "hostile_policies.GivesNaN",
    "hostile_policies.Dawdles",
    "hostile_policies.AlwaysHolds",
    "hostile_policies.TooFewScores",
]
MODES = ["off", "observe", "manage", "manage"]

#: In the plugin's seconds, which pass only when the test says so.
HOLD_LIMIT = 1.0

LIMITS = st.sampled_from([15, 30, 60, None, 1000])

index = st.integers(0, 1000)

#: For each task, how far before it those stand that it reads.
shapes = st.lists(st.lists(st.integers(1, 6), max_size=3, unique=True), min_size=1, max_size=16)


class Clock:
    """Stands in for the module `time`, and passes only when the test says so."""

    def __init__(self) -> None:
        self.now = 0.0
        self.worked = 0.0

    def monotonic(self) -> float:
        return self.now

    def time(self) -> float:
        return time.time()

    def perf_counter(self) -> float:
        return self.worked

    def sleep(self, seconds: float) -> None:
        """Work for so long: only a stopwatch notices."""
        self.worked += seconds


class Loop(asyncio.SelectorEventLoop):
    """Timers are due by the test's clock, except while a scheduler starts or closes."""

    def __init__(self, clock: Clock) -> None:
        self.clock: Clock | None = None
        super().__init__()
        self.begun = super().time()
        self.test_clock = clock

    def time(self) -> float:
        return super().time() if self.clock is None else self.begun + self.clock.now

    def freeze(self) -> None:
        self.clock = self.test_clock

    def thaw(self) -> None:
        self.clock = None


class Cluster(RuleBasedStateMachine):
    """The world around one scheduler."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock()
        self.patch = pytest.MonkeyPatch()
        for module in (scheduler_plugin, management, dispatcher, hostile_policies):
            self.patch.setattr(module, "time", self.clock)
        self.patch.setattr(translator, "monotonic", self.clock.monotonic)
        self.logging = logging.root.manager.disable
        logging.disable(logging.CRITICAL)
        self.loop = Loop(self.clock)
        self.runner = asyncio.Runner(loop_factory=lambda: self.loop)
        self.workers: list[FakeWorker] = []
        self.joined = 0
        self.submitted = 0
        self.said: list[tuple[FakeWorker, dict[str, Any]]] = []
        self.plugin: MLSchedulerPlugin | None = None
        self.valid = True
        self.scheduler: Scheduler

    def run(self, coroutine: Coroutine[Any, Any, Any]) -> None:
        """Run a coroutine, then everything that is due, and let the workers read their messages."""

        async def and_all_that_follows() -> None:
            await coroutine
            await self.settle()

        self.runner.run(and_all_that_follows())

    def call(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
        async def called() -> None:
            function(*args, **kwargs)

        self.run(called())

    async def settle(self) -> None:
        for _ in range(5):
            await asyncio.sleep(0)
            for worker in self.workers:
                worker.read()
                if worker.gone:
                    worker.comm.abort()
            self.workers = [worker for worker in self.workers if not worker.gone]

    def pick(self, number: int, of: Any) -> Any:
        choices = list(of)
        return choices[number % len(choices)]

    # The beginning

    @initialize(
        policy=st.sampled_from(POLICIES),
        lookahead=st.sampled_from([0, 1, 3]),
        scope=st.sampled_from(["all", "tiered"]),
        failures=st.sampled_from([2, 10_000]),
        threads=st.lists(st.integers(1, 2), min_size=1, max_size=3),
        limits=st.lists(LIMITS, min_size=3, max_size=3),
        shape=shapes,
    )
    def begin(
        self,
        policy: str,
        lookahead: int,
        scope: str,
        failures: int,
        threads: list[int],
        limits: list[int | None],
        shape: list[list[int]],
    ) -> None:
        self.settings = {
            "policy": policy,
            "lookahead": lookahead,
            "scope": scope,
            "failures": failures,
            "hold_limit": HOLD_LIMIT,
            "time_budget": "1ms",
            "check_interval": "1h",  # `check` is a rule
        }

        async def begun() -> None:
            self.scheduler = await start_scheduler()

        self.run(begun())
        self.loop.freeze()
        self.install(0)
        for count, limit in zip(threads, limits, strict=False):
            self.join(count, limit)
        self.submit(shape, 0, set(), [])

    # Clients

    @rule(
        shape=shapes,
        priority=st.sampled_from([0, 0, 0, 1]),
        wanted=st.sets(st.integers(0, 15), max_size=4),
        before=st.lists(index, max_size=3),
    )
    def submit(
        self, shape: list[list[int]], priority: int, wanted: set[int], before: list[int]
    ) -> None:
        """Submit a graph: each task reads some of those shortly before it, the first old ones."""
        keys = [f"p{place % 3}-{self.submitted + place}" for place in range(len(shape))]
        graph: dict[str, list[str]] = {}
        for place, (key, steps) in enumerate(zip(keys, shape, strict=True)):
            graph[key] = [keys[place - step] for step in steps if place >= step]
            if place < 2 and self.wanted:
                graph[key] += sorted({self.pick(number, self.wanted) for number in before})
        self.submitted += len(shape)
        asked_for = {keys[place] for place in wanted if place < len(keys)} | {keys[-1]}
        self.run(submit(self.scheduler, graph, asked_for, priority))

    @precondition(lambda self: self.wanted)
    @rule(
        numbers=st.lists(index, min_size=1, max_size=4), cancel=st.booleans(), force=st.booleans()
    )
    def want_no_more(self, numbers: list[int], cancel: bool, force: bool) -> None:
        if not cancel:
            keys = {self.pick(number, self.wanted) for number in numbers}
            self.call(self.scheduler.client_releases_keys, sorted(keys), CLIENT)
        elif self.can_be_cancelled:
            key = self.pick(numbers[0], self.can_be_cancelled)
            self.call(
                self.scheduler.stimulus_cancel,
                [key],
                CLIENT,
                force=force,
                reason="test",
                msg="test",
            )

    # Workers

    @precondition(lambda self: self.running)
    @rule(
        number=index,
        count=st.integers(1, 4),
        nbytes=st.integers(0, 30),
        ends=st.sampled_from(["finish"] * 7 + ["fail", "reschedule", "secede"]),
    )
    def work(self, number: int, count: int, nbytes: int, ends: str) -> None:
        """Some tasks end, one way or another, before anybody reacts."""

        def worked() -> None:
            for place in range(count):
                running = self.running
                if ends == "secede":
                    running = [each for each in running if each[1] not in each[0].seceded]
                if not running:
                    return
                worker, key = self.pick(number + place, running)
                match ends:
                    case "finish":
                        worker.finish(key, worker.running[key], nbytes)
                    case "fail" if self.may_fail(key):
                        worker.fail(key, worker.running[key])
                    case "fail":
                        worker.finish(key, worker.running[key], nbytes)
                    case "reschedule":
                        worker.reschedule(key)
                    case "secede":
                        worker.secede(key)

        self.call(worked)

    @precondition(lambda self: self.running)
    @rule(number=index, nbytes=st.integers(0, 30))
    def finish_one(self, number: int, nbytes: int) -> None:
        """The most common step once more, so that runs come far."""
        self.work(number, 1, nbytes, "finish")

    @precondition(lambda self: any(worker.cancelled for worker in self.workers))
    @rule(number=index, fails=st.booleans())
    def answer_late(self, number: int, fails: bool) -> None:
        """A run ends that the scheduler has taken back."""
        worker = self.pick(number, [worker for worker in self.workers if worker.cancelled])
        key, run_id = worker.cancelled.pop(0)
        if fails and self.may_fail(key):
            self.call(worker.fail, key, run_id)
        else:
            self.call(worker.finish, key, run_id, 10)

    @rule(
        what=st.sampled_from(["join", "leave", "drop", "break", "status", "status", "lose array"]),
        number=index,
        threads=st.integers(1, 2),
        limit=LIMITS,
        status=st.sampled_from(["running", "paused", "closing_gracefully"]),
    )
    def disturb(self, what: str, number: int, threads: int, limit: int | None, status: str) -> None:
        """Workers come and go, pause and resume, and lose what they have."""
        if what == "join" or not self.workers:
            self.join(threads, limit)
            return
        worker = self.pick(number, self.workers)
        match what:
            case "leave" | "drop":
                expected = what == "leave"
                self.run(
                    self.scheduler.remove_worker(
                        worker.address, stimulus_id=what, expected=expected
                    )
                )
            case "break":
                self.call(worker.comm.abort)
            case "status":
                self.call(
                    self.scheduler.handle_worker_status_change, status, worker.address, "status"
                )
            case "lose array" if worker.spare:
                self.call(worker.lose, self.pick(number, sorted(worker.spare)))

    def join(self, threads: int, limit: int | None) -> None:
        worker = FakeWorker(self.scheduler, self.joined, threads)
        # An address may come back.
        self.joined = (self.joined + 1) % 6
        if worker.address in self.scheduler.workers:
            return

        async def joined() -> None:
            await worker.join()
            self.workers.append(worker)

        self.run(joined())
        self.call(worker.introduce, limit)

    # Reports

    @precondition(lambda self: self.workers)
    @rule(
        number=index,
        moves=st.lists(st.tuples(index, st.sampled_from(["load", "evict"])), max_size=6),
        snapshot=st.none() | st.lists(index, max_size=6, unique=True),
        lost=st.sampled_from([0, 0, 3]),
    )
    def report(
        self,
        number: int,
        moves: list[tuple[int, str]],
        snapshot: list[int] | None,
        lost: int,
    ) -> None:
        """A worker reports: of its own arrays, of others', and of some that nobody knows."""
        worker = self.pick(number, self.workers)
        keys = ["unknown", *self.scheduler.tasks]

        def reported() -> None:
            message = worker.report(
                [(self.pick(key, keys), direction) for key, direction in moves],
                None if snapshot is None else [self.pick(key, keys) for key in snapshot],
                lost=lost,
            )
            self.said.append((worker, message))

        self.call(reported)

    @precondition(lambda self: self.said)
    @rule(number=index, limit=st.none() | LIMITS)
    def report_late_or_again(self, number: int, limit: int | None) -> None:
        """Say something a second time, or introduce the worker again with another limit."""
        worker, message = self.pick(number, self.said)
        if limit is None:
            self.call(worker.say, message)
        elif not worker.gone:
            self.call(worker.introduce, limit)

    # Us

    @precondition(lambda self: self.plugin is not None)
    @rule(seconds=st.sampled_from([0.001, 0.1, HOLD_LIMIT]))
    def check(self, seconds: float) -> None:
        """Time passes, and the plugin looks around."""
        self.clock.now += seconds
        self.call(self.plugin._periodic_check)

    @rule(
        what=st.sampled_from(
            ["install", "uninstall", "unregister", "mode", "mode", "policy", "restart"]
        ),
        number=index,
    )
    def rearrange(self, what: str, number: int) -> None:
        """Come, go, and change what the plugin does, in the middle of it all."""
        match what:
            case "restart":
                self.run(self.scheduler.restart(wait_for_workers=False, stimulus_id="restart"))
            case _ if self.plugin is None or what == "install":
                self.install(number)
            case "uninstall":
                self.uninstall()
            case "unregister":
                self.unregister()
            case "mode":
                self.call(self.plugin.set_mode, self.pick(number, MODES))
            case "policy":
                self.call(self.plugin.set_policy, self.pick(number, [*POLICIES, "stock"]))

    def install(self, number: int) -> None:
        """Install, over an old plugin if there is one."""
        mode = self.pick(number, ["manage", "manage", "observe"])
        self.plugin = MLSchedulerPlugin(mode=mode, **self.settings)
        self.run(self.scheduler.register_scheduler_plugin(self.plugin, idempotent=False))

    def uninstall(self) -> None:
        plugin, self.plugin = self.plugin, None
        assert plugin is not None
        self.run(plugin.uninstall())
        assert_nothing_left(self.scheduler)
        assert_no_errors(plugin)

    def unregister(self) -> None:
        """Take the plugin away behind its back; it notices at its next check."""
        plugin, self.plugin = self.plugin, None
        assert plugin is not None
        self.run(self.scheduler.unregister_scheduler_plugin("mlsched"))
        self.call(plugin._periodic_check)
        assert_nothing_left(self.scheduler)
        assert_no_errors(plugin)

    @precondition(lambda self: self.ours)
    @rule(number=index, where=index, what=st.sampled_from(["worker", "worker", "host", "nothing"]))
    def restrict(self, number: int, where: int, what: str) -> None:
        """Somebody restricts a task that is ours."""
        ts = self.pick(number, self.ours)
        addresses = [worker.address for worker in self.workers]
        if what == "host":
            ts.host_restrictions = {"127.0.0.1"}
        elif what == "worker" and addresses:
            self.scheduler.set_restrictions({ts.key: [self.pick(where, addresses)]})
        else:
            self.scheduler.set_restrictions({ts.key: None})

    # What must hold

    @property
    def wanted(self) -> list[str]:
        return sorted(ts.key for ts in self.scheduler.clients[CLIENT].wants_what)

    @property
    def ours(self) -> list[TaskState]:
        return [ts for ts in self.scheduler.tasks.values() if parking.is_ours(ts)]

    @property
    def can_be_cancelled(self) -> list[str]:
        """What is wanted, and all that depends on it as well: Dask asserts that."""

        def wanted_with_dependents(ts: TaskState) -> bool:
            return bool(ts.who_wants) and all(map(wanted_with_dependents, ts.dependents))

        return [key for key in self.wanted if wanted_with_dependents(self.scheduler.tasks[key])]

    def may_fail(self, key: str) -> bool:
        """Tell whether nothing made from the task is in memory.

        When such an array is lost later, Dask recomputes it, asserts that no input has erred, and
        stops there: with validation on, it has no way on from an array whose input has erred.
        """
        ts = self.scheduler.tasks.get(key)
        stack, seen = [ts] if ts else [], set()
        while stack:
            for dependent in stack.pop().dependents - seen:
                if dependent.who_has:
                    return False
                seen.add(dependent)
                stack.append(dependent)
        return True

    @property
    def running(self) -> list[tuple[FakeWorker, str]]:
        return [(worker, key) for worker in self.workers for key in worker.running]

    @invariant()
    def dask_is_valid_and_we_are_in_step(self) -> None:
        if not hasattr(self, "scheduler"):
            return
        self.valid = False
        self.scheduler.validate_state()
        if self.plugin is not None:
            assert_no_errors(self.plugin)
            assert_in_step(self.plugin)
        self.valid = True

    def teardown(self) -> None:
        try:
            if hasattr(self, "scheduler"):
                if self.valid:
                    self.everything_ends()
                self.loop.thaw()
                self.run(self.closed())
        finally:
            self.runner.close()
            self.loop.close()  # the runner knows nothing of it before its first run
            self.patch.undo()
            logging.disable(self.logging)

    def everything_ends(self) -> None:
        """Let everybody behave; what is wanted must then come to an end."""
        if not any(ws.status.name == "running" for ws in self.scheduler.workers.values()):
            self.join(1, None)
        idle = 0
        for step in range(3_000):
            self.dask_is_valid_and_we_are_in_step()
            unfinished = [key for key in self.wanted if not self.has_ended(key)]
            if not unfinished:
                break
            idle = 0 if self.running else idle + 1
            assert idle < 10, self.stuck(unfinished)
            if self.running:
                self.work(step, 1, 10, "finish")
            elif self.plugin is not None:
                self.check(HOLD_LIMIT)
        else:
            raise AssertionError(self.stuck(unfinished))
        if self.plugin is not None:
            self.uninstall()
        assert_nothing_left(self.scheduler)

    def has_ended(self, key: str) -> bool:
        # A user may have sent a task to a worker that is not there; Dask waits for it as well.
        return self.scheduler.tasks[key].state in ("memory", "erred") or self.waits_for_a_user(key)

    def waits_for_a_user(self, key: str) -> bool:
        """Tell whether something that the task needs may not run where there is a worker."""
        stack, seen = [self.scheduler.tasks[key]], set()
        while stack:
            ts = stack.pop()
            if ts in seen or ts.state == "memory":
                continue
            seen.add(ts)
            if ts.worker_restrictions and not parking.is_ours(ts):
                running = {ws.address for ws in self.scheduler.running}
                if not ts.worker_restrictions & running and not ts.host_restrictions:
                    return True
            stack += ts.dependencies
        return False

    def stuck(self, unfinished: list[str]) -> str:
        states = {key: ts.state for key, ts in self.scheduler.tasks.items()}
        return f"{unfinished} do not end: {states}, {self.running}"

    async def closed(self) -> None:
        for worker in self.workers:
            worker.comm.abort()
        await self.settle()
        await self.scheduler.close()
        for _ in range(3):
            await asyncio.sleep(0)


@pytest.mark.slow
@pytest.mark.timeout(120 if PROFILE == "default" else 0)
def test_every_wanted_key_ends_and_nothing_stays_parked():
    random.seed(0)
    run_state_machine_as_test(Cluster, settings=PROFILES[PROFILE])
