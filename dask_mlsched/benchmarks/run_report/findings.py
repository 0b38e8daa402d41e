"""All that the report of a recorded run tells, worked out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from dask_mlsched.benchmarks.run_report.decided import Decided, Model, decided, model
from dask_mlsched.benchmarks.run_report.moved import MovedBothWays, measured, simulated_alone
from dask_mlsched.core.calibration import Calibration, Figures, calibrate, repeat
from dask_mlsched.core.costs import Bounds, bounds
from dask_mlsched.core.judgement import Judgement, Survey, judge, survey
from dask_mlsched.core.machine import SimulationError
from dask_mlsched.core.network import Network
from dask_mlsched.core.resident_bytes import Level, resident_bytes
from dask_mlsched.core.timeline import Timeline, timeline
from dask_mlsched.core.trace import Trace
from dask_mlsched.learning.default_model import default_network

#: Called with the share of the work that is done, 0 to 1.
OnProgress = Callable[[float], None]


@dataclass(frozen=True)
class Findings:
    """A recorded run, and what it is compared with."""

    name: str
    trace: Trace
    calibration: Calibration
    timeline: Timeline
    #: Of the graph as measured, on the machine as fitted.
    bounds: Bounds
    run: MovedBothWays
    #: Dask alone, simulated; None if that cannot be.
    alone: MovedBothWays | None
    survey: Survey | None
    #: What the run itself comes to when it is simulated with the decisions that it took.
    repeated: Figures | None
    #: Why there is no simulation at all; None if there is.
    refused: str | None
    #: Decisions in hindsight, the costliest first; none if they cannot be judged.
    judgements: Sequence[Judgement]
    decided: Decided
    model: Model
    levels: Sequence[Level]

    @property
    def trusted(self) -> bool:
        """Whether the run itself, simulated, takes as long as was measured."""
        return self.survey is not None and self.survey.gate.passed

    @property
    def begin(self) -> float:
        """When the run began, on the clock of its events."""
        return self.timeline.begin

    def action_name(self, judgement: Judgement, action: int) -> str:
        """Return the key of what an action runs, or HOLD."""
        candidates = judgement.decision.candidates
        keys = self.calibration.taken.dag.keys
        return "HOLD" if action == len(candidates) else keys[candidates[action]]

    def costliest(self, top: int) -> list[Judgement]:
        """List the decisions that cost most; only those that cost anything."""
        return [each for each in self.judgements[:top] if each.regret > 0]


def find(
    trace: Trace,
    name: str,
    network: Network,
    *,
    decisions: int,
    on_progress: OnProgress | None = None,
) -> Findings:
    """Work out all that the report tells; most of the time goes into judging decisions.

    Parameters
    ----------
    trace
        May be cut: what stands in it counts.
    network
        Goes on after each action when a decision is judged.
    decisions
        So many are judged at most, evenly spread over the run.

    Raises
    ------
    dask_mlsched.core.machine.SimulationError
        If no task has ended in the trace.
    """
    calibration = calibrate(trace, name)
    machine, dag = calibration.machine, calibration.taken.dag
    tell = on_progress or _nobody
    repeated, alone, surveyed, refused = None, None, None, None
    judgements: list[Judgement] = []
    try:
        repeated = repeat(calibration).figures
        tell(0.1)
        surveyed = survey(calibration, network)
        tell(0.3)
        alone = simulated_alone(calibration)
        tell(0.4)
        if surveyed.gate.passed and decisions:
            judgements = _judged(
                calibration, network, surveyed, decisions, lambda done: tell(0.4 + 0.6 * done)
            )
    except SimulationError as error:
        refused = str(error)
    return Findings(
        name=name,
        trace=trace,
        calibration=calibration,
        timeline=timeline(trace, machine.costs.message),
        bounds=bounds(
            dag, machine.limit, machine.costs, workers=machine.workers, threads=machine.threads
        ),
        run=measured(trace, calibration),
        alone=alone,
        survey=surveyed,
        repeated=repeated,
        refused=refused,
        judgements=judgements,
        decided=decided(trace),
        model=model(
            trace, {"given with --model": network, "ships with the package": default_network()}
        ),
        levels=resident_bytes(trace),
    )


def _nobody(_done: float) -> None:
    """Tell nobody."""


def _judged(
    calibration: Calibration,
    network: Network,
    surveyed: Survey,
    decisions: int,
    on_progress: OnProgress,
) -> list[Judgement]:
    numbers = surveyed.sample(decisions) if surveyed.recorded else []
    judgements = []
    for each in judge(calibration, network, numbers):
        judgements.append(each)
        on_progress(len(judgements) / len(numbers))
    judgements.sort(key=lambda each: -each.regret)
    return judgements
