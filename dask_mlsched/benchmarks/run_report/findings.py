"""All that the report of a recorded run tells, worked out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from dask_mlsched.benchmarks.run_report.decided import Decided, Model, decided, model
from dask_mlsched.benchmarks.run_report.moved import MovedBothWays, measured, simulated_alone
from dask_mlsched.core.calibration import Calibration, Figures, calibrate, repeat
from dask_mlsched.core.costs import Bounds, bounds
from dask_mlsched.core.judgement import Judgement, Survey, costliest, judge, survey
from dask_mlsched.core.machine import SimulationError
from dask_mlsched.core.network import Network
from dask_mlsched.core.resident_bytes import Level, resident_bytes
from dask_mlsched.core.timeline import Timeline, timeline
from dask_mlsched.core.trace import Trace
from dask_mlsched.extension.in_words import bytes_text
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
    #: Of the graph as measured, on the machine as fitted; None if the workers were not equal. What
    #: need not be moved does not count, see `left_over` and `released`.
    bounds: Bounds | None
    run: MovedBothWays
    #: Dask alone, simulated; None if that cannot be, or says nothing of the run.
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
    def left_over(self) -> str | None:
        """Why no load of the run can be bounded, nor simulated; None if they can."""
        count, nbytes = self.calibration.left_over, self.calibration.left_over_bytes
        if not nbytes:
            return None
        arrays = "an array" if count == 1 else f"{count:,} arrays"
        which = "whether it was" if count == 1 else "which of them were"
        return (
            f"the run reads {arrays} ({bytes_text(nbytes)}) that none of its tasks made, as of an "
            f"earlier run, and nobody can tell {which} on the device"
        )

    @property
    def released(self) -> str | None:
        """Why no eviction of the run can be bounded, nor simulated; None if they can."""
        if not self.calibration.released_much:
            return None
        nbytes = bytes_text(self.calibration.released_bytes)
        return f"{nbytes} of the run's results were released while it went on"

    @property
    def least_loaded(self) -> int | None:
        """Bytes that every schedule loads; None if that is not known."""
        if self.bounds is None or self.calibration.left_over_bytes:
            return None
        return self.bounds.bytes_loaded

    @property
    def least_evicted(self) -> int | None:
        """Bytes that every schedule evicts; None if that is not known."""
        if self.bounds is None or self.calibration.released_much:
            return None
        return self.bounds.bytes_moved - self.bounds.bytes_loaded

    @property
    def begin(self) -> float:
        """When the run began, on the clock of its events."""
        return self.timeline.begin

    def action_name(self, judgement: Judgement, action: int) -> str:
        """Return the key of what an action runs, or HOLD."""
        return judgement.action_name(action, self.calibration.taken.dag.keys)

    def costliest(self, top: int) -> list[Judgement]:
        """List the decisions that cost most; only those that cost anything."""
        return costliest(self.judgements, top)


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
    simulated = _simulated(calibration, network, decisions, on_progress or _nobody)
    return Findings(
        name=name,
        trace=trace,
        calibration=calibration,
        timeline=timeline(trace, calibration.machine.costs.message),
        bounds=_bounds(calibration),
        run=measured(trace, calibration),
        alone=simulated.alone,
        survey=simulated.survey,
        repeated=simulated.repeated,
        refused=simulated.refused,
        judgements=simulated.judgements,
        decided=decided(trace),
        model=model(
            trace, {"given with --model": network, "ships with the package": default_network()}
        ),
        levels=resident_bytes(trace),
    )


@dataclass
class _Simulated:
    """What simulations gave, as far as they came; see `Findings`."""

    repeated: Figures | None = None
    survey: Survey | None = None
    alone: MovedBothWays | None = None
    judgements: Sequence[Judgement] = ()
    refused: str | None = None


def _simulated(
    calibration: Calibration, network: Network, decisions: int, tell: OnProgress
) -> _Simulated:
    found = _Simulated()
    if calibration.unequal is not None:
        found.refused = (
            "a simulation has equal workers from the first task to the last, and here were other "
            f"ones: {calibration.unequal}"
        )
        return found
    try:
        found.repeated = repeat(calibration).figures
        tell(0.1)
        found.survey = survey(calibration, network)
        tell(0.3)
        if not calibration.left_over_bytes and not calibration.released_much:
            found.alone = simulated_alone(calibration)
        tell(0.4)
        if found.survey.gate.passed and decisions:
            found.judgements = _judged(
                calibration, network, found.survey, decisions, lambda done: tell(0.4 + 0.6 * done)
            )
    except SimulationError as error:
        found.refused = str(error)
    return found


def _bounds(calibration: Calibration) -> Bounds | None:
    """Work out what nobody can beat: of other workers than equal ones, that is not known."""
    if calibration.unequal is not None:
        return None
    machine = calibration.machine
    return bounds(
        calibration.taken.dag,
        None if calibration.released_much else machine.limit,
        machine.costs,
        workers=machine.workers,
        threads=machine.threads,
        given_resident=calibration.left_over_bytes > 0,
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
