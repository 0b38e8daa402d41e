"""A picture of the experiment: every run, who served it, and what happened to models."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import Any, Final

from dask_mlsched.benchmarks.lifelong import Experiment
from dask_mlsched.benchmarks.lifelong_goals import Run
from dask_mlsched.benchmarks.lifelong_ours import Kind
from dask_mlsched.benchmarks.lifelong_report import moving_gaps
from dask_mlsched.benchmarks.lifelong_stream import PHASES
from dask_mlsched.benchmarks.optional import require
from dask_mlsched.learning.lifelong import SENT_BACK
from dask_mlsched.learning.outcome import CHALLENGE, PROMOTED, REJECTED, ROLLED_BACK

_KINDS: Final[dict[Kind, tuple[str, str]]] = {
    "baseline": ("#7f7f7f", "Dask alone"),
    "generalist": ("#1f77b4", "the generalist"),
    "trial": ("#9467bd", "a generalist on trial"),
    "own": ("#2ca02c", "the family's own model"),
    "shared": ("#bcbd22", "a shared model"),
    "near": ("#17becf", "a near family's model"),
    "bad": ("#d62728", "a champion that is bad on purpose"),
}

#: Event -> its colour; in the order of their rows, from above.
_EVENTS: Final = {
    "split": "#2ca02c",
    "update": "#2ca02c",
    "merge": "#bcbd22",
    CHALLENGE: "#9467bd",
    PROMOTED: "#1f77b4",
    REJECTED: "#8c564b",
    SENT_BACK: "#d62728",
    ROLLED_BACK: "#d62728",
}

#: Contender -> how its line looks.
_LINES: Final = {
    "ours": ("black", "-", "ours"),
    "generalist": ("#1f77b4", "--", "the generalist that ships, as it is"),
    "per program": ("#ff7f0e", "-.", "one model for each program"),
    "baseline": ("#7f7f7f", ":", "Dask alone"),
}

#: Gaps below this are drawn at this, with their figure.
_LOWEST: Final = -0.3
_WINDOW: Final = 8


def draw(found: Experiment, path: Path) -> None:
    """Write a PNG.

    Raises
    ------
    MissingDependencyError
        If matplotlib is not installed.
    """
    require("matplotlib", "the picture")
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    width = max(8.0, 0.24 * len(found.runs) + 2.0)
    figure = Figure(figsize=(width, 8.6), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(3, 1, sharex=True, height_ratios=[3, 1.9, 2.2])
    for panel in panels:
        _draw_phases(panel, found.runs)
    _draw_runs(panels[0], found.runs)
    _draw_events(panels[1], found.runs)
    _draw_lines(panels[2], found.runs)
    panels[2].set_xlim(0.3, len(found.runs) + 0.7)
    panels[2].set_xlabel("run")
    figure.suptitle("Models that learn while runs come in (simulated)", fontsize=14)
    figure.savefig(path, dpi=110)


def _draw_phases(panel: Any, runs: Sequence[Run]) -> None:
    for number, (_, group) in enumerate(groupby(runs, key=lambda run: run.phase)):
        numbers = [run.number for run in group]
        if number % 2:
            panel.axvspan(numbers[0] + 0.5, numbers[-1] + 1.5, color="#f0f0f0", zorder=0)
    for side in ("top", "right"):
        panel.spines[side].set_visible(False)


def _draw_runs(panel: Any, runs: Sequence[Run]) -> None:
    shown = [run for run in runs if run.has_headroom]
    for kind, (color, label) in _KINDS.items():
        some = [run for run in shown if run.played.kind == kind]
        if not some:
            continue
        heights = [max(_LOWEST, run.gap("ours")) for run in some]
        # Dask alone has no bar: a short one shows that there was a run.
        heights = [height if abs(height) > 0.01 else 0.02 for height in heights]
        panel.bar([run.number + 1 for run in some], heights, 0.72, color=color, label=label)
    marks = panel.plot(
        [run.number + 1 for run in shown],
        [run.gap("specialist") for run in shown],
        linestyle="none",
        marker="_",
        markersize=9,
        color="black",
        label="specialist, searched for beforehand",
    )
    for mark in marks:
        mark.set_markeredgewidth(1.4)
    for run in shown:
        if (gap := run.gap("ours")) < _LOWEST:
            panel.annotate(
                f"{gap:.1f}", (run.number + 1, _LOWEST), xytext=(0, -3),
                textcoords="offset points", ha="center", va="top", fontsize=8, color="#d62728",
            )  # fmt: skip
    panel.axhline(0, color="black", linewidth=0.6)
    panel.set_ylim(_LOWEST - 0.12, 1.12)
    panel.set_ylabel("closed gap")
    for phase, group in groupby(runs, key=lambda run: run.phase):
        middle = [run.number + 1 for run in group]
        panel.text(
            (middle[0] + middle[-1]) / 2, 1.06, PHASES[phase], ha="center", fontsize=10,
            style="italic",
        )  # fmt: skip
    panel.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=4, frameon=False, fontsize=9)


def _draw_events(panel: Any, runs: Sequence[Run]) -> None:
    rows = {event: len(_EVENTS) - place for place, event in enumerate(_EVENTS)}
    for event, color in _EVENTS.items():
        at = [
            run.number + 1
            for run in runs
            if any(each.event == event for each in run.played.happened)
        ]
        panel.plot(at, [rows[event]] * len(at), "o", color=color, markersize=7)
    panel.set_yticks(list(rows.values()), list(rows))
    panel.set_ylim(0.4, len(rows) + 0.6)
    panel.grid(axis="y", color="#dddddd", linewidth=0.6)
    panel.set_axisbelow(True)
    panel.tick_params(axis="y", length=0, labelsize=9)
    panel.set_title("what happened to models after a run", fontsize=10, loc="left")


def _draw_lines(panel: Any, runs: Sequence[Run]) -> None:
    for contender, (color, style, label) in _LINES.items():
        points = moving_gaps(runs, contender, _WINDOW)
        panel.plot(
            [number + 1 for number, _ in points],
            [gap for _, gap in points],
            color=color,
            linestyle=style,
            linewidth=2.0 if contender == "ours" else 1.4,
            label=label,
        )
    panel.set_ylabel("closed gap")
    panel.set_title(f"mean over the latest {_WINDOW} runs", fontsize=10, loc="left")
    panel.set_ylim(-0.3, 1.0)
    panel.legend(loc="lower left", ncols=2, frameon=False, fontsize=9)
