"""The controller under anything that Dask, its workers, clients and policies can do.

After every event all tables are checked against each other (`consistency`). At
the end every task that can be done gets done, by deciding, finishing tasks and
waiting for the deadlines of holds alone; and once all are forgotten, nothing is
left behind.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from core.consistency import check_empty
from core.driver import ACTIVE, Ticking, VirtualDask
from core.graphs import Drawn
from core.planners.contract import ErraticPlanner, TrackingPlanner, check_planners
from core.scripted import Scripted, first, hold
from dask_mlsched.core import events as ev
from dask_mlsched.core.eviction import RULES
from dask_mlsched.core.policies import PLANNERS, Greedy, GreedyHold, Policy, Situation, make

#: Around the limits on devices: some arrays are nothing, some fit by themselves, some nowhere.
NBYTES = st.sampled_from([0, 1, 5, 10, 10, 20, 20, 40, 90, 150])
LIMITS = st.sampled_from([None, 1, 50, 50, 100, 100])
WORKERS = st.integers(0, 3)
KEPT = 40


class DrawnTask(NamedTuple):
    nbytes: int
    seconds: float
    #: How far back, among all that is known, each input is.
    inputs: list[int]
    wanted: bool
    dasks_own: bool


TASKS = st.builds(
    DrawnTask,
    NBYTES,
    st.sampled_from([0.0, 0.004, 0.5, 1.0, 2.5, 4.0]),
    st.lists(st.integers(1, 10), min_size=1, max_size=3, unique=True),
    st.sampled_from([False] * 5 + [True]),
    st.sampled_from([False] * 9 + [True]),
)


def anything(rng: random.Random) -> Callable[[Situation], list[float]]:
    return lambda at: [rng.random() for _ in range(len(at.candidates) + (at.hold is not None))]


def nonsense(rng: random.Random) -> Callable[[Situation], Any]:
    """Fail in every way, and answer well now and then."""

    def score(at: Situation) -> Any:
        answer = rng.choice(["raise", "nan", "short", "none", "hold", "first"])
        if answer == "raise":
            raise ZeroDivisionError
        nan = [math.nan] * len(hold(at))
        return {"nan": nan, "short": [], "none": None, "hold": hold(at)}.get(answer, first(at))

    return score


POLICIES: dict[str, Callable[[random.Random], Policy | None]] = {
    "stock": lambda _: None,
    "greedy": lambda _: Greedy(),
    "greedy-hold": lambda _: GreedyHold(),
    "always holds": lambda _: Scripted(hold),
    "holds or runs": lambda rng: Scripted(anything(rng)),
    "holds or runs the oldest": lambda rng: Scripted(anything(rng), view="oldest", shortlist=3),
    "holds or runs any": lambda rng: Scripted(anything(rng), view="any", shortlist=3),
    "fails": lambda rng: Scripted(nonsense(rng)),
    "plans the oldest": lambda _: TrackingPlanner(),
    "plans nonsense": ErraticPlanner,
    **{name: partial(make, name) for name in PLANNERS},
}


class ControllerMachine(RuleBasedStateMachine):
    #: What plays Dask to the controller, and what makes the policy of an example once more.
    dask_class = VirtualDask
    same_policy: Callable[[], Policy | None]

    @initialize(
        policy=st.sampled_from(sorted(POLICIES)),
        seed=st.integers(0, 5),
        lookahead=st.integers(0, 2),
        round_trip=st.sampled_from([0.0, 0.5]),
        bandwidth=st.sampled_from([1.0, 100.0]),
        failures=st.sampled_from([1, 5, 1000]),
        time_budget=st.sampled_from([1.0, 1.0, 1.0, 0.0]),
        # Belady's needs the order beforehand, which one of the policies brings.
        eviction=st.sampled_from([rule for rule in RULES if rule != "belady"]),
        keep_clean=st.booleans(),
        workers=st.lists(st.tuples(st.integers(1, 3), LIMITS), min_size=1, max_size=3),
        tasks=st.lists(TASKS, min_size=10, max_size=30),
    )
    def start(
        self,
        policy: str,
        seed: int,
        lookahead: int,
        round_trip: float,
        bandwidth: float,
        failures: int,
        time_budget: float,
        eviction: str,
        keep_clean: bool,
        workers: list[tuple[int, int | None]],
        tasks: list[DrawnTask],
    ) -> None:
        self.same_policy = lambda: POLICIES[policy](random.Random(seed))
        self.dask = self.dask_class(
            self.same_policy(),
            stopwatch=Ticking(),
            lookahead=lookahead,
            round_trip=round_trip,
            bandwidth=bandwidth,
            network_bandwidth=bandwidth / 4,
            failures=failures,
            time_budget=time_budget,
            shortlist=8,
            seed=seed,
            eviction=eviction,
            keep_clean=keep_clean,
        )
        self.graphs = 0
        for worker, (threads, limit) in enumerate(workers):
            self.dask.join(worker, threads, limit)
        self.submit(tasks, user=0)
        self.dask.decide()

    def draw(self, data: st.DataObject, *states: Any) -> str:
        return data.draw(st.sampled_from(self.dask.keys(*states)))

    def has(self, *states: Any) -> bool:
        return bool(self.dask.keys(*states))

    # Graphs

    @precondition(lambda self: len(self.dask.tasks) < KEPT)
    @rule(tasks=st.lists(TASKS, min_size=1, max_size=8), user=st.sampled_from([0, 0, 0, 1]))
    def graph_arrives(self, tasks: list[DrawnTask], user: int) -> None:
        self.submit(tasks, user)

    def submit(self, tasks: list[DrawnTask], user: int) -> None:
        """Send new tasks, on top of each other and of what is known already."""
        self.graphs += 1
        known = [key for key, task in self.dask.tasks.items() if task.state != "erred"]
        drawn = Drawn()
        wanted, dasks_own, seconds = [], [], {}
        for i, task in enumerate(tasks):
            key = f"{'pqr'[i % 3]}-{self.graphs}-{i}"
            drawn.dependencies[key] = [known[-back] for back in task.inputs if back <= len(known)]
            drawn.nbytes[key] = task.nbytes
            seconds[key] = task.seconds
            wanted += [key] * task.wanted
            dasks_own += [key] * task.dasks_own
            known.append(key)
        leaves = drawn.dependencies.keys() - {d for ds in drawn.dependencies.values() for d in ds}
        self.dask.submit(
            drawn,
            wanted=sorted(leaves.union(wanted)),
            dasks_own=dasks_own,
            priority=user,
            seconds=seconds,
        )

    @rule(data=st.data(), nbytes=NBYTES)
    def data_is_scattered(self, data: st.DataObject, nbytes: int) -> None:
        if self.dask.workers and len(self.dask.tasks) < KEPT:
            self.graphs += 1
            workers = st.lists(st.sampled_from(sorted(self.dask.workers)), min_size=1, unique=True)
            self.dask.scatter(f"s-{self.graphs}", nbytes, data.draw(workers))

    @precondition(lambda self: self.has("released", "memory", *ACTIVE))
    @rule(data=st.data())
    def dependencies_are_added(self, data: st.DataObject) -> None:
        tasks = self.dask.tasks
        key = self.draw(data, "released", "memory", *ACTIVE)
        older = [
            each
            for each, task in tasks.items()
            if task.born < tasks[key].born and task.state != "erred"
        ]
        if older:
            self.dask.depend(key, data.draw(st.lists(st.sampled_from(older), max_size=3)))

    # Time

    @rule()
    def decide(self) -> None:
        self.dask.decide()

    @invariant()
    def planners_know_what_there_is(self) -> None:
        if hasattr(self, "dask"):
            check_planners(self.dask.controller)

    @rule(places=st.sets(st.integers(0, 3), min_size=1))
    def decide_but_workers_are_gone(self, places: set[int]) -> None:
        self.dask.decide(refuse=places)

    @rule(steps=st.integers(1, 5))
    def advance(self, steps: int) -> None:
        for _ in range(steps):
            time = self.dask.next_time()
            if time is not None:
                self.dask.advance(time)

    @rule(seconds=st.sampled_from([0.001, 0.1, 10.0]))
    def time_passes(self, seconds: float) -> None:
        self.dask.now += seconds

    # Tasks

    @precondition(lambda self: self.has("processing"))
    @rule(data=st.data())
    def task_finishes(self, data: st.DataObject) -> None:
        self.dask.finish(self.draw(data, "processing"))

    @precondition(lambda self: self.has("processing"))
    @rule(data=st.data())
    def task_fails(self, data: st.DataObject) -> None:
        self.dask.fail(self.draw(data, "processing"))

    @precondition(lambda self: self.has("processing"))
    @rule(data=st.data())
    def task_gives_itself_back(self, data: st.DataObject) -> None:
        self.dask.reschedule(self.draw(data, "processing"))

    @precondition(lambda self: self.has("processing"))
    @rule(data=st.data())
    def task_secedes(self, data: st.DataObject) -> None:
        self.dask.secede(self.draw(data, "processing"))

    @precondition(lambda self: self.has("parked") and self.dask.workers)
    @rule(data=st.data())
    def dask_sends_a_task_by_itself(self, data: st.DataObject) -> None:
        worker = data.draw(st.sampled_from(sorted(self.dask.workers)))
        self.dask.start(self.draw(data, "parked"), worker)

    @precondition(lambda self: self.dask.tasks)
    @rule(data=st.data())
    def client_cancels(self, data: st.DataObject) -> None:
        self.dask.cancel(data.draw(st.sampled_from(sorted(self.dask.tasks))))

    @precondition(lambda self: self.dask.tasks)
    @rule(data=st.data())
    def client_releases(self, data: st.DataObject) -> None:
        self.dask.release(data.draw(st.sampled_from(sorted(self.dask.tasks))))

    # Workers

    @rule(worker=WORKERS, threads=st.integers(1, 3), limit=LIMITS)
    def worker_joins(self, worker: int, threads: int, limit: int | None) -> None:
        if worker not in self.dask.workers:
            self.dask.join(worker, threads, limit)

    @rule(worker=WORKERS, told_last=st.booleans())
    def worker_leaves(self, worker: int, told_last: bool) -> None:
        if worker in self.dask.workers:
            self.dask.leave(worker, told_last=told_last)

    @rule(worker=WORKERS)
    def worker_pauses_or_resumes(self, worker: int) -> None:
        if worker in self.dask.workers:
            paused = self.dask.workers[worker].paused
            (self.dask.resume if paused else self.dask.pause)(worker)

    @rule(worker=WORKERS, limit=LIMITS)
    def limit_is_seen(self, worker: int, limit: int | None) -> None:
        if worker in self.dask.workers:
            self.dask.handle(ev.LimitSeen(self.dask.now, worker, limit))

    # Reports: right ones are a matter of luck

    @rule(
        worker=WORKERS,
        moves=st.lists(st.tuples(st.integers(-1, KEPT + 10), st.booleans()), max_size=8),
        nbytes=st.sampled_from([0, 10, 10_000]),
        seconds=st.sampled_from([0.0, 0.5, 100.0]),
    )
    def moves_are_reported(
        self, worker: int, moves: list[tuple[int, bool]], nbytes: int, seconds: float
    ) -> None:
        if worker in self.dask.workers:
            event = ev.ArraysMoved(self.dask.now, worker, tuple(moves), nbytes, seconds)
            self.dask.handle(event)

    @rule(worker=WORKERS, resident=st.lists(st.integers(-1, KEPT + 10), max_size=20))
    def residents_are_reported(self, worker: int, resident: list[int]) -> None:
        if worker in self.dask.workers:
            self.dask.handle(ev.ResidencySeen(self.dask.now, worker, tuple(resident)))

    # The end

    def teardown(self) -> None:
        if not hasattr(self, "dask"):
            return
        dask = self.dask
        if all(worker.paused for worker in dask.workers.values()):
            if len(dask.workers) == 4:
                dask.resume(0)
            else:
                dask.join(next(w for w in range(4) if w not in dask.workers))
        dask.run()
        assert not dask.keys(*ACTIVE)
        for device in dask.controller.devices.values():
            assert not device.in_flight
        held = [device.held_since for device in dask.controller.devices.values()]
        assert held == [None] * len(held)
        for key in sorted(dask.tasks):
            if key in dask.tasks:
                dask.cancel(key)
        assert not dask.tasks
        check_empty(dask.controller)


TestControllerMachine = ControllerMachine.TestCase
TestControllerMachine.settings = settings(
    max_examples=100,
    stateful_step_count=40,
    deadline=None,
    # Not the phase that explains: it traces every line, and takes minutes.
    phases=[Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink],
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
