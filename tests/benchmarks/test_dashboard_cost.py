"""What the dashboard's pages cost: the figures and the verdict, and one real pair."""

from __future__ import annotations

import json

import pytest
from rich.console import Console

from dask_mlsched.benchmarks.dashboard_cost import DashboardCost, Pair, as_json, measure, table


def a_result(*observing: float) -> DashboardCost:
    pairs = tuple(
        Pair(10.0, 8.0, each, 6.0, 5.0, on_first=n % 2 == 1) for n, each in enumerate(observing)
    )
    return DashboardCost("nobody looks", 4_000, 2, pairs)


def text_of(result: DashboardCost) -> str:
    console = Console(width=120)
    with console.capture() as capture:
        console.print(table([result]))
    return capture.get()


def test_shares_and_ratios_are_medians_over_pairs():
    result = a_result(0.05, 0.5, 0.08)
    assert result.share == pytest.approx(0.008)
    assert result.cpu_ratio == 1.25
    assert result.ratio == 1.2


@pytest.mark.parametrize(("observing", "verdict"), [(0.09, "met"), (0.11, "missed")])
def test_what_samples_and_pages_took_is_held_against_the_limit(observing: float, verdict: str):
    row = next(line for line in text_of(a_result(observing)).splitlines() if "median" in line)
    assert row.split() == ["median", f"{observing / 10:.2%}", "1.250", "(1.25–1.25)", "1.200",
                           "1%:", verdict]  # fmt: skip


def test_machines_get_every_pair():
    (told,) = json.loads(json.dumps(as_json([a_result(0.1, 0.2)])))["results"]
    assert told["share"] == pytest.approx(0.015)
    assert [pair["observing"] for pair in told["pairs"]] == [0.1, 0.2]
    assert [pair["on_first"] for pair in told["pairs"]] == [False, True]


@pytest.mark.slow
@pytest.mark.integration
@pytest.mark.parametrize("looked_at", [False, True])
def test_a_real_pair(looked_at: bool):
    done: list[float] = []
    result = measure(looked_at=looked_at, tasks=300, pairs=1, on_pair=done.append)
    (pair,) = result.pairs
    assert done == [0, 1]
    assert 0 < pair.observing < pair.cpu_on
    assert pair.cpu_off > 0
