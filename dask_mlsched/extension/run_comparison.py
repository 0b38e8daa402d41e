"""What a run that is over came to, and what others would have made of it, in a simulation."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Final, Self

import numpy as np

from dask_mlsched.core import policies
from dask_mlsched.core.calibration import Calibration, calibrate, repeat
from dask_mlsched.core.costs import bounds
from dask_mlsched.core.dask_alone import dask_alone
from dask_mlsched.core.machine import SimulationError
from dask_mlsched.core.policies import Policy
from dask_mlsched.core.simulator import SimulatedRun, simulate
from dask_mlsched.core.trace import Trace

#: Beside Dask alone, these are tried: the best of the quick ones that plan little, and much.
RIVALS: Final = ("greedy-hold", "darts-luf")

#: A run may read so much of all its bytes from what was there before: small things are scattered.
_LEFT_OVER: Final = 0.01


@dataclass(frozen=True, slots=True)
class RunFigures:
    """Seconds from the first task to the end of the last; bytes between the tiers."""

    seconds: float
    loaded: int
    evicted: int

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Self:
        """Read what a comparison's `as_dict` wrote."""
        return cls(*(values[each.name] for each in fields(cls)))


@dataclass(frozen=True)
class RunComparison:
    """A run as it was measured, and simulated under what decided it and under others."""

    measured: RunFigures
    #: Its own decisions again: how far the simulation is off.
    taken: RunFigures
    #: Without us; under each of `RIVALS`; and what nobody can do better than.
    dask: RunFigures
    rivals: Mapping[str, RunFigures]
    bound: RunFigures

    @property
    def error(self) -> float:
        """By how much of the measured time the simulation of the same decisions is off."""
        if not self.measured.seconds > 0:
            return math.inf
        return self.taken.seconds / self.measured.seconds - 1

    @property
    def best(self) -> tuple[str, float]:
        """Which of all that were simulated was quickest, and how long it took, in seconds."""
        all_of_them = {"as it ran": self.taken, "Dask alone": self.dask, **self.rivals}
        name = min(all_of_them, key=lambda each: all_of_them[each].seconds)
        return name, all_of_them[name].seconds

    @property
    def regret(self) -> float:
        """Seconds that its decisions took longer than the best of those, all simulated."""
        return self.taken.seconds - self.best[1]

    def as_dict(self) -> dict[str, Any]:
        """Describe it for messages."""
        return asdict(self)

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Self:
        """Read what `as_dict` wrote."""
        rivals = {name: RunFigures.of(each) for name, each in values["rivals"].items()}
        single = {
            name: RunFigures.of(values[name]) for name in ("measured", "taken", "dask", "bound")
        }
        return cls(rivals=rivals, **single)


def compare_run(trace: Trace, decision_seconds: float) -> RunComparison:
    """Simulate what ran under its own decisions, Dask alone and the rivals.

    Parameters
    ----------
    decision_seconds
        What one decision took, if the trace does not tell: each of ours takes as long.

    Raises
    ------
    dask_mlsched.core.machine.SimulationError
        If no task ended in it, or one does not fit, or workers were not equal, or the run read what
        an earlier one left.
    """
    calibration = calibrate(trace)
    _refuse(calibration)
    if not calibration.machine.costs.decision:
        costs = replace(calibration.machine.costs, decision=decision_seconds)
        machine = replace(calibration.machine, costs=costs)
        calibration = replace(calibration, machine=machine)
    dag, machine, settings = calibration.taken.dag, calibration.machine, calibration.settings
    order = np.arange(len(dag))
    rng = random.Random(settings.seed)
    rivals: dict[str, Policy] = {name: policies.make(name, rng) for name in RIVALS}
    least = bounds(
        dag, machine.limit, machine.costs, workers=machine.workers, threads=machine.threads
    )
    return RunComparison(
        _measured(calibration),
        _figures(repeat(calibration).run),
        _figures(dask_alone(dag, order, machine, settings)),
        {
            name: _figures(simulate(dag, machine, policy, order=order, settings=settings))
            for name, policy in rivals.items()
        },
        RunFigures(least.makespan, least.bytes_loaded, least.bytes_moved - least.bytes_loaded),
    )


def _refuse(calibration: Calibration) -> None:
    """Refuse a run of which a simulation would say what is not so."""
    if calibration.unequal is not None:
        raise SimulationError(f"{calibration.unequal}: the simulation knows equal workers alone")
    left_over = calibration.left_over_bytes
    if left_over > _LEFT_OVER * int(calibration.taken.dag.nbytes.sum()):
        msg = (
            f"it read {left_over:,} bytes that an earlier run left, and nobody knows which of them "
            "were on the device"
        )
        raise SimulationError(msg)
    if calibration.released_much:
        msg = (
            f"{calibration.released_bytes:,} bytes of results were released before it ended, and "
            "the simulation keeps all of them"
        )
        raise SimulationError(msg)


def _measured(calibration: Calibration) -> RunFigures:
    live = calibration.live
    return RunFigures(live.makespan, live.bytes_loaded, live.bytes_evicted)


def _figures(run: SimulatedRun) -> RunFigures:
    return RunFigures(run.makespan, run.bytes_loaded, run.bytes_evicted)
