"""A life with models, simulated: a stream of runs over families, and who serves them.

What a run takes is simulated, with some scatter. Our library is the real one, on disk, and graphs
are told apart by their fingerprints alone. The same stream is served in other ways to compare with:
Dask alone; the generalist that ships, as it is; and one model for each program, which is searched
for from that generalist after every run of the program, and never shared. Beside them stand
specialists of each family: searched for at length, over all its runs, before the first one comes.
All searches are counted in networks, so the results are the same on every machine.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from dask_mlsched.benchmarks.lifelong_goals import Goal, Run, goals
from dask_mlsched.benchmarks.lifelong_ours import Ours
from dask_mlsched.benchmarks.lifelong_rivals import (
    ModelPerProgram,
    merged_over_joint,
    specialists,
)
from dask_mlsched.benchmarks.lifelong_stream import FULL, QUICK, Arrival, Plan, stream
from dask_mlsched.benchmarks.shipped_instances import ship
from dask_mlsched.learning.default_model import default_network
from dask_mlsched.learning.generality import BestKnown
from dask_mlsched.learning.processes import Processes
from dask_mlsched.learning.shipped import Shipped

#: Called with what is done next and the share of everything that is done.
OnStep = Callable[[str, float], None]


@dataclass(frozen=True)
class Scale:
    """How much there is of everything."""

    plan: Plan
    #: Networks that are run by one operation; for a specialist; for a merge, and for the training
    #: that it is compared with.
    operation: int
    specialist: int
    merge: int
    joint: int
    #: Whether generalists are held to the instances that ship.
    shipped: bool = True


FULL_SCALE: Final = Scale(FULL, operation=120, specialist=240, merge=120, joint=480)
QUICK_SCALE: Final = Scale(QUICK, operation=24, specialist=36, merge=16, joint=48, shipped=False)


@dataclass(frozen=True)
class Experiment:
    """What the experiment came to."""

    seed: int
    scale: Scale
    runs: tuple[Run, ...]
    goals: tuple[Goal, ...]


def experiment(
    root: Path,
    seed: int = 1,
    scale: Scale = FULL_SCALE,
    *,
    on_step: OnStep = lambda _text, _share: None,
    on_run: Callable[[Run], None] = lambda _run: None,
) -> Experiment:
    """Play the stream in all ways.

    Parameters
    ----------
    root
        An empty folder for the library and the families.
    on_run
        Called with each run when it is over.
    """
    arrivals = stream(scale.plan, seed, lambda text, share: on_step(text, 0.02 * share))
    best = _best(arrivals, lambda text, share: on_step(text, 0.02 + 0.08 * share))
    oracles = specialists(
        arrivals, scale.specialist, seed, lambda text, share: on_step(text, 0.1 + 0.2 * share)
    )
    ours = Ours(root, scale.operation, seed, ship if scale.shipped else lambda: Shipped((), ()))
    generalist = default_network()
    alone = ModelPerProgram(scale.operation)
    runs: list[Run] = []
    ratio: float | None = None
    for number, (arrival, known) in enumerate(zip(arrivals, best, strict=True)):
        on_step(f"run {number + 1}: {arrival.workload}", 0.3 + 0.7 * number / len(arrivals))
        if number == scale.plan.mixed:
            on_step("merges, and trains jointly", 0.3 + 0.7 * number / len(arrivals))
            ratio = merged_over_joint(ours.parents(), scale.merge, scale.joint, seed)
        if number == scale.plan.bad_champion:
            ours.promote_bad_champion()
        instance = arrival.instance
        played = ours.serve(arrival)
        makespans = {
            "ours": played.expected,
            "generalist": instance.run(generalist).makespan,
            "per program": alone.serve(arrival),
            "specialist": instance.run(oracles[arrival.workload]).makespan,
            "baseline": 1.0,
        }
        least = min(known, *makespans.values())
        runs.append(Run(number, arrival.phase, arrival.workload, played, makespans, least))
        on_run(runs[-1])
    assert ratio is not None
    return Experiment(seed, scale, tuple(runs), goals(runs, ratio))


def _best(arrivals: Sequence[Arrival], on_step: OnStep) -> list[float]:
    """Search for the best schedule of each run."""
    known = BestKnown()
    found = []
    for number, arrival in enumerate(arrivals):
        on_step(f"best schedule of run {number + 1}", number / len(arrivals))
        with Processes([arrival.instance]) as processes:
            found += known.makespans(processes)
    return found
