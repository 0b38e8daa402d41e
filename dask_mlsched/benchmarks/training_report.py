"""The report of a training: learning curves, and a page of Markdown beside the model."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from dask_mlsched.benchmarks.optional import require
from dask_mlsched.core.network import hidden_of
from dask_mlsched.learning.fit import Fit
from dask_mlsched.learning.instance import Instance
from dask_mlsched.learning.split import split
from dask_mlsched.learning.trainer import MARGIN
from dask_mlsched.learning.training import Point, Stage, Trained, TrainSettings

_COLOURS: Final[Mapping[Stage, str]] = {
    "search": "tab:blue",
    "learn": "tab:orange",
    "refine": "tab:green",
}
_MEANING: Final = (
    "Figures are ratios to Dask alone on the instances held out: geometric means and the worst "
    "makespan. The cost is the mean logarithm of that ratio, threefold where it is a loss."
)
_NO_NETWORK: Final = (
    f"- linear: no network cost {MARGIN:g} less on the instances held out, which is what one has to"
)
_MEANINGS: Final[Mapping[Stage, str]] = {
    "search": "search for a linear score",
    "learn": "fit to hindsight costs",
    "refine": "search from there",
}


def draw(trained: Trained, path: Path) -> None:
    """Draw the learning curves as a PNG.

    Raises
    ------
    dask_mlsched.benchmarks.optional.MissingDependencyError
        If matplotlib is not installed.
    """
    require("matplotlib", "the picture")
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 4), layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2)
    for stage, colour in _COLOURS.items():
        points = [point for point in trained.curve if point.stage == stage]
        if not points:
            continue
        minutes = [point.seconds / 60 for point in points]
        label = _MEANINGS[stage]
        for axes, values in (
            (left, [point.bytes_moved for point in points]),
            (right, [point.cost for point in points]),
        ):
            axes.plot(minutes, values, "o", markersize=3.0, color=colour, label=label)
    best = _best_so_far(trained.curve)
    right.step(
        [point.seconds / 60 for point in trained.curve], best, "k-", where="post", linewidth=0.8
    )
    left.set_ylabel("bytes moved over Dask alone")
    right.set_ylabel("cost; the line is the best so far")
    for axes in (left, right):
        axes.set_xlabel("minutes")
        axes.grid(alpha=0.3)
    left.legend()
    left.set_title("Instances held out: geometric mean", fontsize="medium")
    right.set_title("Instances held out: log makespan, losses threefold", fontsize="medium")
    figure.savefig(path, dpi=120)


def draw_fit(made: Fit, path: Path) -> None:
    """Draw the losses of a fit as a PNG.

    Raises
    ------
    dask_mlsched.benchmarks.optional.MissingDependencyError
        If matplotlib is not installed.
    """
    require("matplotlib", "the picture")
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 4), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    numbers = [epoch.number for epoch in made.epochs]
    axes.plot(numbers, [epoch.holdout_loss for epoch in made.epochs], label="held out")
    axes.plot(numbers, [epoch.figures.regret for epoch in made.epochs], label="regret, held out")
    axes.set_xlabel("epoch")
    axes.set_ylabel("median task times")
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(path, dpi=120)


def markdown_of_fit(name: str, decisions: int, made: Fit) -> str:
    """Write how a fit to decisions alone went."""
    best = made.best
    return (
        f"# {name}\n\nThe default model, fitted to {decisions} labelled decisions of replay "
        f"buffers in {len(made.epochs)} epochs.\n\nMean cost of a choice among those held out, in "
        f"median task times: {best.figures.regret:.3f}; of always taking the first in Dask's "
        f"order: {best.figures.first:.3f}.\n"
    )


def _best_so_far(curve: Sequence[Point]) -> list[float]:
    best: list[float] = []
    for point in curve:
        best.append(min(point.cost, best[-1]) if best else point.cost)
    return best


def markdown(
    name: str, instances: Sequence[Instance], settings: TrainSettings, trained: Trained
) -> str:
    """Write what a model was trained on and how, and how that went."""
    hidden = hidden_of(trained.network)
    kind = f"A network with {hidden[0]} and {hidden[1]} hidden units" if any(hidden) else "A score"
    places = split(instances, settings.holdout)
    tasks = [len(instance.dag) for instance in instances]
    families = Counter(instance.family for instance in instances)
    lines = [
        f"# {name}",
        "",
        f"{kind} over {len(trained.network.mean)} features, by which what runs next is chosen.",
        "",
        "## Training",
        "",
        f"- {len(instances)} simulated instances of {min(tasks)} to {max(tasks)} tasks: "
        + ", ".join(f"{family} ({count})" for family, count in families.items()),
        f"- {len(places.learnt)} learnt from, {len(places.held)} held out to choose by"
        + (" (the same: too few)" if places.held == places.learnt else ""),
        f"- seed {settings.seed}; ended: {trained.ended}",
        *([] if any(hidden) else [_NO_NETWORK]),
        "",
        "| stage | fits | round | minutes | labelled | cost | bytes moved | makespan | worst | |",
        "|---|---:|---:|---:|---:|---:|---:|---:|---:|---|",
    ]
    lines += [
        f"| {point.stage} | {point.fits} | {point.number} | {point.seconds / 60:.1f} "
        f"| {point.decisions} | {point.cost:.3f} | {point.bytes_moved:.3f} "
        f"| {point.makespan:.3f} | {point.worst:.2f} | {'best' if point.best else ''} |"
        for point in trained.curve
    ]
    lines += [
        "",
        _MEANING,
    ]
    return "\n".join(lines) + "\n"
