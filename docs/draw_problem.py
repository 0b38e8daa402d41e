"""Draw docs/problem.png: one live run under Dask alone, and one under the extension.

The run is the chain block product of live.md, on one worker with an emulated device that holds a
third of it. Run it, which takes two minutes: python docs/draw_problem.py
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from dask_mlsched.benchmarks.clusters import Conditions
from dask_mlsched.benchmarks.comparison import Comparison, compare
from dask_mlsched.benchmarks.contender import contender
from dask_mlsched.benchmarks.picture import Series, series
from dask_mlsched.benchmarks.workloads import find

TITLES = {"stock": "Dask alone", "specialised": "with dask_mlsched"}
RESIDENT, LOADED, EVICTED = "#9ecae1", "#d95f02", "#7570b3"


def run() -> Comparison:
    """Run the product under both."""
    with tempfile.TemporaryDirectory() as folder:
        problem = find("gemm").build(Path(folder), 0, "full")
        conditions = Conditions(
            device_memory_limit=problem.device_memory_limit(3.0),
            bandwidth=problem.bandwidth,
            latency=1e-5,
            workers=1,
            threads_per_worker=1,
        )
        contenders = [contender(policy) for policy in TITLES]
        comparison = compare(problem, conditions, contenders, 1)
    if not comparison.results_equal:
        msg = "results differ between the two runs, so there is nothing to draw"
        raise RuntimeError(msg)
    return comparison


def draw(comparison: Comparison, path: Path) -> None:
    """Draw the runs side by side: above what is resident, below what moves."""
    limit = comparison.conditions.device_memory_limit / 1e6
    lines = {str(arm.contender): series(arm) for arm in comparison.arms}
    edges = np.linspace(0.0, max(line.end for line in lines.values()), 61)
    figure = Figure(figsize=(10, 4), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(2, 2, sharex=True, sharey="row", height_ratios=[3, 2])
    for column, (policy, title) in enumerate(TITLES.items()):
        _draw_run(panels[:, column], lines[policy], title, limit, edges)
    panels[0, 0].set_ylabel("on the device, MB")
    panels[1, 0].set_ylabel("copied, MB/s")
    panels[1, 0].yaxis.set_major_formatter(lambda value, _: f"{abs(value):g}")
    # Where there is room, next to the run that ends first.
    panels[1, 1].legend(loc="lower right", fontsize=9, ncols=2, frameon=False)
    figure.savefig(path, dpi=110)


def _draw_run(panels: Any, line: Series, title: str, limit: float, edges: Any) -> None:
    above, below = panels
    moved = (line.loaded.sum() + line.evicted.sum()) / 1e6
    above.set_title(f"{title}: {moved:.0f} MB copied, {line.end:.0f} s", loc="left")
    times = np.append(line.times, line.end)
    resident = np.append(line.resident_bytes, line.resident_bytes[-1]) / 1e6
    # Before the first move it fills up, and nobody reports that.
    above.fill_between([0.0, times[0]], [0.0, resident[0]], color=RESIDENT, linewidth=0)
    above.fill_between(times, resident, step="post", color=RESIDENT, linewidth=0)
    above.axhline(limit, color="black", linestyle="--", linewidth=1)
    above.text(edges[-1], limit * 1.03, "device memory limit", ha="right", va="bottom", fontsize=9)
    above.set_ylim(0, limit * 1.2)
    width = edges[1] - edges[0]
    for bytes_moved, sign, color, label in (
        (line.loaded, 1, LOADED, "to the device"),
        (line.evicted, -1, EVICTED, "from the device"),
    ):
        rates = sign * line.rate(bytes_moved, edges) / 1e6
        below.bar(edges[:-1], rates, width, align="edge", color=color, label=label)
    below.axhline(0.0, color="black", linewidth=0.6)
    below.set_xlabel("seconds")
    for panel in panels:
        panel.axvline(line.end, color="gray", linewidth=1.5)
        panel.set_xlim(0, edges[-1] * 1.02)


if __name__ == "__main__":
    draw(run(), Path(__file__).with_name("problem.png"))
