from __future__ import annotations

from typing import Any

import pytest

from dask_mlsched.benchmarks.device_bench import FORMAT, VERSION
from dask_mlsched.benchmarks.device_report import check_document, markdown, overlap
from dask_mlsched.benchmarks.report import as_json
from fake_runs import a_comparison, an_arm


def a_document(case: str = "gemm-1", *, ratio: float = 2.0, **changes: Any) -> dict[str, Any]:
    arms = [
        an_arm("stock@dask-cuda", 4.0, digest=None),
        an_arm("ours@cuda", 3.0, digest=None, status={"decision_seconds": {"p50": 5e-5}}),
    ]
    return {
        "format": FORMAT,
        "version": VERSION,
        "case": case,
        "ratio": ratio,
        "device": {"name": "NVIDIA X", "memory": 80_000_000_000},
        "copies": {"to_device": 40e6, "to_host": 60e6},
        "packages": {"python": "3.12.3", "cupy-cuda13x": "14.2.0"},
        "bench": as_json([a_comparison(*arms)]),
        **changes,
    }


def rows(page: str) -> list[list[str]]:
    return [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in page.splitlines()
        if line.startswith("| ") and not line.startswith("| case")
    ]


def test_a_row_has_everything_that_was_asked_for():
    stock, ours = rows(markdown([a_document()]))
    # 7 MB in 0.7 s, and pinned copies of 50 MB/s on average.
    expected = ["3.0", "4.0", "0.01", "20%", "0%"]
    assert stock == ["gemm-1", "2", "stock@dask-cuda", "4.00", "**1.00**", *expected, "–", "yes"]
    assert ours == ["gemm-1", "2", "ours@cuda", "3.00", "**0.75**", *expected, "50", "yes"]


def test_device_packages_and_pinned_copies_stand_above_the_table():
    page = markdown([a_document(), a_document(copies={"to_device": 60e9, "to_host": 40e9})])
    assert page.count("## NVIDIA X, 80 GB") == 1
    assert "python 3.12.3, cupy-cuda13x 14.2.0." in page
    assert "Pinned copies: 30.0 GB/s to the device, 20.0 GB/s to the host" in page
    assert len(rows(page)) == 4


def test_another_device_has_a_table_of_its_own():
    other = a_document(device={"name": "emulated", "memory": None}, copies=None)
    page = markdown([a_document(), other])
    assert page.count("| case |") == 2
    assert "## emulated\n" in page
    assert page.count("Pinned copies") == 1
    assert rows(page)[-1][8] == "–"


def test_wrong_results_stand_out():
    arms = [an_arm("stock"), an_arm("ours", matches_reference=False)]
    page = markdown([a_document(bench=as_json([a_comparison(*arms)]))])
    assert [row[-1] for row in rows(page)] == ["yes", "**no**"]


def test_the_spread_is_shown_where_there_is_one():
    arms = [an_arm("stock", 10.0, repeat=n) for n in range(3)]
    arms += [an_arm("ours", seconds, repeat=n) for n, seconds in enumerate([5.0, 6.0, 9.0])]
    page = markdown([a_document(bench=as_json([a_comparison(*arms)]))])
    assert rows(page)[1][4] == "**0.60** (0.50 to 0.90)"


def test_runs_that_moved_nothing_have_no_speed_and_no_overlap():
    still = {"load_seconds": 0.0, "evict_seconds": 0.0, "bytes_loaded": 0, "bytes_evicted": 0}
    page = markdown([a_document(bench=as_json([a_comparison(an_arm("stock", **still))]))])
    assert rows(page)[0][7:10] == ["0.00", "0%", "0%"]


@pytest.mark.parametrize(
    ("seconds", "share"), [(10.0, 0.0), (12.0, 0.0), (9.0, 0.25), (6.0, 1.0), (5.0, 1.0)]
)
def test_overlap_is_what_is_missing_from_the_makespan(seconds, share):
    run = {"compute_seconds": 6.0, "load_seconds": 3.0, "evict_seconds": 1.0}
    assert overlap({**run, "seconds": seconds}) == share


def test_dask_cudas_own_benchmark_has_a_table():
    found = {"arguments": "-o dot", "without": [4.0, 2.0, 3.0], "with": [1.5, 9.0, 1.0]}
    page = markdown([a_document()], [found])
    assert "| `-o dot` | 3.00 | 1.50 | **0.50** |" in page


@pytest.mark.parametrize("found", [[], {}, {"format": FORMAT}, {"format": "x", "version": VERSION}])
def test_other_documents_are_refused_by_name(found):
    with pytest.raises(ValueError, match=r"some\.json has format .*; expected"):
        check_document(found, "some.json")
