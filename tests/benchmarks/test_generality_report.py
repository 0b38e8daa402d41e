from __future__ import annotations

import json
from pathlib import Path

import pytest
from rich.console import Console

from dask_mlsched.benchmarks import generality_picture
from dask_mlsched.benchmarks.generality_report import Report, as_json, remarks, report, tables
from dask_mlsched.learning.families import Families
from dask_mlsched.learning.generality import FamilyGaps, GapTable
from dask_mlsched.learning.library import Library
from dask_mlsched.learning.model_ref import LibraryError
from tiny_lifelong import size_of_png

MODELS = ("baseline", "generalist/v0001", "gemm/v0001")


def a_table() -> GapTable:
    families = (
        FamilyGaps("gemm", 0.5, dict(zip(MODELS, (1.0, 0.7, 0.55), strict=True))),
        FamilyGaps("lu", 0.8, dict(zip(MODELS, (1.0, 0.9, 1.1), strict=True))),
    )
    return GapTable(MODELS, families, ("noop",), {"gemm/v0001": ["gemm"]}, 0.25)


def a_report() -> Report:
    return Report(
        a_table(),
        {"generalist/v0001": ["champion"], "gemm/v0001": ["family:gemm"]},
        ("gemm", "lu", "noop"),
        ((1.0, 0.7, 0.0), (0.7, 1.0, 0.0), (0.0, 0.0, 1.0)),
        ("fft",),
        ("family 'x' is damaged",),
    )


def printed(found: Report) -> str:
    console = Console(width=140)
    with console.capture() as capture:
        for table in tables(found):
            console.print(table)
    return capture.get()


def test_tables_show_gaps_accuracy_generality_and_the_front():
    text = printed(a_report())
    rows = [line.split() for line in text.splitlines() if line.split()]
    assert ["gemm/v0001", "0.90", "-0.50"] in rows
    assert ["gemm/v0001", "0.90", "50%", "lu", "-0.50", "*", "family:gemm"] in rows
    assert ["generalist/v0001", "0.55", "100%", "lu", "0.50", "*", "champion"] in rows
    assert ["baseline", "0.00", "0%", "gemm", "0.00"] in rows
    assert ["2", "lu", "0.70", "1.00"] in rows


def test_families_that_do_not_count_are_named():
    told = "\n".join(remarks(a_report()))
    assert "no headroom, left out: noop" in told
    assert "no run could be simulated of: fft" in told
    assert "family 'x' is damaged" in told


def test_the_json_has_gaps_aliases_and_similarities():
    content = json.loads(json.dumps(as_json(a_report()), allow_nan=False))
    assert content["aliases"] == {"champion": "generalist/v0001", "family:gemm": "gemm/v0001"}
    assert content["families"][0]["gaps"]["gemm/v0001"] == pytest.approx(0.9)
    assert [each["model"] for each in content["models"] if each["on_front"]] == list(MODELS[1:])
    assert content["left_out"] == ["noop"]
    assert content["similarity"][1] == [0.7, 1.0, 0.0]


def test_the_picture_is_a_png_of_sensible_size(tmp_path: Path):
    path = tmp_path / "models.png"
    generality_picture.draw(a_table(), path)
    width, height = size_of_png(path.read_bytes())
    assert 800 < width < 2500
    assert 300 < height < 1500


def test_a_picture_without_headroom_says_so(tmp_path: Path):
    path = tmp_path / "models.png"
    generality_picture.draw(GapTable(MODELS, (), ("noop",), {}, 0.25), path)
    assert path.stat().st_size > 1_000


def test_a_library_without_families_is_a_clear_error(tmp_path: Path):
    library = Library.open(tmp_path / "library")
    with pytest.raises(LibraryError, match="no families with runs beside it; expected some"):
        report(library, Families(tmp_path / "families"))
