"""Fewer rectangles than a run has spans: as many as a page can show.

What is narrower than a pixel cannot be seen alone. Where a row has several such spans side by side
within one pixel, or within a few in a run of very many spans, they are put together: one rectangle
for each activity, as wide as its spans together, side by side from where the first began. So every
activity keeps its share, and only the order there is lost, and the gaps between copies.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from dask_mlsched.core.timeline import ACTIVITIES, Activity, Span

#: So many rectangles a page can show and still be moved.
MOST = 40_000

#: Pixels of a row on a screen.
PIXELS = 2_000


@dataclass(frozen=True, slots=True)
class Bar:
    """One rectangle of a row."""

    activity: Activity
    start: float
    end: float
    #: What it shows; None if it stands for several spans.
    span: Span | None
    #: How many spans it stands for, and their bytes.
    count: int
    nbytes: int


@dataclass(frozen=True)
class Thinned:
    """Rows of rectangles."""

    rows: Sequence[Sequence[Bar]]
    #: How many spans are in rectangles for several of them.
    merged: int
    #: The width below which spans were merged, in seconds; 0 if none were.
    width: float


def thinned(rows: Sequence[Sequence[Span]], length: float, most: int = MOST) -> Thinned:
    """Put spans together until at most so many rectangles are left.

    Parameters
    ----------
    rows
        Of disjoint spans, in order.
    length
        Of the whole run, in seconds.
    most
        If there are more rows than that has room for, a row keeps one rectangle per activity.
    """
    if sum(map(len, rows)) <= most or not length > 0:
        return Thinned([[_alone(span) for span in row] for row in rows], 0, 0.0)
    pixels = PIXELS
    while True:
        width = length / pixels
        made = [list(_merged(row, width)) for row in rows]
        if sum(map(len, made)) <= most or pixels == 1:
            merged = sum(bar.count for bars in made for bar in bars if bar.span is None)
            return Thinned(made, merged, width)
        pixels = max(1, pixels * 3 // 4)


def _alone(span: Span) -> Bar:
    return Bar(span.activity, span.start, span.end, span, 1, span.nbytes)


def _merged(row: Sequence[Span], width: float) -> Iterator[Bar]:
    """Yield the rectangles of a row: runs of narrow spans that begin in the same pixel together."""
    group: list[Span] = []
    pixel = -1
    for span in row:
        here = math.floor(span.start / width)
        narrow = span.length < width
        if group and (not narrow or here != pixel):
            yield from _together(group)
            group = []
        if narrow:
            group.append(span)
            pixel = here
        else:
            yield _alone(span)
    yield from _together(group)


def _together(group: Sequence[Span]) -> Iterator[Bar]:
    kinds = {span.activity for span in group}
    if len(group) <= len(kinds):
        yield from map(_alone, group)
        return
    start = group[0].start
    for activity in ACTIVITIES:
        spans = [span for span in group if span.activity == activity]
        if len(spans) == 1:
            end = start + spans[0].length
            yield Bar(activity, start, end, spans[0], 1, spans[0].nbytes)
        elif spans:
            end = start + sum(span.length for span in spans)
            yield Bar(activity, start, end, None, len(spans), sum(s.nbytes for s in spans))
        else:
            continue
        start = end
