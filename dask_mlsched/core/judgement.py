"""The decisions of a recorded run in hindsight: what each action would have cost.

The *gate*: costs come from a simulation, so they are worth as much as that is. A run is judged only
if its decisions, taken again in the simulator and in the compiled run that costs come from, take as
long as was measured, to a tenth.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from dask_mlsched.core import hindsight
from dask_mlsched.core.calibration import Calibration, repeat
from dask_mlsched.core.compiled.rollout import Decision
from dask_mlsched.core.dag import Dag, Floats
from dask_mlsched.core.network import Network
from dask_mlsched.core.walk import Choice, Course, Walk

#: The largest error of a makespan at which a run is judged.
TOLERANCE: Final = 0.1


@dataclass(frozen=True, slots=True)
class Gate:
    """Whether a recorded run can be judged: seconds of makespan."""

    live: float
    #: Its decisions in the simulator, and in the compiled run.
    simulated: float
    walked: float

    @property
    def error(self) -> float:
        """The larger of the two errors, as a share of what was measured."""
        worst = max(abs(self.simulated - self.live), abs(self.walked - self.live))
        # A run of a single task that takes no time is as long as its messages.
        return worst / self.live if self.live > 0 else float(worst > 0)

    @property
    def passed(self) -> bool:
        """Whether both are near enough."""
        return self.error <= TOLERANCE

    @property
    def foretold(self) -> bool:
        """Whether the simulator is near enough, whatever the compiled run comes to."""
        return abs(self.simulated - self.live) <= TOLERANCE * self.live

    @property
    def verdict(self) -> str:
        """Tell people in a line."""
        found = (
            f"{self.live:.3g} s live, {self.simulated:.3g} s simulated, {self.walked:.3g} s "
            f"compiled: {self.error:.1%} off"
        )
        return found if self.passed else f"{found}; expected {TOLERANCE:.0%} at most"


@dataclass(frozen=True)
class Survey:
    """What is in a recorded run, before it is judged."""

    gate: Gate
    #: Decisions by how they could be taken again, and the numbers of those as recorded.
    courses: Counter[Course]
    recorded: Sequence[int]

    def sample(self, count: int, rng: np.random.Generator | None = None) -> list[int]:
        """Choose the numbers of so many recorded decisions: at random, or evenly spread."""
        known = len(self.recorded)
        count = min(count, known)
        if rng is None:
            places = [int((turn + 0.5) * known / count) for turn in range(count)]
        else:
            places = sorted(rng.choice(known, count, replace=False).tolist())
        return [self.recorded[place] for place in places]


@dataclass(frozen=True, slots=True)
class Judgement:
    """A decision of a recorded run in hindsight."""

    choice: Choice
    #: [A] seconds more than with the best action, see `hindsight`.
    costs: Floats

    @property
    def decision(self) -> Decision:
        """What was to be decided."""
        return self.choice.decision

    @property
    def taken(self) -> int:
        """The action that was taken."""
        assert self.choice.taken is not None  # only recorded ones are judged
        return self.choice.taken

    @property
    def best(self) -> int:
        """The action that would have been right; what was taken, if nothing is better."""
        return hindsight.best(self.costs, self.taken)

    @property
    def regret(self) -> float:
        """Seconds that it cost."""
        return hindsight.regret(self.costs, self.taken)

    def action_name(self, action: int, keys: Sequence[str]) -> str:
        """Return the key of what an action runs, or HOLD; `keys` are the DAG's."""
        candidates = self.decision.candidates
        return "HOLD" if action == len(candidates) else keys[candidates[action]]


def costliest(judgements: Sequence[Judgement], top: int) -> list[Judgement]:
    """List the first few that cost anything, of judgements with the costliest first."""
    return [each for each in judgements[:top] if each.regret > 0]


def survey(calibration: Calibration, network: Network) -> Survey:
    """Walk through a recorded run once; some 100 microseconds for each task.

    Raises
    ------
    dask_mlsched.core.machine.SimulationError
        If a task does not fit the machine.
    """
    walk = Walk(calibration, network)
    recorded = [each.decision.number for each in walk if each.course == "recorded"]
    gate = Gate(
        live=calibration.live.makespan,
        simulated=repeat(calibration).figures.makespan,
        walked=walk.figures().makespan,
    )
    return Survey(gate, walk.courses, recorded)


def judge(
    calibration: Calibration,
    network: Network,
    numbers: Sequence[int],
    *,
    clairvoyant: Network | None = None,
    beta: float = 0.0,
    rng: np.random.Generator | None = None,
) -> Iterator[Judgement]:
    """Judge decisions of a recorded run.

    Parameters
    ----------
    calibration
        The recorded run.
    network
        The current policy, which goes on after each action.
    numbers
        Of recorded decisions, as a `Survey` of the same run and network has them.
    clairvoyant, beta, rng
        As `hindsight.costs` takes them.

    Yields
    ------
    Judgement
        For each of the decisions, in their order. It takes ten microseconds for each action and
        each task that is left.
    """
    wanted = set(numbers)
    walk = Walk(calibration, network)
    for choice in walk:
        if choice.decision.number not in wanted:
            continue
        assert choice.course == "recorded", "the same walk as in the survey"
        wanted.discard(choice.decision.number)
        costs = hindsight.costs(
            walk.rollout, choice.decision, clairvoyant=clairvoyant, beta=beta, rng=rng
        )
        yield Judgement(choice, costs)
        if not wanted:
            return


def median_task_seconds(dag: Dag) -> float:
    """Return the median of what tasks take; of those that take any time, if half take none.

    0 if no task takes any.
    """
    seconds = dag.seconds[~dag.given]
    median = float(np.median(seconds)) if len(seconds) else 0.0
    positive = seconds[seconds > 0]
    if median > 0 or not len(positive):
        return median
    return float(np.median(positive))
