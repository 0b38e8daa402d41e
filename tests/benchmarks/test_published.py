"""Published counts beside ours: the order holds, and what is missed is marked."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from rich.console import Console

from dask_mlsched.benchmarks import published
from dask_mlsched.benchmarks.published import ALGORITHMS, Count, count_tiles
from dask_mlsched.cli import mlsched
from dask_mlsched.cli import published as command


@pytest.fixture(scope="module")
def dense() -> dict[str, Count]:
    return {count.algorithm.name: count for count in count_tiles(75)}


@pytest.mark.slow
def test_counts_fall_from_the_simplest_algorithm_to_the_best(dense: dict[str, Count]):
    # In the published order, but for DARTS with LRU: without transfers begun far ahead of time,
    # age is a good enough rule for it.
    in_order = ["eager", "DMDAR", "DARTS, LRU"]
    tiles = [dense[name].tiles for name in in_order]
    assert tiles == sorted(tiles, reverse=True)
    assert dense["DARTS + LUF"].tiles < dense["DARTS, LRU"].tiles
    assert dense["HFP, Belady"].tiles < dense["DARTS, LRU"].tiles


@pytest.mark.slow
@pytest.mark.parametrize("name", ["eager", "DARTS + LUF", "HFP, Belady"])
def test_these_counts_are_as_published(dense: dict[str, Count], name: str):
    count = dense[name]
    assert count.ratio is not None
    assert abs(count.ratio - 1) <= published.TOLERANCE
    assert not count.misses


@pytest.mark.slow
def test_no_count_is_below_the_compulsory_loads(dense: dict[str, Count]):
    assert min(count.tiles for count in dense.values()) >= 2 * 75


def test_the_sparse_instance_keeps_the_order():
    tiles = [count.tiles for count in count_tiles(120, 0.05)]
    eager, darts_lru, dmdar, darts_luf, hfp = tiles
    assert eager > dmdar > darts_lru >= 0.95 * darts_luf
    assert darts_luf > hfp
    assert all(count.published is None for count in count_tiles(10, 0.5))


def test_what_should_agree_and_does_not_is_marked():
    dmdar = next(each for each in ALGORITHMS if each.name == "DMDAR")
    far = Count("N", dmdar, 2 * 905, 905)
    near = Count("N", dmdar, 905, 905)
    eager = Count("N", ALGORITHMS[0], 1, 5773)
    assert (far.misses, near.misses, eager.misses) == (True, False, False)
    page = published.markdown([far, near])
    assert "| N | DMDAR | 905 | 1810 | 2.00 (missed) |" in page
    assert "| N | DMDAR | 905 | 905 | 1.00 |" in page
    console = Console(record=True, width=100)
    console.print(published.table([far]))
    assert "2.00 !" in console.export_text()


def test_the_command_writes_json_and_markdown(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setattr(command, "_INSTANCES", ((6, 1.0, False), (6, 0.5, True)))
    page = tmp_path / "page.md"
    result = CliRunner().invoke(mlsched, ["published", "--json", "-", "--markdown", str(page)])
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert len(found) == 2 * len(ALGORITHMS)
    assert {each["instance"] for each in found} == {
        "N = 6, dense",
        "N = 6, 50% of the tasks, in random order",
    }
    assert len(page.read_text().splitlines()) == 2 + len(found)
