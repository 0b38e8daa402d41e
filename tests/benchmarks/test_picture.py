from __future__ import annotations

import struct
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dask_mlsched.benchmarks.optional import MissingDependencyError
from dask_mlsched.benchmarks.picture import draw, series
from fake_runs import a_comparison, an_arm, moves


def a_run(policy: str, seconds: float = 4.0):
    history = {
        "w1": moves((1.0, 0, 100, 900), (2.0, 200, 0, 1100), (3.0, 0, 300, 800)),
        "w2": moves((1.5, 0, 50, 400)),
    }
    return an_arm(policy, seconds, history=history)


def size_of_png(path: Path) -> tuple[int, int]:
    header = path.read_bytes()[:24]
    assert header[:8] == b"\x89PNG\r\n\x1a\n"
    width, height = struct.unpack(">II", header[16:24])
    return width, height


def test_moves_of_all_workers_make_one_time_line():
    line = series(a_run("stock"))
    assert line.times.tolist() == [1.0, 1.5, 2.0, 3.0]
    assert line.loaded.tolist() == [0, 0, 200, 0]
    assert line.evicted.tolist() == [100, 50, 0, 300]
    assert line.end == 4.0


def test_residency_is_the_sum_of_what_each_worker_said_last():
    assert series(a_run("stock")).resident_bytes.tolist() == [900, 1300, 1500, 1200]


def test_a_run_without_moves_has_an_empty_line():
    line = series(an_arm("stock", history={"w1": []}))
    assert line.times.size == line.resident_bytes.size == 0


@given(
    st.lists(st.tuples(st.floats(0, 10), st.integers(0, 10**9)), max_size=30),
    st.integers(1, 50),
)
def test_rates_over_time_add_up_to_the_bytes_that_moved(steps, bins):
    history = {"w": moves(*((time, nbytes, 0, 0) for time, nbytes in sorted(steps)))}
    line = series(an_arm("stock", 10.0, history=history))
    edges = np.linspace(0.0, 10.0, bins + 1)
    total = (line.rate(line.loaded, edges) * np.diff(edges)).sum()
    assert total == pytest.approx(sum(nbytes for _, nbytes in steps))


@pytest.mark.parametrize("policies", [("stock",), ("stock", "ours"), ("a", "b", "c")])
def test_the_picture_is_a_png_whose_height_grows_with_the_policies(tmp_path: Path, policies):
    pytest.importorskip("matplotlib")
    draw([a_comparison(*(a_run(policy) for policy in policies))], tmp_path / "runs.png")
    width, height = size_of_png(tmp_path / "runs.png")
    assert width > 500
    assert height > 300 * len(policies)


@pytest.mark.slow
def test_workloads_stand_side_by_side(tmp_path: Path):
    pytest.importorskip("matplotlib")
    one = a_comparison(a_run("stock"), a_run("ours"))
    draw([one], tmp_path / "one.png")
    draw([one, one, one], tmp_path / "three.png")
    assert size_of_png(tmp_path / "three.png")[0] > 2 * size_of_png(tmp_path / "one.png")[0]


def test_runs_without_moves_and_workloads_with_fewer_policies_can_be_drawn(tmp_path: Path):
    pytest.importorskip("matplotlib")
    full = a_comparison(a_run("stock"), a_run("ours"))
    bare = a_comparison(an_arm("stock", history={"w": []}))
    draw([full, bare], tmp_path / "runs.png")
    assert size_of_png(tmp_path / "runs.png")


def test_without_matplotlib_one_line_says_what_to_install(tmp_path: Path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(MissingDependencyError, match=r"dask-mlsched\[bench\]"):
        draw([a_comparison(a_run("stock"))], tmp_path / "runs.png")
