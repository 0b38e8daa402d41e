"""The speed benchmark times what it says; how fast that is, is not tested."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner
from rich.console import Console

from dask_mlsched.benchmarks import speed
from dask_mlsched.benchmarks.speed import Decisions, Events, measure, time_decisions
from dask_mlsched.cli import speed as command


@pytest.mark.parametrize("policy", ["fifo", "greedy", "darts-luf"])
def test_decisions_are_timed_while_tasks_stay_parked(policy: str):
    timed = time_decisions(policy, parked=200, decisions=50)
    assert (timed.policy, timed.parked) == (policy, 200)
    assert 0 < timed.p50 <= timed.p99


def test_events_per_second_are_four_a_task():
    assert Events("greedy", tasks=1_000, workers=1, seconds=2.0).per_second == 2_000


def test_every_combination_is_measured_and_told():
    told: list[str] = []
    decisions, events = measure(["fifo", "greedy"], [50, 100], [100], [1, 2], told.append)
    assert [(d.policy, d.parked) for d in decisions] == [
        ("fifo", 50),
        ("fifo", 100),
        ("greedy", 50),
        ("greedy", 100),
    ]
    assert [(e.tasks, e.workers) for e in events] == [(100, 1), (100, 2)]
    assert all(e.seconds > 0 for e in events)
    assert told[0] == "fifo, 50 parked"
    assert len(told) == len(decisions) + len(events)


def test_tables_have_a_cell_for_each_figure():
    decisions = [Decisions("fifo", 50, 10.4, 21.0), Decisions("fifo", 1_000, 11.0, 22.0)]
    console = Console(record=True, width=100)
    for table in speed.tables(decisions, [Events("greedy", 100, 8, 0.5)]):
        console.print(table)
    text = console.export_text()
    for cell in ("10 / 21", "11 / 22", "1,000", "8 workers", "800"):
        assert cell in text


def test_the_command_writes_json():
    result = CliRunner().invoke(command.speed, ["--quick", "--json", "-"])
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert {each["parked"] for each in found["decisions"]} == {1_000}
    assert {each["workers"] for each in found["simulations"]} == {1, 8}
    assert set(found["decisions"][0]) == {"policy", "parked", "p50_us", "p99_us"}
