"""A picture of runs: what is resident and what moves, over time, one policy above the other."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from dask_mlsched.benchmarks.comparison import Comparison
from dask_mlsched.benchmarks.contender import STOCK
from dask_mlsched.benchmarks.optional import require
from dask_mlsched.benchmarks.report import megabytes
from dask_mlsched.benchmarks.runner import Arm

#: Bars of transfers in one panel.
_BINS = 60
_RESIDENT = "#9ecae1"
_LOADED = "#d95f02"
_EVICTED = "#7570b3"


@dataclass(frozen=True)
class Series:
    """One run over time, all workers together."""

    #: Seconds since the beginning, ascending: the end of each move, [n].
    times: npt.NDArray[np.float64]
    #: Bytes resident from each of these times on, [n].
    resident_bytes: npt.NDArray[np.float64]
    #: Bytes of each move, 0 where it went the other way, [n].
    loaded: npt.NDArray[np.float64]
    evicted: npt.NDArray[np.float64]
    #: When the run ended, in seconds.
    end: float

    def rate(
        self, moved: npt.NDArray[np.float64], edges: npt.NDArray[np.float64]
    ) -> npt.NDArray[np.float64]:
        """Bytes per second in each of the bins between `edges`."""
        total, _ = np.histogram(self.times, bins=edges, weights=moved)
        rates: npt.NDArray[np.float64] = total / np.diff(edges)
        return rates


def series(arm: Arm) -> Series:
    """Merge the moves of a run's workers into one time line.

    Residency is known after each move. In between new arrays appear and old ones go unseen.
    """
    moves = sorted(
        ((sample, worker) for worker, samples in arm.history.items() for sample in samples),
        key=lambda pair: pair[0].time,
    )
    resident = dict.fromkeys(arm.history, 0)
    total = np.empty(len(moves))
    for n, (sample, worker) in enumerate(moves):
        resident[worker] = sample.resident_bytes
        total[n] = sum(resident.values())
    return Series(
        times=np.array([sample.time for sample, _ in moves]),
        resident_bytes=total,
        loaded=np.array([sample.loaded for sample, _ in moves], dtype=float),
        evicted=np.array([sample.evicted for sample, _ in moves], dtype=float),
        end=arm.seconds,
    )


def draw(comparisons: Sequence[Comparison], path: Path) -> None:
    """Write a PNG: a column for each workload, and in it the first run of each contender.

    Raises
    ------
    MissingDependencyError
        If matplotlib is not installed.
    """
    require("matplotlib", "the picture")
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    rows = max(len(_first_runs(comparison)) for comparison in comparisons)
    figure = Figure(figsize=(5.2 * len(comparisons) + 0.6, 3.5 * rows + 1.2), layout="constrained")
    FigureCanvasAgg(figure)
    parts = figure.subfigures(1, len(comparisons), squeeze=False)[0]
    for part, comparison in zip(parts, comparisons, strict=True):
        _draw_column(part, comparison, rows)
    figure.suptitle(_title(comparisons), fontsize=14)
    handles = [
        Patch(color=_RESIDENT, label="resident on the device"),
        Line2D([], [], color="black", linestyle="--", linewidth=1, label="device memory limit"),
        Patch(color=_LOADED, label="loaded (host to device)"),
        Patch(color=_EVICTED, label="evicted (device to host)"),
        Line2D([], [], color="gray", linewidth=1.5, label="end of the run"),
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=5, frameon=False)
    figure.savefig(path, dpi=110)


def _title(comparisons: Sequence[Comparison]) -> str:
    names = [str(arm.contender) for arm in _first_runs(comparisons[0])]
    order = f": {' above '.join(names)}" if len(names) > 1 else f" under {names[0]}"
    return f"What is on the device, and what is copied to and from it{order}"


def _first_runs(comparison: Comparison) -> list[Arm]:
    first = {arm.contender: arm for arm in reversed(comparison.arms)}
    return sorted(first.values(), key=lambda arm: (arm.contender.policy != STOCK, arm.position))


def _draw_column(part: Any, comparison: Comparison, rows: int) -> None:
    arms = _first_runs(comparison)
    lines = [series(arm) for arm in arms]
    edges = np.linspace(0.0, max(line.end for line in lines), _BINS + 1)
    panels = part.subplots(2 * rows, 1, sharex=True, height_ratios=[3, 2] * rows, squeeze=False)
    panels = panels[:, 0]
    limit = comparison.conditions.device_memory_limit * comparison.conditions.workers
    fastest = max(_highest_rates(lines, edges)) or 1.0
    for n, (arm, line) in enumerate(zip(arms, lines, strict=True)):
        _draw_residency(panels[2 * n], arm, line, limit, edges[-1])
        _draw_transfers(panels[2 * n + 1], line, edges, fastest)
    for panel in panels[2 * len(arms) :]:
        panel.set_axis_off()
    panels[2 * len(arms) - 1].set_xlabel("seconds")
    ratio = comparison.problem.working_set / limit
    part.suptitle(f"{comparison.problem.workload}: working set {ratio:.1f} times the device")


def _highest_rates(lines: Iterable[Series], edges: npt.NDArray[np.float64]) -> Iterable[float]:
    for line in lines:
        for moved in (line.loaded, line.evicted):
            yield float(line.rate(moved, edges).max(initial=0.0))


def _draw_residency(panel: Any, arm: Arm, line: Series, limit: int, last: float) -> None:
    if line.times.size:
        # Until the first move, nothing is known but that it fills up.
        first, rest = line.times[:1], line.resident_bytes[:1] / 1e6
        panel.fill_between([0.0, *first], [0.0, *rest], color=_RESIDENT, linewidth=0)
        times = np.append(line.times, line.end)
        resident = np.append(line.resident_bytes, line.resident_bytes[-1])
        panel.fill_between(times, resident / 1e6, step="post", color=_RESIDENT, linewidth=0)
    panel.axhline(limit / 1e6, color="black", linestyle="--", linewidth=1)
    panel.axvline(line.end, color="gray", linewidth=1.5)
    panel.set_xlim(0, last * 1.02)
    panel.set_ylim(0, limit / 1e6 * 1.15)
    panel.set_ylabel("resident, MB")
    loaded, evicted = megabytes(line.loaded.sum()), megabytes(line.evicted.sum())
    panel.set_title(
        f"{arm.contender}: {line.end:.1f} s, {loaded} MB loaded, {evicted} MB evicted",
        fontsize=10,
        loc="left",
    )


def _draw_transfers(
    panel: Any, line: Series, edges: npt.NDArray[np.float64], fastest: float
) -> None:
    width = edges[1] - edges[0]
    for moved, sign, color in ((line.loaded, 1, _LOADED), (line.evicted, -1, _EVICTED)):
        rates = sign * line.rate(moved, edges) / 1e6
        panel.bar(edges[:-1], rates, width, align="edge", color=color)
    panel.axhline(0.0, color="black", linewidth=0.6)
    panel.axvline(line.end, color="gray", linewidth=1.5)
    panel.set_ylim(-fastest / 1e6 * 1.15, fastest / 1e6 * 1.15)
    panel.yaxis.set_major_formatter(lambda value, _: f"{abs(value):g}")
    panel.set_ylabel("copied, MB/s")
