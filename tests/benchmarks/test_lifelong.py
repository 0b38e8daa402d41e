"""The experiment itself, on a stream of a few runs."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from dask_mlsched.benchmarks import lifelong_command
from dask_mlsched.benchmarks.lifelong import FULL_SCALE, QUICK_SCALE, experiment
from dask_mlsched.benchmarks.lifelong_ours import BAD
from dask_mlsched.benchmarks.lifelong_report import as_json
from dask_mlsched.benchmarks.lifelong_stream import DRIFT, NEW, QUICK, stream
from dask_mlsched.learning import generality
from tiny_lifelong import FEW_RUNS, TINY, size_of_png


@pytest.fixture(autouse=True)
def _search_little(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(generality, "BEST_RUNS", FEW_RUNS)


SHORT = replace(QUICK, mixed=4, new=1, drift=2, bad_champion=2)


def test_a_stream_is_the_same_for_a_seed_and_another_for_another():
    first, again, other = (stream(SHORT, seed) for seed in (0, 0, 1))
    for one, two in zip(first, again, strict=True):
        assert (one.workload, one.phase, one.scatter) == (two.workload, two.phase, two.scatter)
        assert np.array_equal(one.instance.dag.seconds, two.instance.dag.seconds)
        assert one.instance.stock_makespan == two.instance.stock_makespan
    assert [each.scatter for each in first] != [each.scatter for each in other]


def test_a_stream_has_all_families_then_a_new_one_then_one_that_grows():
    arrivals = stream(SHORT, 0)
    workloads = [each.workload for each in arrivals]
    assert sorted(workloads[:4]) == ["cholesky", "cholesky", "gemm", "gemm"]
    assert workloads[4:] == [NEW, DRIFT, DRIFT]
    assert len(arrivals[-2].instance.dag) < len(arrivals[-1].instance.dag)
    assert [each.phase for each in arrivals] == ["mixed"] * 2 + ["bad"] * 2 + [
        "new",
        "drift",
        "drift",
    ]


def test_progress_is_told_for_each_run_that_is_made():
    told: list[float] = []
    stream(SHORT, 0, lambda _text, share: told.append(share))
    assert len(told) == SHORT.runs
    assert told == sorted(told)


def test_the_full_experiment_has_six_families_and_is_searched_for_longest():
    assert len(FULL_SCALE.plan.families) == 6
    assert FULL_SCALE.joint >= 4 * FULL_SCALE.merge
    assert FULL_SCALE.specialist > FULL_SCALE.operation
    assert FULL_SCALE.plan.bad_champion < FULL_SCALE.plan.mixed
    # Its goal is about the runs after the third.
    assert QUICK_SCALE.plan.new > 3


@pytest.mark.slow
def test_the_experiment_is_the_same_for_a_seed(tmp_path: Path):
    steps: list[float] = []
    runs = []
    first = experiment(
        tmp_path / "first",
        1,
        TINY,
        on_step=lambda _text, share: steps.append(share),
        on_run=runs.append,
    )
    again = experiment(tmp_path / "again", 1, TINY)
    assert as_json(first) == as_json(again)
    assert tuple(runs) == first.runs
    assert steps == sorted(steps)
    assert len(first.runs) == TINY.plan.runs
    # The champion that is bad on purpose decides, and its families go back to Dask alone.
    bad = [run for run in first.runs if run.played.kind == "bad"]
    assert bad
    assert all(run.makespans["ours"] == BAD for run in bad)
    events = [event.event for run in first.runs for event in run.played.happened]
    assert "sent back" in events
    assert (tmp_path / "first" / "library" / "aliases.json").is_file()


@pytest.mark.slow
def test_the_command_prints_and_writes_json_and_picture(tmp_path: Path, monkeypatch, capsys):
    monkeypatch.setattr(lifelong_command, "QUICK_SCALE", TINY)
    picture, kept = tmp_path / "lifelong.png", tmp_path / "kept"
    lifelong_command.main(
        ["--quick", "--json", "-", "--picture", str(picture), "--keep", str(kept)]
    )
    printed = capsys.readouterr()
    content = json.loads(printed.out)
    assert len(content["runs"]) == TINY.plan.runs
    assert "bad on purpose" in printed.err
    assert size_of_png(picture.read_bytes())[0] > 700
    assert (kept / "library").is_dir()
    assert (kept / "families").is_dir()


def test_a_folder_that_is_there_is_not_written_into(tmp_path: Path, capsys):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(SystemExit):
        lifelong_command.main(["--quick", "--keep", str(tmp_path)])
    assert "name a new folder" in capsys.readouterr().err
