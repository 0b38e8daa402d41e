"""How well the simulator foretells live runs: each is recorded, and its decisions taken again.

A live run under a policy gives a trace. From it come the DAG with measured sizes and times, the
machine with fitted costs, and the decisions; the simulator then plays the rest: what is loaded and
evicted, and when. Besides, the trace's events go to a new controller, which has to say the same
again, exactly.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import TypeAlias

import numpy as np

from dask_mlsched.benchmarks.clusters import Conditions
from dask_mlsched.benchmarks.contender import Contender
from dask_mlsched.benchmarks.problem import Parameter
from dask_mlsched.benchmarks.runner import run_arm
from dask_mlsched.benchmarks.workloads import find
from dask_mlsched.core.calibration import Calibration, Figures, calibrate, repeat, with_costs
from dask_mlsched.core.replay import ReplayError, verify
from dask_mlsched.core.trace import Trace
from dask_mlsched.core.trace_codec import decode
from dask_mlsched.learning.served import make

#: Called with what runs next, the runs that are done, and all of them.
OnRun: TypeAlias = Callable[[str, float, int], None]


@dataclass(frozen=True)
class Case:
    """A workload at a size that runs for some seconds."""

    workload: str
    parameters: Mapping[str, Parameter] = field(default_factory=dict)


#: What is compared by default, and with `quick`: every case at every ratio under every policy.
CASES: tuple[Case, ...] = (
    Case("gemm", {"tiles": 6}),
    Case("block-sparse", {"tiles": 13}),
    Case("helmholtz", {"tiles": 8}),
    Case("cholesky", {"tiles": 9}),
    Case("stencil", {"rows": 7, "columns": 7, "steps": 4}),
)
QUICK_CASES: tuple[Case, ...] = (Case("gemm", {"tiles": 4, "size": 128}),)
RATIOS: tuple[float, ...] = (2, 4)
#: At this speed a copy of a dense tile of 256 by 256 takes some five times as long as the work on
#: it, and a run some seconds.
BANDWIDTH = 100e6

POLICIES: tuple[str, ...] = ("stock", "greedy-hold", "darts")


@dataclass(frozen=True)
class Run:
    """One live run and its repetitions."""

    workload: str
    memory_ratio: float
    policy: str
    workers: int
    #: How it was recorded, with what was measured live.
    calibration: Calibration
    #: Its decisions on the machine that was fitted to it.
    simulated: Figures
    #: The same with the overheads of the case's other runs: as if it had not been run yet.
    foretold: Figures
    #: Decisions that could not be taken as they were.
    differences: int
    #: What was different when its events were replayed; None: the same instructions, exactly.
    replay_problem: str | None

    @property
    def live(self) -> Figures:
        """What was measured."""
        return self.calibration.live

    @property
    def overhead_share(self) -> float:
        """The share of what workers did that was fitted to the run: their event loops."""
        tasks, machine = len(self.calibration.taken.sent), self.calibration.machine
        threads = machine.workers * machine.threads
        return tasks * machine.costs.task / (self.live.makespan * threads)


@dataclass(frozen=True)
class Column:
    """A figure of all runs: how far what is simulated is from what was measured."""

    #: [runs] (simulated - live) / live; 0 where both are 0.
    errors: Sequence[float]
    #: Median of their absolute values.
    median: float
    #: Spearman's rank correlation over the runs; None where all are alike.
    correlation: float | None


@dataclass(frozen=True)
class Fidelity:
    """All runs."""

    runs: Sequence[Run]

    def column(self, name: str, *, foretold: bool = False) -> Column:
        """Compare a figure, by the name of the field of `Figures`."""
        live = [float(getattr(run.live, name)) for run in self.runs]
        simulated = [
            float(getattr(run.foretold if foretold else run.simulated, name)) for run in self.runs
        ]
        errors = [_error(now, then) for now, then in zip(simulated, live, strict=True)]
        return Column(
            errors, median(abs(error) for error in errors), rank_correlation(live, simulated)
        )

    @property
    def replayed_exactly(self) -> int:
        """Count the runs whose replay said the same."""
        return sum(run.replay_problem is None for run in self.runs)


def measure(
    cases: Sequence[Case] = CASES,
    ratios: Sequence[float] = RATIOS,
    policies: Sequence[str] = POLICIES,
    *,
    workers: int = 1,
    seed: int = 0,
    on_run: OnRun | None = None,
) -> Fidelity:
    """Run every case at every memory ratio under every policy, and simulate what was decided.

    Raises
    ------
    RunFailedError
        If a run fails or does not end.
    MissingDependencyError
        If the package that brings a workload's matrices is not installed.
    """
    total = len(cases) * len(ratios) * len(policies)
    recorded: list[tuple[Case, float, str, Trace]] = []
    with tempfile.TemporaryDirectory(prefix="mlsched-") as folder:
        for case in cases:
            problem = find(case.workload).build(Path(folder), seed, "full", **case.parameters)
            for ratio in ratios:
                conditions = Conditions(
                    device_memory_limit=problem.device_memory_limit(ratio * workers),
                    bandwidth=BANDWIDTH,
                    workers=workers,
                )
                for policy in policies:
                    if on_run is not None:
                        on_run(f"{case.workload} / {ratio:g}, {policy}", len(recorded), total)
                    arm = run_arm(problem, Contender(policy), conditions, record=True)
                    assert arm.trace is not None  # asked for
                    recorded.append((case, ratio, policy, decode(arm.trace)))
    if on_run is not None:
        on_run("done", total, total)
    return compare_all(recorded, workers)


def compare_all(recorded: Sequence[tuple[Case, float, str, Trace]], workers: int) -> Fidelity:
    """Simulate what was decided in recorded runs: case, memory ratio, policy and trace of each."""
    calibrations = [calibrate(trace, case.workload) for case, _, _, trace in recorded]
    runs = []
    for number, (case, ratio, policy, trace) in enumerate(recorded):
        calibration = calibrations[number]
        others = [
            each.machine.costs
            for (other, *_), each in zip(recorded, calibrations, strict=True)
            if other == case and each is not calibration
        ]
        own = repeat(calibration)
        foretold = repeat(calibration, with_costs(calibration.machine, others)) if others else own
        runs.append(
            Run(
                workload=case.workload,
                memory_ratio=ratio,
                policy=policy,
                workers=workers,
                calibration=calibration,
                simulated=own.figures,
                foretold=foretold.figures,
                differences=own.differences.unknown + own.differences.out_of_turn,
                replay_problem=_replay_problem(trace),
            )
        )
    return Fidelity(runs)


def _replay_problem(trace: Trace) -> str | None:
    try:
        verify(trace, make)
    except ReplayError as error:
        return str(error)
    return None


def _error(simulated: float, live: float) -> float:
    if live:
        return (simulated - live) / live
    return 0.0 if simulated == live else 1.0


def rank_correlation(a: Sequence[float], b: Sequence[float]) -> float | None:
    """Return Spearman's rank correlation, equals having their mean rank; None if undefined.

    Examples
    --------
    >>> rank_correlation([1, 5, 9], [20, 30, 100])
    1.0
    >>> rank_correlation([1, 2], [3, 3])
    """
    x, y = _ranks(a), _ranks(b)
    if len(x) < 2 or not np.ptp(x) or not np.ptp(y):
        return None
    return round(float(np.corrcoef(x, y)[0, 1]), 12)


def _ranks(values: Sequence[float]) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    array = np.asarray(values, np.float64)
    below = (array[None, :] < array[:, None]).sum(axis=1)
    equal = (array[None, :] == array[:, None]).sum(axis=1)
    ranks: np.ndarray[tuple[int], np.dtype[np.float64]] = below + (equal - 1) / 2
    return ranks
