"""The timeline as bokeh draws it: a row for each thread, a rectangle for each thing that it did."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from bokeh.models import ColumnDataSource, HoverTool, Range1d
from bokeh.models.renderers import DataRenderer
from bokeh.plotting import figure

from dask_mlsched.benchmarks.run_report.drawing import COLOURS, INK, over_time
from dask_mlsched.benchmarks.run_report.thinning import Bar, Thinned
from dask_mlsched.benchmarks.run_report.wording import key_text
from dask_mlsched.core.timeline import ACTIVITIES, Activity, Span, Timeline
from dask_mlsched.extension.in_words import bytes_text, seconds_text

#: Rows are so high, in pixels, as far as the picture does not get higher than this.
_ROW: Final = 30
_HIGHEST: Final = 1_600
_AROUND: Final = 110

#: The row of a worker's copies, over that of a thread; and the gap after it.
_COPIES: Final = 0.5
_GAP: Final = 0.3

#: So many labels beside rows that are too low for one each.
_LABELS: Final = 60


@dataclass(frozen=True, slots=True)
class _Row:
    """Where a row stands, from the top."""

    name: str
    top: float
    bottom: float

    @property
    def middle(self) -> float:
        return (self.top + self.bottom) / 2


def timeline_chart(found: Timeline, bars: Thinned) -> figure:
    """Draw a row for each thread, and a thinner one for the copies of each worker.

    Parameters
    ----------
    bars
        Rows in the order of `timeline_rows`.
    """
    rows = _rows(found)
    total = rows[-1].bottom if rows else 1.0
    height = int(min(_HIGHEST, _AROUND + _ROW * total))
    made = over_time("", height, found.makespan)
    made.y_range = Range1d(start=total + 0.1, end=-0.1)
    made.ygrid.grid_line_color = None
    drawn: list[DataRenderer] = [
        made.quad(
            left="left",
            right="right",
            top="top",
            bottom="bottom",
            source=_source(activity, bars, rows, found.keys),
            fill_color=COLOURS[activity],
            line_color=None,
            hover_fill_color=COLOURS[activity],
            hover_line_color=INK,
        )
        for activity in ACTIVITIES
    ]
    shown = {"what": "@what", "task": "@key", "took": "@took", "bytes": "@size"}
    tooltips = [*shown.items(), ("from", "@left{0.0000} s")]
    made.add_tools(HoverTool(renderers=drawn, tooltips=tooltips))
    labelled = _labelled(rows, room=height == int(_AROUND + _ROW * total))
    made.yaxis.ticker = [row.middle for row in labelled]
    made.yaxis.major_label_overrides = {row.middle: row.name for row in labelled}
    made.yaxis.major_tick_line_color = None
    return made


def timeline_rows(found: Timeline) -> list[Sequence[Span]]:
    """List the spans of each row: each worker's threads, and then its copies, if it has any."""
    rows: list[Sequence[Span]] = []
    for worker in found.workers:
        rows += worker.threads
        if worker.copies:
            rows.append(worker.copies)
    return rows


def _rows(found: Timeline) -> list[_Row]:
    rows: list[_Row] = []
    top = 0.0
    for worker in found.workers:
        for thread in range(len(worker.threads)):
            rows.append(_Row(f"worker {worker.number}, thread {thread}", top, top + 0.9))
            top += 1
        if worker.copies:
            rows.append(_Row("its copies", top, top + _COPIES))
            top += _COPIES
        top += _GAP
    return rows


def _labelled(rows: Sequence[_Row], *, room: bool) -> Sequence[_Row]:
    """Choose the rows that get a label: not all where rows are lower than letters."""
    if room:
        return rows
    firsts = [row for row in rows if row.name.endswith("thread 0")]
    return firsts[:: -(-len(firsts) // _LABELS)]


def _source(
    activity: Activity, bars: Thinned, rows: Sequence[_Row], keys: Sequence[str]
) -> ColumnDataSource:
    found = [
        (bar, row)
        for made, row in zip(bars.rows, rows, strict=True)
        for bar in made
        if bar.activity == activity
    ]
    return ColumnDataSource(
        {
            "left": np.array([bar.start for bar, _ in found]),
            "right": np.array([bar.end for bar, _ in found]),
            "top": np.array([row.top for _, row in found], np.float32),
            "bottom": np.array([row.bottom for _, row in found], np.float32),
            "what": [activity] * len(found),
            "key": [_bar_name(bar, keys) for bar, _ in found],
            "took": [_bar_seconds(bar) for bar, _ in found],
            "size": [bytes_text(bar.nbytes) if bar.nbytes else "–" for bar, _ in found],
        }
    )


def _bar_name(bar: Bar, keys: Sequence[str]) -> str:
    if bar.span is None:
        return f"{bar.count} that are drawn together"
    return key_text(keys[bar.span.task]) if bar.span.task >= 0 else "–"


def _bar_seconds(bar: Bar) -> str:
    measured = None if bar.span is None else bar.span.seconds
    return seconds_text(bar.end - bar.start if measured is None else measured)
