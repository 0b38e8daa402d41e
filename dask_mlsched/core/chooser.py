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
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from dask_mlsched.core.device import Device
from dask_mlsched.core.events import Hold, Run
from dask_mlsched.core.graph import TaskGraph, TaskState
from dask_mlsched.core.guard import PolicyGuard
from dask_mlsched.core.parked import ParkedTasks
from dask_mlsched.core.policies import Candidate, HoldOption, Policy, Situation

#: Why a task was chosen: by the policy; because it was the only choice; because everything fits
#: in the fast tier, so that order does not matter to memory; because there is no policy, or it
#: is off; because the policy failed this time.
Reason: TypeAlias = Literal["policy", "only choice", "fits", "no policy", "policy failed"]

#: So many dependents of one running task are looked at as successors to wait for.
_SUCCESSORS: Final = 32

#: So many tasks in Dask's order stand beside a policy's own view of the parked tasks.
_IN_ORDER: Final = 4

#: A task of a prefix that has not run yet counts as long as this, as it does in Dask.
_UNKNOWN_SECONDS: Final = 0.5

#: Fetching from another worker takes this long however little it is, as work stealing has it.
_SENDING_SECONDS: Final = 0.01


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
    time_budget: float = 0.05
    failures: int = 10
    seed: int = 0


class Chooser:
    """Decides about single slots, over the controller's tables, which it never changes."""

    #: Whether everything that is known of fits in the fast tiers; worked out once per pass.
    fits: bool
    #: How many runs had which reason.
    reasons: Counter[Reason]
    #: Seconds that recent decisions took, the newest last.
    recent_seconds: deque[float]
    #: Seconds that all decisions took.
    total_seconds: float
    #: Is told of every choice of the policy: the situation, the choice (None: it failed), the guard.
    watcher: Callable[[Situation, int | None, PolicyGuard], None] | None

    def __init__(
        self,
        graph: TaskGraph,
        devices: dict[int, Device],
        levels: dict[float, ParkedTasks],
        policy: Policy | None,
        settings: Settings,
        stopwatch: Callable[[], float],
    ) -> None:
        self._graph = graph
        self._devices = devices
        self._levels = levels
        self._settings = settings
        self._stopwatch = stopwatch
        self._rng = random.Random(settings.seed)
        self.fits = False
        self.guard: PolicyGuard | None = None
        self.watcher = None
        self.set_policy(policy)
        self.reasons = Counter()
        self.recent_seconds = deque(maxlen=10_000)
        self.total_seconds = 0.0

    def set_policy(self, policy: Policy | None) -> None:
        """Ask another policy from the next decision on."""
        self.guard = (
            None
            if policy is None
            else PolicyGuard(
                policy,
                self._stopwatch,
                time_budget=self._settings.time_budget,
                failures=self._settings.failures,
            )
        )

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
        level = self._levels[min(self._levels)]
        device = self._devices[worker]
        reason = self._reason_not_to_ask(device)
        tasks = self._shortlist(level, worker, ask=reason is None)
        if not tasks:
            return None
        if reason is not None:
            return self._run(tasks[0], worker, now, reason, tasks)
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
        if choice < len(candidates):
            task = candidates[choice].task
            return self._run(task, worker, now, "policy", [c.task for c in candidates])
        assert hold is not None  # the guard lets no other index through
        return self._hold(worker, device, hold, now)

    def _reason_not_to_ask(self, device: Device) -> Reason | None:
        if self.guard is None or self.guard.off:
            return "no policy"
        if self.fits and device.residency.all_resident:
            return "fits"
        return None

    def _shortlist(self, level: ParkedTasks, worker: int, *, ask: bool) -> list[int]:
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
                tasks += [t for t in level.in_order(worker, _IN_ORDER) if t not in tasks]
        return tasks or self._from_elsewhere(level, worker)

    def _from_elsewhere(self, level: ParkedTasks, worker: int) -> list[int]:
        """Take a task away from its home, for a thread that would have nothing to do.

        A lookahead slot takes one only where the inputs are there already.
        """
        device, graph = self._devices[worker], self._graph
        home = level.busiest_home(besides=worker)
        if home is None:
            return []
        tasks = level.at_home_in_order(home, _IN_ORDER)
        bytes_to_send = {task: self._bytes_to_send(task, worker) for task in tasks}
        task = min(tasks, key=lambda t: (bytes_to_send[t], graph.order(t)))
        nothing_to_send = not bytes_to_send[task]
        if len(device.in_flight) >= device.threads and not nothing_to_send:
            return []
        # Tasks of lower user priority wait behind this level, so it may not leave a thread idle.
        if len(self._levels) == 1:
            finished = graph.prefixes[graph.prefix[task]].finished
            seconds = graph.expected_seconds(task) if finished else _UNKNOWN_SECONDS
            there = self._devices[home]
            # What its idle threads take at once does not wait.
            waiting = level.home_count(home) - max(0, there.threads - len(there.in_flight))
            waiting_there = waiting / there.threads * seconds
            sending = bytes_to_send[task] / self._settings.network_bandwidth
            sending += 0.0 if nothing_to_send else _SENDING_SECONDS
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
        until = min(self._idle_from(device, now) + saved, now + self._settings.hold_limit)
        if device.hold_until is not None:
            until = min(until, device.hold_until)
        return HoldOption(until, successor, missing, saved) if until > now else None

    def _nearest_successor(
        self, device: Device, fewest: int, user_priority: float
    ) -> tuple[int, int] | None:
        """Find the task that a running one makes ready and that misses less than `fewest` bytes."""
        graph, residency = self._graph, device.residency
        best: tuple[int, int] | None = None
        for running in device.in_flight:
            looked_at = 0
            for successor in graph.dependents[running]:
                if graph.unfinished[successor] != 1 or graph.state[successor] != TaskState.WAITING:
                    continue
                if graph.priority[successor][0] > user_priority:
                    continue  # once ready, it would still stand behind the tasks at hand
                looked_at += 1
                if looked_at > _SUCCESSORS:
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
