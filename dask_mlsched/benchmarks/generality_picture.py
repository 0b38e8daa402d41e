"""A picture of models: what each closes of every family's gap, beside accuracy and generality."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import numpy as np

from dask_mlsched.benchmarks.optional import require
from dask_mlsched.core.model_choice import BASELINE
from dask_mlsched.learning.generality import GapTable

#: Gaps outside of this have the colours of its ends.
_LOWEST, _HIGHEST = -0.5, 1.0

#: Points that are nearer than this share the place of their numbers.
_NEAR: Final = 0.035


def draw(table: GapTable, path: Path) -> None:
    """Write a PNG.

    Raises
    ------
    MissingDependencyError
        If matplotlib is not installed.
    """
    require("matplotlib", "the picture")
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    left = 2.6 + 0.62 * max(3, len(table.families))
    figure = Figure(
        figsize=(left + 4.6, 2.6 + max(2.4, 0.36 * len(table.models))), layout="constrained"
    )
    FigureCanvasAgg(figure)
    panels = figure.subplots(1, 2, width_ratios=[left, 4.6])
    _draw_gaps(figure, panels[0], table)
    _draw_front(panels[1], table)
    figure.suptitle("Accuracy and generality of models", fontsize=14)
    figure.savefig(path, dpi=110)


def _draw_gaps(figure: Any, panel: Any, table: GapTable) -> None:
    panel.set_title("closed gap, by family", fontsize=10, loc="left")
    if not table.families:
        panel.set_axis_off()
        panel.text(0.5, 0.5, "no family has headroom", ha="center", transform=panel.transAxes)
        return
    gaps = np.array([[each.gap(model) for each in table.families] for model in table.models])
    image = panel.imshow(gaps, cmap="RdYlGn", vmin=_LOWEST, vmax=_HIGHEST, aspect="auto")
    for row, model in enumerate(table.models):
        meant = table.covers.get(model)
        for column, family in enumerate(table.families):
            panel.text(
                column,
                row,
                f"{gaps[row, column]:.2f}",
                ha="center",
                va="center",
                fontsize=8,
                # What a model is for stands out.
                fontweight="bold" if meant and family.family in meant else "normal",
            )
    names = [each.family for each in table.families]
    panel.set_xticks(range(len(names)), names, rotation=40, ha="right", fontsize=8)
    rows = [f"{model}  {number}" for number, model in enumerate(table.models, 1)]
    panel.set_yticks(range(len(rows)), rows, fontsize=8)
    panel.tick_params(length=0)
    figure.colorbar(image, ax=panel, fraction=0.03, pad=0.02)


def _draw_front(panel: Any, table: GapTable) -> None:
    panel.set_title("the best are top right; red: the front", fontsize=10, loc="left")
    points = {
        model: (accuracy, generality)
        for model in table.models
        if (accuracy := table.accuracy(model)) is not None
        and (generality := table.generality(model)) is not None
    }
    front = sorted(points[model] for model in table.front)
    panel.plot(
        [each for each, _ in front], [each for _, each in front], color="#d62728", linewidth=1.2
    )
    # Numbers of models at the same place stand above each other.
    placed: list[tuple[float, float]] = []
    for number, (model, (accuracy, generality)) in enumerate(points.items(), 1):
        color = "#7f7f7f" if model == BASELINE else "#1f77b4"
        color = "#d62728" if model in table.front else color
        panel.plot(accuracy, generality, "o", color=color, markersize=7)
        above = sum(abs(accuracy - x) < _NEAR and abs(generality - y) < _NEAR for x, y in placed)
        placed.append((accuracy, generality))
        panel.annotate(
            f"{number}",
            (accuracy, generality),
            xytext=(0, 7 + 11 * above),
            textcoords="offset points",
            ha="center",
            fontsize=8,
        )
    panel.set_xlabel("accuracy: mean gap of the families that it is for")
    panel.set_ylabel("generality: share of families that it covers")
    panel.set_ylim(-0.06, 1.15)
    accuracies = [0.0, *(accuracy for accuracy, _ in points.values())]
    panel.set_xlim(min(accuracies) - 0.06, max(accuracies) + 0.06)
    for side in ("top", "right"):
        panel.spines[side].set_visible(False)
