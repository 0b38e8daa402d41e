"""What to do with one free slot: the shortlist, the safety rules, the reasons.

Nothing here changes a task's state; the chooser reads what the controller
keeps and answers with a `Run`, a `Hold`, or nothing. The safety rules of
holding are here and not in any policy: HOLD is offered only while a task runs
on the worker whose end makes a successor ready that will find more of its
inputs resident than any ready task does, and only until a deadline that the
transfer time saved pays for (the ski-rental rule: Karlin et al., 1988).
"""

from __future__ import annotations

import random
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Final, Literal, TypeAlias

from dask_mlsched.core import eviction
from dask_mlsched.core.counts import RECENT
from dask_mlsched.core.device import Device
from dask_mlsched.core.events import Hold, Run
from dask_mlsched.core.graph import TaskGraph
from dask_mlsched.core.guard import PolicyGuard
from dask_mlsched.core.parked import ParkedTasks
from dask_mlsched.core.planner_guard import PlannerGuard
from dask_mlsched.core.planners.picture import UNKNOWN_SECONDS, Picture
from dask_mlsched.core.planners.planner import Planner
from dask_mlsched.core.policies import Candidate, HoldOption, Policy, Situation
from dask_mlsched.core.recent_choices import RecentChoices

#: Why a task was chosen: by the policy; because it was the only choice; because everything fits
#: in the fast tier, so that order does not matter to memory; because there is no policy, or it
#: is off; because the policy failed this time; because a planner had nothing for any worker, and
#: nothing would ever have changed that.
Reason: TypeAlias = Literal[
    "policy", "only choice", "fits", "no policy", "policy failed", "nothing planned"
]

#: So many dependents of one running task are looked at as successors to wait for.
SUCCESSORS: Final = 32

#: So many tasks in Dask's order stand beside a policy's own view of the parked tasks.
IN_ORDER: Final = 4

#: Fetching from another worker takes this long however little it is, as work stealing has it.
SENDING_SECONDS: Final = 0.01


@dataclass(frozen=True, slots=True)
class Settings:
    """What a user may set; see the configuration reference for the meaning of each."""

    lookahead: int = 1
    shortlist: int = 32
    #: Bytes per second between the tiers, and between workers, until measured.
    bandwidth: float = 10e9
    network_bandwidth: float = 100e6
    #: Seconds.
    hold_limit: float = 1.0
    #: Seconds that it takes to tell of the end of a task and to send the next one; 0 if no time.
    round_trip: float = 0.0
    time_budget: float = 0.05
    failures: int = 10
    seed: int = 0
    #: The name of the eviction rule; a planner may bring its own.
    eviction: str = "lru"
    #: Whether the workers' stores drop an array for free of which they have a copy below.
    keep_clean: bool = False
    #: Whether they copy beside computing, and load ahead what a task reads that waits for a thread.
    overlap: bool = False


class Chooser:
    """Decides about single slots, over the controller's tables, which it never changes."""

    #: Whether everything that is known of fits in the fast tiers; worked out once per pass.
    fits: bool
    #: How many runs had which reason.
    reasons: Counter[str]
    #: Seconds that recent decisions took, the newest last.
    recent_seconds: deque[float]
    #: Seconds that all decisions took.
    total_seconds: float
    #: Is told of each choice of the policy: the situation, the choice (None: it failed), the guard.
    watcher: Callable[[Situation, int | None, PolicyGuard], None] | None
    #: The guard of a policy that plans; None if the policy does not.
    planners: PlannerGuard | None
    #: Names victims when a task needs room.
    rule: eviction.EvictionRule
    #: What was chosen of late among several tasks; of a policy that plans, nothing is known.
    recent: RecentChoices

    def __init__(
        self,
        graph: TaskGraph,
        devices: dict[int, Device],
        levels: dict[float, ParkedTasks],
        policy: Policy | None,
        settings: Settings,
        stopwatch: Callable[[], float],
        on_workers: Mapping[int, int],
    ) -> None:
        self._graph = graph
        self._devices = devices
        self._levels = levels
        self._settings = settings
        self._stopwatch = stopwatch
        self._rng = random.Random(settings.seed)
        self.fits = False
        #: What planners see; the controller sets its time.
        self.picture = Picture(
            graph,
            devices,
            levels,
            on_workers,
            settings.network_bandwidth,
            settings.hold_limit,
            settings.shortlist,
        )
        self.guard: PolicyGuard | None = None
        #: Failures of policies that were asked before this one, and the last of them.
        self.failures_before = 0
        self.last_failure_before: str | None = None
        self.watcher = None
        self.set_policy(policy)
        self.reasons = Counter()
        self.recent_seconds = deque(maxlen=RECENT)
        self.total_seconds = 0.0
        self.recent = RecentChoices()

    @property
    def policy_failures(self) -> int:
        """Decisions in which a policy failed, whichever was asked at the time."""
        return self.failures_before + (0 if self.guard is None else self.guard.failures)

    @property
    def last_policy_failure(self) -> str | None:
        """What the last of these was; None without any."""
        now = None if self.guard is None else self.guard.last_failure
        return now or self.last_failure_before

    def set_policy(self, policy: Policy | None) -> None:
        """Ask another policy from the next decision on."""
        settings = self._settings
        self.last_failure_before = self.last_policy_failure
        self.failures_before = self.policy_failures
        self.guard = self.planners = None
        rule = settings.eviction
        if isinstance(policy, Planner):
            self.guard = self.planners = PlannerGuard(
                policy,
                self.picture,
                self._stopwatch,
                time_budget=settings.time_budget,
                failures=settings.failures,
            )
            rule = policy.eviction or rule
        elif policy is not None:
            self.guard = PolicyGuard(
                policy,
                self._stopwatch,
                time_budget=settings.time_budget,
                failures=settings.failures,
            )
        self.rule = eviction.make(rule, policy, keep_clean=settings.keep_clean)
        self.picture.eviction = rule

    def begin_pass(self) -> None:
        """Work out what all decisions of one pass share."""
        limits = [device.residency.limit for device in self._devices.values()]
        if any(limit is None for limit in limits):
            self.fits = all(limit is None for limit in limits)
            return
        total = self._graph.expected_total_bytes()
        self.fits = total is not None and total <= sum(limit or 0 for limit in limits)

    def decide(self, worker: int, now: float) -> Run | Hold | None:
        """Decide about one free slot of a worker; None if there is nothing to begin."""
        started = self._stopwatch()
        try:
            return self._decide(worker, now)
        finally:
            elapsed = self._stopwatch() - started
            self.recent_seconds.append(elapsed)
            self.total_seconds += elapsed

    def _decide(self, worker: int, now: float) -> Run | Hold | None:
        # The user's priority comes first: only the most urgent level is looked at.
        user_priority = min(self._levels)
        reason = self._reason_not_to_ask(self._devices[worker])
        if reason is not None:
            return self._first_in_order(worker, now, reason)
        if self.planners is not None:
            return self._planned(self.planners, user_priority, worker, now)
        return self._scored(self._levels[user_priority], worker, now)

    def _scored(self, level: ParkedTasks, worker: int, now: float) -> Run | Hold | None:
        device = self._devices[worker]
        tasks = self._shortlist(level, worker, now, ask=True)
        if not tasks:
            return None
        candidates = self._candidates(tasks, device)
        hold = self._hold_option(device, candidates, now)
        if hold is None and len(candidates) == 1:
            return self._run(tasks[0], worker, now, "only choice", tasks)
        situation = Situation(
            now, worker, device.residency.limit, device.residency.resident_bytes, candidates, hold
        )
        assert self.guard is not None  # _reason_not_to_ask
        choice = self.guard.choose(situation)
        if self.watcher is not None:
            self.watcher(situation, choice, self.guard)
        if choice is None:
            in_order = level.in_order(worker, 1) or [candidates[0].task]
            return self._run(in_order[0], worker, now, "policy failed", in_order)
        self.recent.add(situation, choice)
        if choice < len(candidates):
            task = candidates[choice].task
            return self._run(task, worker, now, "policy", [c.task for c in candidates])
        assert hold is not None  # the guard lets no other index through
        return self._hold(worker, device, hold, now)

    def _planned(
        self, planners: PlannerGuard, user_priority: float, worker: int, now: float
    ) -> Run | Hold | None:
        proposed = planners.propose(user_priority, worker, now)
        if self.watcher is not None:
            self._tell_of_proposal(self.watcher, planners, proposed, worker, now)
        if proposed:
            hold = self._allowed(planners.hold(user_priority), worker, now)
            if hold is not None:
                return self._hold(worker, self._devices[worker], hold, now)
            return self._run(proposed[0], worker, now, "policy", proposed)
        if proposed is None:
            return self._first_in_order(worker, now, "policy failed")
        if planners.takes_from_others:
            return self._first_in_order(worker, now, "policy")
        device = self._devices[worker]
        # Tasks of lower user priority wait behind this level, so it may not leave a thread idle.
        if len(self._levels) > 1 and len(device.in_flight) < device.threads:
            return self._first_in_order(worker, now, "nothing planned")
        return None

    def _allowed(self, hold: HoldOption | None, worker: int, now: float) -> HoldOption | None:
        """Cut a planner's hold down to what the rules of safety allow; None if that is nothing."""
        device, graph = self._devices[worker], self._graph
        if hold is None or not device.in_flight or device.residency.limit is None:
            return None
        successor = hold.successor
        if not graph.known(successor) or not graph.will_read(successor):
            return None
        waits_for = [d for d in graph.dependencies[successor] if d in device.in_flight]
        if graph.unfinished[successor] != 1 or len(waits_for) != 1:
            return None
        until = min(hold.until, self._deadline(device, max(0.0, hold.saved_seconds), now))
        return replace(hold, until=until) if until > now else None

    def _tell_of_proposal(
        self,
        watcher: Callable[[Situation, int | None, PolicyGuard], None],
        planners: PlannerGuard,
        proposed: list[int] | None,
        worker: int,
        now: float,
    ) -> None:
        """Describe a planner's proposal as a choice among what it proposed; nothing if nothing."""
        tasks = (
            self._levels[min(self._levels)].in_order(worker, 1) if proposed is None else proposed
        )
        if not tasks:
            return
        device = self._devices[worker]
        candidates = self._candidates(tasks, device)
        residency = device.residency
        situation = Situation(
            now, worker, residency.limit, residency.resident_bytes, candidates, None
        )
        places = [candidate.task for candidate in candidates]
        watcher(situation, places.index(proposed[0]) if proposed else None, planners)

    def _first_in_order(self, worker: int, now: float, reason: Reason) -> Run | None:
        tasks = self._shortlist(self._levels[min(self._levels)], worker, now, ask=False)
        return self._run(tasks[0], worker, now, reason, tasks) if tasks else None

    def keep_alive(self, workers: Iterable[int], now: float) -> Run | None:
        """Run a task in Dask's order where a planner has nothing for any of these workers.

        The controller asks when nothing is in flight: no event would ever come.
        """
        found = (self._first_in_order(worker, now, "nothing planned") for worker in workers)
        return next((run for run in found if run is not None), None)

    def victim(self, task: int, worker: int) -> int | None:
        """Name the next array to evict so that there is room for a task that is about to be sent.

        None if there is room, or if the rest is left to the worker's store.
        """
        if isinstance(self.rule, eviction.Lru):
            return None
        planners = self.planners
        user_priority = self._graph.priority[task][0]
        planner = None if planners is None else planners.planner(user_priority)
        pressure = eviction.pressure(self._graph, self._devices[worker], task, worker, planner)
        if pressure is None:
            return None
        try:
            return self.rule.victim(pressure)
        except Exception as error:
            if planners is None:
                raise
            # The rules are ours; the planner that one asks is not.
            planners.failed_to_tell(error)
            return None

    def _reason_not_to_ask(self, device: Device) -> Reason | None:
        if self.guard is None or self.guard.off:
            return "no policy"
        always = self.planners is not None and self.planners.even_if_fits
        if self.fits and device.residency.all_resident and not always:
            return "fits"
        return None

    def _shortlist(self, level: ParkedTasks, worker: int, now: float, *, ask: bool) -> list[int]:
        if not ask:
            tasks = level.in_order(worker, 1)
        else:
            assert self.guard is not None
            policy = self.guard.policy
            count = max(1, min(policy.shortlist, self._settings.shortlist))
            if policy.view == "oldest":
                tasks = level.oldest(count)
            elif policy.view == "any":
                tasks = level.sample(self._rng, count)
            else:
                tasks = level.nearest(worker, count)
                tasks += [t for t in level.in_order(worker, IN_ORDER) if t not in tasks]
        return tasks or self._from_elsewhere(level, worker, now)

    def _from_elsewhere(self, level: ParkedTasks, worker: int, now: float) -> list[int]:
        """Take a task away from its home, for a thread that would have nothing to do.

        A lookahead slot takes one only where the inputs are there already.
        """
        device, graph = self._devices[worker], self._graph
        home = level.busiest_home(besides=worker)
        if home is None:
            return []
        tasks = level.at_home_in_order(home, IN_ORDER)
        bytes_to_send = {task: self._bytes_to_send(task, worker) for task in tasks}
        task = min(tasks, key=lambda t: (bytes_to_send[t], graph.order(t)))
        nothing_to_send = not bytes_to_send[task]
        if len(device.in_flight) >= device.threads and not nothing_to_send:
            return []
        # Tasks of lower user priority wait behind this level, so it may not leave a thread idle.
        if len(self._levels) == 1:
            finished = graph.prefixes[graph.prefix[task]].finished
            seconds = graph.expected_seconds(task) if finished else UNKNOWN_SECONDS
            there = self._devices[home]
            # One that is stuck, or slow, may stay so for as long as it has been.
            seconds = max(seconds, there.overdue(now))
            # What its idle threads take at once does not wait.
            waiting = level.home_count(home) - max(0, there.threads - len(there.in_flight))
            waiting_there = waiting / there.threads * seconds
            sending = bytes_to_send[task] / self._settings.network_bandwidth
            sending += 0.0 if nothing_to_send else SENDING_SECONDS
            if sending > waiting_there:
                return []
        return [task]

    def _bytes_to_send(self, task: int, worker: int) -> int:
        """Sum the inputs that the worker holds in neither tier."""
        graph, residency = self._graph, self._devices[worker].residency
        return sum(
            graph.nbytes[dep]
            for dep in graph.dependencies[task]
            if dep not in residency and not residency.in_slow_tier(dep)
        )

    def _candidates(self, tasks: list[int], device: Device) -> tuple[Candidate, ...]:
        graph, residency = self._graph, device.residency
        candidates = []
        for task in tasks:
            missing = resident = 0
            for dep in graph.dependencies[task]:
                if dep in residency:
                    resident += graph.nbytes[dep]
                else:
                    missing += graph.nbytes[dep]
            candidates.append(
                Candidate(
                    task,
                    graph.order(task),
                    missing,
                    resident,
                    graph.expected_nbytes(task),
                    root=not graph.dependencies[task],
                )
            )
        candidates.sort(key=lambda candidate: (candidate.priority, candidate.task))
        return tuple(candidates)

    # Holding

    def _hold_option(
        self, device: Device, candidates: tuple[Candidate, ...], now: float
    ) -> HoldOption | None:
        if not device.in_flight or device.residency.limit is None:
            return None
        if device.hold_until is not None and now >= device.hold_until:
            return None
        fewest = min(candidate.missing_bytes for candidate in candidates)
        if fewest == 0:
            return None
        found = self._nearest_successor(device, fewest, candidates[0].priority[0])
        if found is None:
            return None
        successor, missing = found
        saved = device.copy_seconds(fewest - missing)
        until = self._deadline(device, saved, now)
        return HoldOption(until, successor, missing, saved) if until > now else None

    def _deadline(self, device: Device, saved_seconds: float, now: float) -> float:
        """Work out the latest end of a hold that saves so much copying."""
        until = min(self._idle_from(device, now) + saved_seconds, now + self._settings.hold_limit)
        return until if device.hold_until is None else min(until, device.hold_until)

    def _nearest_successor(
        self, device: Device, fewest: int, user_priority: float
    ) -> tuple[int, int] | None:
        """Find the task that a running one makes ready and that misses less than `fewest` bytes."""
        graph, residency = self._graph, device.residency
        best: tuple[int, int] | None = None
        for running in device.in_flight:
            looked_at = 0
            for successor in graph.dependents[running]:
                if graph.unfinished[successor] != 1 or not graph.will_read(successor):
                    continue
                if graph.priority[successor][0] > user_priority:
                    continue  # once ready, it would still stand behind the tasks at hand
                looked_at += 1
                if looked_at > SUCCESSORS:
                    break
                missing = 0
                for dep in graph.dependencies[successor]:
                    if dep not in residency:
                        missing += graph.expected_nbytes(dep)
                if missing < fewest or (
                    best is not None
                    and missing == fewest
                    and graph.priority[successor] < graph.priority[best[0]]
                ):
                    best, fewest = (successor, missing), missing
        return best

    def _idle_from(self, device: Device, now: float) -> float:
        """Estimate when holding begins to cost: once fewer tasks run than there are threads."""
        if len(device.in_flight) < device.threads:
            return now
        ends = [
            max(sent, device.last_end) + self._graph.expected_seconds(task)
            for task, sent in device.in_flight.items()
        ]
        return max(now, min(ends))

    def _hold(self, worker: int, device: Device, hold: HoldOption, now: float) -> Hold | None:
        if device.held_since is not None:
            return None  # it is held already, and the deadline stands
        device.held_since = now
        device.hold_until = hold.until
        return Hold(now, worker, hold.until, hold.saved_seconds)

    def _run(
        self, task: int, worker: int, now: float, reason: Reason, candidates: list[int]
    ) -> Run:
        self.reasons[reason] += 1
        device = self._devices[worker]
        graph = self._graph
        missing = device.residency.missing_bytes(
            (dep, graph.nbytes[dep]) for dep in graph.dependencies[task]
        )
        held = 0.0 if device.held_since is None else now - device.held_since
        return Run(
            now, task, worker, reason, missing, len(candidates), candidates.index(task), held
        )
