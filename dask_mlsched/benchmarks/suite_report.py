"""A suite on one page: a heat map of policies and instances, and the same as Markdown."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich import box
from rich.table import Table

from dask_mlsched.benchmarks.optional import require
from dask_mlsched.benchmarks.suite import STOCK, Row, Suite

_HEADING = "Makespan of each policy over Dask's own scheduling, simulated (below 1 is faster)"


def table(suite: Suite) -> Table:
    """Lay the ratios to stock out for a terminal."""
    result = Table(title=_HEADING, box=box.SIMPLE_HEAD, padding=0)
    result.add_column("instance", no_wrap=True)
    policies = _compared(suite)
    for policy in policies:
        result.add_column(policy.replace("-", "\n"), justify="right")
    for row in suite.rows:
        result.add_row(row.instance.name, *(_number(row.to_stock(policy)) for policy in policies))
    result.add_section()
    means = (_number(suite.mean_to_stock(policy)) for policy in policies)
    result.add_row("geometric mean", *means)
    return result


def markdown(suite: Suite) -> str:
    """Return the ratios to stock and to the bound, and the bytes, as Markdown."""
    policies = _compared(suite)
    every = [STOCK, *policies] if STOCK in suite.policies else policies
    clean = "clean arrays leave free" if suite.keep_clean else "every eviction is a copy"
    lines = [
        f"# Suite {suite.name}, simulated",
        "",
        f"Eviction: {suite.eviction}; {clean}. Instances are workload / memory ratio.",
        "",
        f"## {_HEADING}",
        "",
        *_rows(suite, policies, lambda row, policy: _number(row.to_stock(policy))),
        f"| geometric mean | {' | '.join(_number(suite.mean_to_stock(p)) for p in policies)} |",
        "",
        "## Makespan over what no schedule can beat",
        "",
        *_rows(suite, every, lambda row, policy: _number(row.to_bound(policy))),
        "",
        "## Bytes loaded and evicted, MB",
        "",
        *_rows(suite, every, _moved),
        "",
    ]
    return "\n".join(lines)


def _rows(suite: Suite, policies: Sequence[str], cell: Callable[[Row, str], str]) -> list[str]:
    return [
        f"| instance | {' | '.join(policies)} |",
        f"|---|{'---|' * len(policies)}",
        *(
            f"| {row.instance.name} | {' | '.join(cell(row, policy) for policy in policies)} |"
            for row in suite.rows
        ),
    ]


def _moved(row: Row, policy: str) -> str:
    result = row.result(policy)
    if result is None:
        return "–"
    return f"{(result.run.bytes_loaded + result.run.bytes_evicted) / 1e6:.0f}"


def _number(ratio: float | None) -> str:
    return "–" if ratio is None else f"{ratio:.2f}"


def _compared(suite: Suite) -> list[str]:
    return [policy for policy in suite.policies if policy != STOCK]


def draw(suite: Suite, path: Path) -> None:
    """Write a PNG: instances down, policies across; to stock on the left, to the bound right.

    Raises
    ------
    MissingDependencyError
        If matplotlib is not installed.
    """
    require("matplotlib", "the picture")
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    policies = _compared(suite)
    every = [STOCK, *policies] if STOCK in suite.policies else policies
    width = 3.4 + 0.62 * (len(policies) + len(every))
    figure = Figure(figsize=(width, 1.8 + 0.32 * len(suite.rows)), layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(
        1, 2, sharey=True, width_ratios=[max(1, len(policies)), len(every)]
    )
    names = [row.instance.name for row in suite.rows]
    to_stock = [[row.to_stock(policy) for policy in policies] for row in suite.rows]
    to_bound = [[row.to_bound(policy) for policy in every] for row in suite.rows]
    _panel(left, to_stock, policies, names, "over stock", "RdYlGn_r", middle=1.0)
    _panel(right, to_bound, every, names, "over the bound", "YlOrRd", middle=None)
    figure.suptitle(f"Simulated makespan, suite {suite.name}, eviction {suite.eviction}")
    figure.savefig(path, dpi=110)


def _panel(
    axes: Any,
    cells: Sequence[Sequence[float | None]],
    columns: Sequence[str],
    rows: Sequence[str],
    title: str,
    colours: str,
    *,
    middle: float | None,
) -> None:
    ratios = np.array([[np.nan if r is None else r for r in row] for row in cells], float)
    ratios = ratios.reshape(len(rows), len(columns))
    # By the logarithm: half as long is as far from 1 as twice as long.
    shades = np.log2(ratios)
    limit = float(np.nanmax(np.abs(shades), initial=0.1))
    lowest = -limit if middle is not None else 0.0
    axes.imshow(shades, cmap=colours, vmin=lowest, vmax=limit, aspect="auto")
    axes.set_xticks(range(len(columns)), columns, rotation=60, ha="right", fontsize=8)
    axes.set_yticks(range(len(rows)), rows, fontsize=8)
    axes.set_title(title, fontsize=10)
    for y, x in np.ndindex(ratios.shape):
        if not np.isnan(ratios[y, x]):
            text = f"{ratios[y, x]:.2f}" if ratios[y, x] < 10 else f"{ratios[y, x]:.0f}"
            axes.text(x, y, text, ha="center", va="center", fontsize=7)
