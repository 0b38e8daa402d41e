"""The machine that a trace was recorded on, as a simulation plays it, with costs fitted to the run.

Copies have a latency and a bandwidth per direction (`costs.fit_copies`), and so have answers of one
worker to another (`sends`). What is left is messages and event loops (`overheads`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import median
from typing import Final

import numpy as np

from dask_mlsched.core import events as ev
from dask_mlsched.core.chooser import Settings
from dask_mlsched.core.costs import CopyCost, CopyFit, Costs, fit_copies
from dask_mlsched.core.machine import Machine, SimulationError
from dask_mlsched.core.overheads import overheads
from dask_mlsched.core.planners.taken import Differences
from dask_mlsched.core.planners.taken import Taken as TakenPlanner
from dask_mlsched.core.run_workers import run_workers
from dask_mlsched.core.sends import bytes_sent_again, fit_sends
from dask_mlsched.core.simulator import SimulatedRun, simulate
from dask_mlsched.core.taken import Taken, taken
from dask_mlsched.core.trace import Copy, Fetch, PolicySwitched, Step, Trace

#: Results that take less of the fast tiers, as sums do, change no figure that people see.
_RELEASED_SHARE: Final = 0.01


@dataclass(frozen=True, slots=True)
class Figures:
    """What a run came to, live or simulated."""

    #: Seconds from the first task that was sent to the last that was heard of.
    makespan: float
    bytes_loaded: int
    bytes_evicted: int
    #: From one worker to another; 0 for a trace in which nobody said so.
    bytes_sent: int = 0


@dataclass(frozen=True)
class Calibration:
    """A recorded run, ready to be simulated."""

    #: Its decisions, and its DAG with measured sizes and times.
    taken: Taken
    machine: Machine
    settings: Settings
    #: Whether Dask decided alone when the first task began, while we observed.
    stock: bool
    #: What was fitted; None for a direction in which nothing was copied, or heard of.
    load: CopyFit | None
    evict: CopyFit | None
    send: CopyFit | None
    #: What was measured.
    live: Figures
    #: Bytes that workers fetched although they had held them before; see `bytes_sent_again`.
    sent_again: int = 0
    #: What differs between its workers, in one line; None if they were equal from the first task to
    #: the last. If they were not, `machine` has so many of the smallest, and its figures are none
    #: of the run's.
    unequal: str | None = None

    @property
    def left_over(self) -> int:
        """How many arrays the run read that none of its tasks made; see `left_over_bytes`."""
        return int(np.count_nonzero(self.taken.dag.given_inputs))

    @property
    def left_over_bytes(self) -> int:
        """Bytes of the arrays that the run read and none of its tasks made.

        An earlier run left them behind, or a client scattered them. A simulation begins with them
        in the slow tier, so that it has to load them; whether the run had to, nobody can tell. If
        there are any, loads that are simulated or bounded are no measure of the run.
        """
        dag = self.taken.dag
        return int(dag.nbytes[dag.given_inputs].sum())

    @property
    def released_bytes(self) -> int:
        """Bytes of results that were released while the run went on.

        A simulation keeps all results to its end, as they would be wanted then. Where that is much
        of the fast tiers, what it evicts is no measure of the run, nor is the bound on evictions.
        """
        return int(self.taken.dag.nbytes[list(self.taken.released)].sum())

    @property
    def released_much(self) -> bool:
        """Whether they would take a share of the fast tiers, if they were kept, that people see."""
        limit = self.machine.limit
        if limit is None:
            return False
        return self.released_bytes > _RELEASED_SHARE * self.machine.workers * limit


@dataclass(frozen=True)
class Repetition:
    """The decisions of a trace, taken again in a simulation."""

    run: SimulatedRun
    #: Empty for stock.
    differences: Differences

    @property
    def figures(self) -> Figures:
        """What it came to."""
        run = self.run
        return Figures(run.makespan, run.bytes_loaded, run.bytes_evicted, run.bytes_sent)


def calibrate(trace: Trace, name: str = "trace") -> Calibration:
    """Fit a machine to a recorded run.

    Parameters
    ----------
    trace
        May be cut: what stands in it counts.
    name
        The DAG's name.

    Raises
    ------
    SimulationError
        If no task has ended in the trace.
    """
    decisions = taken(trace, name)
    if not decisions.sent:
        msg = "no task of this trace has ended; expected a trace of a run that got so far"
        raise SimulationError(msg)
    copies, fetches = list(trace.copies()), list(trace.fetches())
    load, evict = _fit(copies, loaded=True), _fit(copies, loaded=False)
    send = fit_sends(fetches, copies)
    settings = trace.header.settings
    assumed = CopyCost(settings.bandwidth)
    fitted = load or evict
    costs = Costs(
        load=load.cost if load else fitted.cost if fitted else assumed,
        evict=evict.cost if evict else fitted.cost if fitted else assumed,
        send=send.cost if send else CopyCost(settings.network_bandwidth),
        decision=_decision_seconds(trace),
    )
    message, task = overheads(trace, copies, fetches, costs)
    costs = replace(costs, message=message, task=task)
    workers = run_workers(trace)
    machine = Machine(
        limit=workers.limit,
        workers=workers.count,
        threads=workers.threads,
        costs=costs,
        keep_clean=settings.keep_clean,
        overlap=settings.overlap,
    )
    stock = trace.header.mode != "manage" or _asked_first(trace) == "stock"
    live = _live(trace, copies, fetches)
    again = bytes_sent_again(trace)
    return Calibration(
        decisions, machine, settings, stock, load, evict, send, live, again, workers.unequal
    )


def repeat(calibration: Calibration, machine: Machine | None = None) -> Repetition:
    """Simulate the decisions of a recorded run.

    Parameters
    ----------
    machine
        Instead of the one that was fitted; with as many workers.

    Raises
    ------
    SimulationError
        If a task does not fit the machine.
    """
    dag, sent = calibration.taken.dag, calibration.taken.sent
    planner = None if calibration.stock else TakenPlanner(sent)
    run = simulate(
        dag,
        machine or calibration.machine,
        planner,
        # The DAG of a trace stands in Dask's order.
        order=np.arange(len(dag)),
        settings=calibration.settings,
        stock=calibration.stock,
        sent=sent,
    )
    return Repetition(run, Differences() if planner is None else planner.differences)


def _asked_first(trace: Trace) -> str:
    """Return the policy that was in force when the first task began: it may have been switched."""
    policy = trace.header.policy
    for entry in trace.entries:
        if isinstance(entry, PolicySwitched):
            policy = entry.policy
        elif isinstance(entry, Step) and (
            isinstance(entry.event, ev.TaskStarted)
            or any(isinstance(each, ev.Run) for each in entry.instructions)
        ):
            break
    return policy


def _fit(copies: Sequence[Copy], *, loaded: bool) -> CopyFit | None:
    # A copy that took no time was none: the slow tier had the array still.
    real = [c for c in copies if c.loaded == loaded and c.nbytes > 0 and c.seconds > 0]
    if not real:
        return None
    return fit_copies([copy.nbytes for copy in real], [copy.seconds for copy in real])


def _live(trace: Trace, copies: Sequence[Copy], fetches: Sequence[Fetch]) -> Figures:
    begun = min(event.time for event in trace.events() if isinstance(event, ev.TaskStarted))
    ended = max(event.time for event in trace.events() if isinstance(event, ev.TaskFinished))
    real = [copy for copy in copies if copy.seconds > 0]
    return Figures(
        ended - begun,
        sum(copy.nbytes for copy in real if copy.loaded),
        sum(copy.nbytes for copy in real if not copy.loaded),
        sum(fetch.nbytes for fetch in fetches),
    )


def _decision_seconds(trace: Trace) -> float:
    """Return the median over passes of what one instruction took."""
    took = [
        (step.readings[-1] - step.readings[0]) * 1e-9 / len(step.instructions)
        for step in trace.steps()
        if step.instructions and step.readings
    ]
    return median(took) if took else 0.0


def with_costs(machine: Machine, costs: Sequence[Costs]) -> Machine:
    """Return a machine whose messages and event loops are as quick as others are at the median."""
    return replace(
        machine,
        costs=replace(
            machine.costs,
            message=median(each.message for each in costs),
            decision=median(each.decision for each in costs),
            task=median(each.task for each in costs),
        ),
    )
