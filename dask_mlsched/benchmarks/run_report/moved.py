"""Bytes that were moved between the tiers, over time."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from dask_mlsched.core import events as ev
from dask_mlsched.core.calibration import Calibration, Figures
from dask_mlsched.core.controller import Controller
from dask_mlsched.core.dag import Floats, Integers
from dask_mlsched.core.dask_alone import dask_alone
from dask_mlsched.core.trace import Trace

#: So many points of a curve are drawn at most: more than a screen has.
POINTS = 2_000


@dataclass(frozen=True)
class Moved:
    """One direction: after so many seconds, so many bytes in all."""

    #: [S] seconds since the run began, in order; the first is 0.
    times: Floats
    #: [S] never less than before; the first is 0.
    nbytes: Integers

    @classmethod
    def of(cls, copies: Iterable[tuple[float, int]], end: float) -> Moved:
        """Add up copies (seconds, bytes), from 0 to the end of the run."""
        rows = sorted((min(max(time, 0.0), end), nbytes) for time, nbytes in copies)
        times = np.array([0.0, *(time for time, _ in rows), end])
        total = np.cumsum([0, *(nbytes for _, nbytes in rows), 0])
        if len(times) > POINTS:
            # The last of each stretch: what is left out stands between two others.
            stretch = np.floor(times * (POINTS - 2) / max(end, 1e-9))
            kept = np.unique([0, *np.flatnonzero(np.diff(stretch, append=-1)).tolist()])
            times, total = times[kept], total[kept]
        return cls(times, total)


@dataclass(frozen=True)
class MovedBothWays:
    """What a run came to, and how its bytes grew."""

    figures: Figures
    loaded: Moved
    evicted: Moved


class _Watched(Controller):
    """Notes what simulated workers report."""

    def __init__(self, *made_of: Any) -> None:
        super().__init__(*made_of)
        self.reports: list[ev.ArraysMoved] = []

    def handle(self, event: ev.Event) -> list[ev.Instruction]:
        """Take in one event."""
        if isinstance(event, ev.ArraysMoved):
            self.reports.append(event)
        return super().handle(event)


def measured(trace: Trace, calibration: Calibration) -> MovedBothWays:
    """Add up what workers reported in a recorded run."""
    begin = min(event.time for event in trace.events() if isinstance(event, ev.TaskStarted))
    copies = [
        (copy.time - begin, copy.loaded, copy.nbytes)
        for copy in trace.copies()
        if copy.seconds > 0  # the others moved nothing: the slow tier had the array still
    ]
    return _both_ways(calibration.live, copies)


def simulated_alone(calibration: Calibration) -> MovedBothWays:
    """Simulate Dask alone on the graph and the machine of a recorded run.

    Raises
    ------
    dask_mlsched.core.machine.SimulationError
        If a task does not fit the machine.
    """
    dag, made = calibration.taken.dag, []

    def controller(*made_of: Any) -> Controller:
        made.append(_Watched(*made_of))
        return made[-1]

    run = dask_alone(
        dag,
        np.arange(len(dag)),  # the DAG of a trace stands in Dask's order
        calibration.machine,
        calibration.settings,
        controller=controller,
    )
    figures = Figures(run.makespan, run.bytes_loaded, run.bytes_evicted, run.bytes_sent)
    copies = [
        (report.time, loaded, nbytes)
        for report in made[0].reports
        for _, loaded, nbytes, _ in report.copies
    ]
    return _both_ways(figures, copies)


def _both_ways(figures: Figures, copies: list[tuple[float, bool, int]]) -> MovedBothWays:
    return MovedBothWays(
        figures,
        *(
            Moved.of(
                ((time, nbytes) for time, loaded, nbytes in copies if loaded == direction),
                figures.makespan,
            )
            for direction in (True, False)
        ),
    )
