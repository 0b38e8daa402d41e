"""Bytes over time as bokeh draws them: what was moved, and what was in the fast tiers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from bokeh.plotting import figure

from dask_mlsched.benchmarks.run_report.drawing import INK, MUTED, byte_axis, legend, over_time
from dask_mlsched.benchmarks.run_report.moved import Moved
from dask_mlsched.core.dag import Floats
from dask_mlsched.core.resident_bytes import Level

#: Of workers; where there are more, only the fullest and the mean are drawn.
_LINES: Final = ("#2f6fa8", "#b8481b", "#1d7f64", "#8a5a9e", "#b98a1c", "#5b6570")

#: Points of a curve of what is resident.
STEPS: Final = 1_000


def moved_chart(
    title: str, colour: str, run: Moved, alone: Moved | None, bound: int | None
) -> figure:
    """Draw the bytes of one direction: this run, Dask alone, and what nobody can do without.

    Dask alone and the bound are left out where they are None: not known.
    """
    end = float(max(run.times[-1], alone.times[-1] if alone is not None else 0.0))
    made = over_time(title, 310, end)
    unit = byte_axis(
        made, max(bound or 0, *(int(m.nbytes[-1]) for m in (run, alone) if m is not None))
    )
    if alone is not None:
        made.line(
            alone.times,
            alone.nbytes / unit,
            color=MUTED,
            line_width=2,
            line_dash=[6, 4],
            legend_label="Dask alone, simulated",
        )
    made.line(run.times, run.nbytes / unit, color=colour, line_width=2.5, legend_label="this run")
    if bound is not None:
        made.line(
            [0, end],
            [bound / unit] * 2,
            color=INK,
            line_width=1.5,
            line_dash=[1, 3],
            legend_label="lower bound",
        )
    legend(made, "top_left")
    return made


def resident_chart(levels: Sequence[Level], begin: float, makespan: float) -> figure:
    """Draw how full the fast tiers were, against their limits."""
    made = over_time("", 290, makespan)
    limits = sorted({level.limit for level in levels if level.limit is not None})
    times = np.linspace(0.0, makespan, STEPS)
    curves = {f"worker {level.worker}": _most(level, begin, times) for level in levels}
    if len(curves) > len(_LINES):
        grid = np.array(list(curves.values()))
        curves = {"fullest worker": grid.max(axis=0), "mean of all": grid.mean(axis=0)}
    unit = byte_axis(made, max([*limits, *(float(curve.max()) for curve in curves.values())]))
    for (name, curve), colour in zip(curves.items(), _LINES, strict=False):
        made.step(
            times, curve / unit, mode="after", color=colour, line_width=1.5, legend_label=name
        )
    for limit in limits:
        made.line(
            [0, makespan],
            [limit / unit] * 2,
            color=INK,
            line_dash=[6, 4],
            line_width=1.5,
            legend_label="limit",
        )
    legend(made, "bottom_right")
    return made


def _most(level: Level, begin: float, grid: Floats) -> Floats:
    """Return the most bytes between each time of a grid and the next."""
    times = np.array(level.times) - begin
    nbytes = np.array(level.nbytes, np.float64)
    before = np.searchsorted(times, grid, side="right") - 1
    most = np.where(before >= 0, nbytes[np.maximum(before, 0)], 0.0)
    steps = np.searchsorted(grid, times, side="right") - 1
    within = (steps >= 0) & (times <= grid[-1])
    np.maximum.at(most, steps[within], nbytes[within])
    made: Floats = most
    return made
