"""The benchmark of the replay buffer times what it says; how fast that is, is not tested."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console

from dask_mlsched.benchmarks import replay_speed
from dask_mlsched.benchmarks.replay_speed import Timing, measure


def test_every_operation_is_timed(tmp_path: Path):
    found = measure(tmp_path, capacity=8, features=3, actions=2, batch=4, repeats=2)
    assert [timing.operation for timing in found] == [
        *("label", "add, 2 actions", "sample 4", "sample 4, reader", "open, for each record"),
    ]
    assert all(timing.microseconds > 0 for timing in found)


def test_the_table_has_a_cell_for_each():
    console = Console(record=True, width=80)
    console.print(replay_speed.table([Timing("add", 12.34), Timing("label", 1234.5)]))
    text = console.export_text()
    assert "12.3" in text
    assert "1,234.5" in text
