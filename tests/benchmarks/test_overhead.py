from __future__ import annotations

import json

import pytest
from rich.console import Console

from dask_mlsched.benchmarks import overhead
from dask_mlsched.benchmarks.overhead import CASES, Overhead, Pair, as_json, measure, table


def a_result(*seconds: tuple[float, float]) -> Overhead:
    pairs = tuple(Pair(on=on, off=off, on_first=n % 2 == 1) for n, (on, off) in enumerate(seconds))
    return Overhead(CASES[0], tasks=20_000, workers=2, pairs=pairs)


def text_of(result: Overhead) -> str:
    console = Console(width=80)
    with console.capture() as capture:
        console.print(table([result]))
    return capture.get()


def row(result: Overhead, first: str) -> list[str]:
    return next(line.split() for line in text_of(result).splitlines() if first in line)


def test_the_ratio_is_the_median_over_pairs_and_the_spread_is_shown():
    result = a_result((11.0, 10.0), (10.0, 10.0), (26.0, 20.0))
    assert result.ratio == 1.1
    assert result.spread == (1.0, 1.3)
    assert row(result, "median")[:3] == ["median", "(1.000–1.300)", "1.100"]


def test_every_pair_is_shown_with_its_order():
    result = a_result((11.0, 10.0), (10.0, 10.0))
    assert row(result, "off first")[-6:] == ["1,", "off", "first", "11.00", "10.00", "1.100"]
    assert row(result, "on first")[-6:] == ["2,", "on", "first", "10.00", "10.00", "1.000"]


@pytest.mark.parametrize(("seconds", "verdict"), [(10.4, "met"), (10.6, "missed")])
def test_a_missed_limit_is_called_missed(seconds, verdict):
    result = a_result((seconds, 10.0))
    assert result.within_limit is (verdict == "met")
    assert row(result, "median")[-2:] == ["1.05:", verdict]


def test_json_has_the_ratio_the_pairs_and_the_verdict():
    (result,) = json.loads(json.dumps(as_json([a_result((11.0, 10.0))])))["results"]
    assert result["ratio"] == 1.1
    assert result["within_limit"] is False
    assert result["pairs"] == [{"on": 11.0, "off": 10.0, "ratio": 1.1, "on_first": False}]


def test_both_orders_take_turns(monkeypatch):
    orders = []

    def pair(case, problem, warm_up, workers, *, on_first):
        orders.append(on_first)
        return Pair(1.0, 1.0, on_first)

    monkeypatch.setattr(overhead, "_pair", pair)
    done: list[int] = []
    measure(CASES[0], tasks=10, pairs=4, on_pair=done.append)
    assert orders == [False, True, False, True]
    assert done == [0, 1, 2, 3, 4]


@pytest.mark.integration
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_both_orders_are_measured_on_a_cluster(case):
    result = measure(case, tasks=100, pairs=2, workers=1)
    assert [pair.on_first for pair in result.pairs] == [False, True]
    assert all(pair.on > 0 and pair.off > 0 for pair in result.pairs)
