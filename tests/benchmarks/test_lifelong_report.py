from __future__ import annotations

import json
from pathlib import Path

import pytest
from rich.console import Console

from dask_mlsched.benchmarks import lifelong_picture
from dask_mlsched.benchmarks.lifelong_ours import BAD_REASON
from dask_mlsched.benchmarks.lifelong_report import as_json, line, moving_gaps, tables
from dask_mlsched.learning.outcome import Outcome
from tiny_lifelong import a_run, an_experiment, size_of_png


def printed() -> str:
    console = Console(width=140)
    with console.capture() as capture:
        for table in tables(an_experiment()):
            console.print(table)
    return capture.get()


def test_a_line_tells_workload_model_time_gap_and_events():
    event = Outcome("split", "0.6 of Dask's time", "gemm-1234/v0001", "gemm-1234")
    refused = Outcome("refused", "nothing better was found")
    run, told = line(a_run(3, ours=0.75, happened=[event, refused])).split("\n")
    assert run.split() == ["4", "gemm", "generalist/v0001", "generalist", "0.750", "0.50"]
    assert told.strip() == "split: gemm-1234/v0001 for gemm-1234: 0.6 of Dask's time"


def test_a_run_without_headroom_has_no_gap():
    assert line(a_run(best=0.99)).endswith("–")


def test_long_reasons_are_cut_but_that_of_the_bad_champion():
    long = Outcome("merge", "x" * 300, "shared/v0001")
    bad = Outcome("promoted", BAD_REASON, "generalist/v0002")
    _, cut, whole = line(a_run(happened=[long, bad])).split("\n")
    assert len(cut) < 130
    assert whole.endswith(BAD_REASON)


def test_tables_show_phases_models_and_goals():
    text = printed()
    for words in ("sizes drift", "one model for each program", "own 5", "1 sent back", "met"):
        assert words in text


def test_the_json_has_every_run_phase_and_goal():
    content = json.loads(json.dumps(as_json(an_experiment()), allow_nan=False))
    assert [run["number"] for run in content["runs"]] == list(range(10))
    assert content["runs"][0]["events"][0]["figures"] == {"saved": 0.1}
    assert content["runs"][8]["gaps"] is None
    assert set(content["phases"]) == {"mixed", "bad", "new", "drift"}
    assert content["phases"]["new"]["ours"]["gap"] == pytest.approx(0.6)
    assert [goal["met"] for goal in content["goals"]] == [False, True, False]
    assert content["events"]["sent back"] == 1


def test_moving_gaps_are_over_the_latest_runs_with_headroom():
    runs = [a_run(0, ours=0.5), a_run(1, ours=1.0), a_run(2, best=0.99), a_run(3, ours=0.75)]
    assert moving_gaps(runs, "ours", 2) == [(0, 1.0), (1, 0.5), (3, 0.25)]


def test_the_picture_is_a_png_of_sensible_size(tmp_path: Path):
    path = tmp_path / "lifelong.png"
    lifelong_picture.draw(an_experiment(), path)
    width, height = size_of_png(path.read_bytes())
    assert 700 < width < 2500
    assert 700 < height < 1500
