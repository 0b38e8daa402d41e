"""Fewer rectangles, with the same shares."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dask_mlsched.benchmarks.run_report.thinning import Bar, thinned
from dask_mlsched.core.timeline import ACTIVITIES, Span


def a_row(count: int, rng: random.Random, length: float = 10.0) -> list[Span]:
    """Make so many spans without gaps; most are short, some are long."""
    widths = [rng.choice([1e-6, 1e-3, 1.0]) * (0.5 + rng.random()) for _ in range(count)]
    scale, now, spans = length / sum(widths), 0.0, []
    for number, width in enumerate(widths):
        activity = rng.choice(ACTIVITIES)
        spans.append(Span(activity, now, now + scale * width, number, number, scale * width))
        now += scale * width
    return spans


def lengths(row: Sequence[Span] | Sequence[Bar]) -> dict[str, float]:
    sums: Counter[str] = Counter()
    for each in row:
        sums[each.activity] += each.end - each.start  # type: ignore[assignment]
    return dict(sums)


def test_where_there_is_room_every_span_has_its_own():
    row = a_row(50, random.Random(0))
    found = thinned([row], 10.0, most=50)
    assert [bar.span for bar in found.rows[0]] == row
    assert (found.merged, found.width) == (0, 0.0)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.randoms(use_true_random=False), st.integers(1, 4), st.integers(1, 400))
def test_activities_keep_their_share_and_rows_their_order(
    rng: random.Random, rows: int, count: int
):
    spans = [a_row(count, rng) for _ in range(rows)]
    found = thinned(spans, 10.0, most=60)
    for before, after in zip(spans, found.rows, strict=True):
        assert lengths(after) == pytest.approx(lengths(before), abs=1e-9)
        assert sum(bar.count for bar in after) == len(before)
        assert sum(bar.nbytes for bar in after) == sum(span.nbytes for span in before)
        assert all(one.end <= other.start + 1e-9 for one, other in pairwise(after))
    merged = [bar for row in found.rows for bar in row if bar.span is None]
    assert found.merged == sum(bar.count for bar in merged)


def test_what_is_wider_than_a_pixel_stays_alone():
    row = a_row(2_000, random.Random(1))
    found = thinned([row], 10.0, most=1_990)
    wide = [span for span in row if span.length >= found.width]
    alone = {bar.span for bar in found.rows[0]}
    assert wide
    assert set(wide) <= alone


def test_a_large_run_has_no_more_rectangles_than_asked_for():
    rows = [a_row(20_000, random.Random(seed)) for seed in range(8)]
    found = thinned(rows, 10.0, most=10_000)
    assert 1_000 < sum(map(len, found.rows)) <= 10_000
    assert found.merged > 100_000
    # As fine as there is room for: nowhere is a large part of the run one rectangle.
    assert found.width < 10.0 / 100


def test_copies_with_gaps_between_them_are_put_together_as_well():
    row = [Span("load", n * 1e-5, n * 1e-5 + 1e-6, n, 1, 1e-6) for n in range(100)]
    (bars,) = thinned([row], 10.0, most=50).rows
    (bar,) = bars
    assert (bar.activity, bar.start, bar.count, bar.nbytes) == ("load", 0.0, 100, 100)
    assert bar.end == pytest.approx(1e-4)
