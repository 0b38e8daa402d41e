"""Suites of simulated runs, and the page that they end on."""

from __future__ import annotations

import re
from io import StringIO
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from dask_mlsched.benchmarks import suite as suites
from dask_mlsched.benchmarks import suite_report
from dask_mlsched.benchmarks.suite import SUITES, Instance, Suite, run_suite, suite_as_json
from dask_mlsched.benchmarks.workloads import WORKLOADS

POLICIES = ("stock", "random", "greedy")


@pytest.fixture(scope="module")
def small() -> Suite:
    """Three instances, run once for all tests."""
    with pytest.MonkeyPatch.context() as patch:
        instances = (
            Instance("gemm", 2),
            Instance("stencil", 2, workers=2),
            Instance("cholesky", 3, parameters={"tiles": 4}),
        )
        patch.setattr(suites, "SUITES", {"small": instances})
        return run_suite("small", POLICIES, scale="quick")


def test_every_instance_is_a_workload_with_parameters_of_its_own():
    for instances in SUITES.values():
        names = [instance.name for instance in instances]
        assert len(set(names)) == len(names)
        for instance in instances:
            workload = WORKLOADS[instance.workload]
            assert set(instance.parameters) <= set(workload.full)


def test_names_say_what_differs():
    assert Instance("gemm", 1.5).name == "gemm / 1.5"
    named = Instance("gemm", 3, workers=4, parameters={"tiles": 5}).name
    assert named == "gemm / 3, 4 workers, tiles 5"


def test_ratios_are_of_makespans(small: Suite):
    row = small.rows[0]
    greedy, stock = row.result("greedy"), row.result("stock")
    assert greedy is not None
    assert stock is not None
    assert row.to_stock("greedy") == greedy.run.makespan / stock.run.makespan
    assert row.to_bound("greedy") == greedy.run.makespan / row.simulation.bounds.makespan
    assert row.to_stock("stock") == 1.0
    assert row.to_stock("fifo") is None
    assert row.to_bound("fifo") is None


def test_nothing_beats_the_bound(small: Suite):
    for row in small.rows:
        for policy in POLICIES:
            ratio = row.to_bound(policy)
            assert ratio is not None
            assert ratio >= 1


def test_the_mean_is_the_geometric_one(small: Suite):
    ratios = [row.to_stock("random") or 0.0 for row in small.rows]
    assert small.mean_to_stock("random") == pytest.approx(np.exp(np.mean(np.log(ratios))))
    assert small.mean_to_stock("fifo") is None


def test_memory_is_tight_but_enough_for_every_task(small: Suite):
    for row in small.rows:
        moved = row.result("random")
        assert moved is not None
        assert moved.run.bytes_loaded + moved.run.bytes_evicted > 0


def test_json_names_instances_and_means(small: Suite):
    found = suite_as_json(small)
    assert (found["format"], found["version"], found["suite"]) == ("mlsched-suite", 1, "small")
    assert [each["instance"] for each in found["instances"]] == [
        r.instance.name for r in small.rows
    ]
    assert set(found["ratio_to_stock"]) == set(POLICIES)
    assert found["ratio_to_stock"]["stock"] == pytest.approx(1.0)


def test_progress_ends_at_one():
    told: list[tuple[str, float]] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(suites, "SUITES", {"one": (Instance("gemm", 2),)})
        run_suite("one", ["fifo"], scale="quick", on_instance=lambda *each: told.append(each))
    assert told == [("gemm / 2", 0.0), ("done", 1.0)]


def test_an_unknown_suite_is_named():
    with pytest.raises(ValueError, match=r"unknown suite 'nope'; expected one of core"):
        run_suite("nope", POLICIES)


def test_the_page_has_every_number(small: Suite):
    page = suite_report.markdown(small)
    for row in small.rows:
        lines = [line for line in page.splitlines() if line.startswith(f"| {row.instance.name} |")]
        to_stock, to_bound, moved = lines
        assert f"| {row.to_stock('random'):.2f} | {row.to_stock('greedy'):.2f} |" in to_stock
        assert len(re.findall(r"\d+\.\d\d", to_bound)) == len(POLICIES)
        assert len(moved.split("|")) == len(POLICIES) + 3
    assert "| geometric mean |" in page


def test_the_page_without_stock_has_no_ratios_to_it():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(suites, "SUITES", {"one": (Instance("gemm", 2),)})
        without = run_suite("one", ["fifo"], scale="quick")
    assert "| gemm / 2 | – |" in suite_report.markdown(without)


def test_the_table_fits_a_terminal(small: Suite):
    console = Console(width=80, record=True, file=StringIO())
    console.print(suite_report.table(small))
    text = console.export_text()
    assert "gemm / 2" in text
    assert "geometric mean" in text


def test_the_heat_map_is_a_picture_of_both_ratios(small: Suite, tmp_path: Path):
    image = pytest.importorskip("matplotlib.image", reason="matplotlib is in the extra `bench`")
    suite_report.draw(small, tmp_path / "suite.png")
    pixels = image.imread(tmp_path / "suite.png")
    height, width, _ = pixels.shape
    assert height > 250
    assert width > 600
    # More than black on white: the cells are coloured.
    coloured = np.abs(pixels[..., 0] - pixels[..., 2]) > 0.2
    assert coloured.mean() > 0.05
