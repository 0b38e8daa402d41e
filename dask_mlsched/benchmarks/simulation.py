"""Simulated runs of one DAG under several policies: figures, schedules, a table."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from rich import box
from rich.table import Table

from dask_mlsched.benchmarks.dask_order import dask_order
from dask_mlsched.benchmarks.report import megabytes
from dask_mlsched.core.calibration import Figures
from dask_mlsched.core.chooser import Settings
from dask_mlsched.core.compiled.rollout import EVICTIONS
from dask_mlsched.core.controller import Controller
from dask_mlsched.core.costs import Bounds, bounds
from dask_mlsched.core.dag import Dag, Integers
from dask_mlsched.core.eviction import Belady, Ordered
from dask_mlsched.core.machine import Machine, check_fits
from dask_mlsched.core.planners.learned import Learned
from dask_mlsched.core.planners.taken import Taken
from dask_mlsched.core.policies import Policy
from dask_mlsched.core.simulator import SimulatedRun, simulate
from dask_mlsched.core.taken import Sent
from dask_mlsched.learning.served import Specialised, make
from dask_mlsched.learning.specialise import RUNS, after, specialise

#: Called with the number of policies that are done.
OnPolicy = Callable[[int], None]


@dataclass(frozen=True)
class Result:
    """What one policy came to."""

    policy: str
    eviction: str
    run: SimulatedRun
    #: Seconds that the simulation took, decisions included.
    wall_seconds: float

    def decision_seconds(self, percentile: float) -> float:
        """Seconds that a decision took at a percentile; 0 where nothing was decided."""
        recent = self.run.decision_seconds
        return float(np.percentile(recent, percentile)) if len(recent) else 0.0


@dataclass(frozen=True)
class Simulation:
    """All policies on one DAG and one machine."""

    dag: Dag
    machine: Machine
    bounds: Bounds
    results: Sequence[Result]
    #: What was measured in the run that the DAG comes from, if it was one.
    live: Figures | None = None


def simulate_policies(
    dag: Dag,
    machine: Machine,
    names: Sequence[str],
    *,
    lookahead: int = 1,
    eviction: str = "lru",
    seed: int = 0,
    order: Integers | None = None,
    on_policy: OnPolicy | None = None,
) -> Simulation:
    """Run a DAG under each policy in turn; without an `order`, in that which Dask would give it.

    Raises
    ------
    SimulationError
        If a task does not fit the machine.
    ValueError
        If there is no policy or eviction rule of a name.
    """
    check_fits(dag, machine.limit)
    order = dask_order(dag) if order is None else order
    settings = Settings(
        lookahead=lookahead,
        bandwidth=machine.costs.load.bandwidth,
        network_bandwidth=machine.costs.send.bandwidth,
        eviction=eviction,
        keep_clean=machine.keep_clean,
        seed=seed,
    )

    def once(policy: Policy | None, **options: Any) -> SimulatedRun:
        rng = np.random.default_rng(seed)
        timed = {"stopwatch": time.perf_counter, **options}
        return simulate(dag, machine, policy, order=order, rng=rng, **timed)

    results = []
    for number, name in enumerate(names):
        policy = make(name, seed)
        if isinstance(policy, Learned):
            policy.prepare()  # compiled code is loaded before the clock runs
        started = time.perf_counter()
        if isinstance(policy, Specialised) and not _specialise(
            policy, dag, machine, settings, order
        ):
            policy = None
        if policy is None:
            run = once(None, stock=True)
        elif eviction == "belady" and not isinstance(policy, Ordered):
            run = _with_belady(once, policy, settings)
        else:
            run = once(policy, settings=settings)
        wall_seconds = time.perf_counter() - started
        # Dask alone leaves evicting to the store, whatever the rule.
        results.append(Result(name, "lru" if name == "stock" else eviction, run, wall_seconds))
        if on_policy is not None:
            on_policy(number + 1)
    least = bounds(
        dag, machine.limit, machine.costs, workers=machine.workers, threads=machine.threads
    )
    return Simulation(dag, machine, least, results)


def _specialise(
    policy: Specialised, dag: Dag, machine: Machine, settings: Settings, order: Integers
) -> bool:
    """Specialise a policy to a DAG; False if Dask alone is better than all that was tried.

    By a number of runs, and not by time, so that the same seed gives the same result.
    """
    if settings.eviction not in EVICTIONS:
        settings = replace(settings, eviction="lru")  # the rule that needs a run beforehand
    found = specialise(
        dag,
        machine,
        settings,
        order,
        policy.network,
        expired=after(RUNS),
        rng=np.random.default_rng(settings.seed),
    )
    guide = None if found.guide is None else dict(enumerate(found.guide.tolist()))
    policy.serve(found.network, may_hold=found.may_hold, guide=guide)
    return found.arm != "stock"


def _with_belady(
    once: Callable[..., SimulatedRun], policy: Policy, settings: Settings
) -> SimulatedRun:
    """Simulate twice: with the store's own evictions, and the same order with the best ones for it.

    Belady's rule needs the order of all tasks beforehand, which is that of the first run.
    """
    settings = replace(settings, eviction="lru")
    first = once(policy, settings=settings)
    place = {record.task: float(at) for at, record in enumerate(first.schedule)}

    def with_rule(*arguments: Any) -> Controller:
        controller = Controller(*arguments)
        controller.chooser.rule = Belady(place)
        return controller

    again = Taken(Sent(record.task, record.worker) for record in first.schedule)
    second = once(again, settings=settings, controller=with_rule)
    return replace(
        second,
        holds=first.holds,
        hold_seconds=first.hold_seconds,
        decisions=first.decisions,
        decision_seconds=first.decision_seconds,
    )


def as_json(simulation: Simulation) -> dict[str, Any]:
    """Return what `dask mlsched simulate --json` prints; bytes are integers, times seconds."""
    machine, least = simulation.machine, simulation.bounds
    live = None if simulation.live is None else asdict(simulation.live)
    if live is not None:
        del live["bytes_sent"]  # as of the results, beside which it stands
    return {
        "graph": simulation.dag.name,
        "device_memory": machine.limit,
        "bandwidth": machine.costs.load.bandwidth,
        "workers": machine.workers,
        **({} if live is None else {"live": live}),
        "bounds": {
            "bytes_loaded": least.bytes_loaded,
            "bytes_moved": least.bytes_moved,
            "makespan": least.makespan,
        },
        "results": [
            {
                "policy": result.policy,
                "eviction": result.eviction,
                "makespan": result.run.makespan,
                "bytes_loaded": result.run.bytes_loaded,
                "bytes_evicted": result.run.bytes_evicted,
                "decisions": result.run.decisions,
                "holds": result.run.holds,
                "decision_seconds_p50": result.decision_seconds(50),
                "decision_seconds_p99": result.decision_seconds(99),
                "wall_seconds": result.wall_seconds,
            }
            for result in simulation.results
        ],
    }


def schedules_as_json(simulation: Simulation) -> dict[str, Any]:
    """Return a schedule file: every task of every policy, in the order in which they started."""
    keys = simulation.dag.keys
    return {
        "format": "mlsched-schedule",
        "version": 1,
        "schedules": [
            {
                "policy": result.policy,
                "tasks": [
                    {
                        "key": keys[record.task],
                        "worker": record.worker,
                        "start": record.start,
                        "end": record.end,
                        "loaded": [keys[array] for array in record.loaded],
                        "evicted": [keys[array] for array in record.evicted],
                    }
                    for record in result.run.schedule
                ],
            }
            for result in simulation.results
        ],
    }


def table(simulation: Simulation) -> Table:
    """Lay the results out for a terminal, best bounds last."""
    result = Table(
        title=f"{simulation.dag.name}: {len(simulation.dag)} tasks, simulated",
        box=box.SIMPLE_HEAD,
        padding=0,
    )
    result.add_column("policy", no_wrap=True)
    for heading in ("seconds", "loaded\nMB", "evicted\nMB", "holds", "decision\nus, p50", "p99"):
        result.add_column(heading, justify="right", no_wrap=True)
    live = simulation.live
    if live is not None:
        moved = megabytes(live.bytes_loaded), megabytes(live.bytes_evicted)
        result.add_row("measured live", f"{live.makespan:.4g}", *moved)
    for each in simulation.results:
        result.add_row(
            each.policy,
            f"{each.run.makespan:.4g}",
            megabytes(each.run.bytes_loaded),
            megabytes(each.run.bytes_evicted),
            str(each.run.holds),
            f"{each.decision_seconds(50) * 1e6:.0f}",
            f"{each.decision_seconds(99) * 1e6:.0f}",
        )
    least = simulation.bounds
    result.add_section()
    result.add_row(
        "no less than",
        f"{least.makespan:.4g}",
        megabytes(least.bytes_loaded),
        megabytes(least.bytes_moved - least.bytes_loaded),
    )
    return result
