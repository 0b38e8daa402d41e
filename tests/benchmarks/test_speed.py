"""The speed benchmark times what it says; how fast that is, is not tested."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner
from rich.console import Console

from dask_mlsched.benchmarks import fresh_process, rollout_speed, speed_report
from dask_mlsched.benchmarks.fingerprint_speed import FingerprintTimes, time_fingerprints
from dask_mlsched.benchmarks.fresh_process import FreshRun
from dask_mlsched.benchmarks.rollout_speed import FAMILIES, Timed, time_runs
from dask_mlsched.benchmarks.speed import Decisions, measure, time_decisions
from dask_mlsched.benchmarks.speed_report import Report
from dask_mlsched.cli import speed as command

FRESH = FreshRun("gemm", 1_000_000, 10.0, 7.0, 5.0, 100_000_000, 800_000_000, 2_100_000_000)


@pytest.mark.parametrize("policy", ["fifo", "greedy", "darts-luf"])
def test_decisions_are_timed_while_tasks_stay_parked(policy: str):
    timed = time_decisions(policy, parked=200, decisions=50)
    assert (timed.policy, timed.parked) == (policy, 200)
    assert 0 < timed.p50 <= timed.p99


def test_every_policy_is_measured_with_every_number_and_told():
    told: list[str] = []
    decisions = measure(["fifo", "greedy"], [50, 100], told.append)
    assert [(d.policy, d.parked) for d in decisions] == [
        ("fifo", 50),
        ("fifo", 100),
        ("greedy", 50),
        ("greedy", 100),
    ]
    assert told[0] == "fifo, 50 parked"
    assert len(told) == len(decisions)


def test_events_per_second_are_four_a_task_by_the_median():
    timed = Timed("gemm", 1_000, 1, compiled=(2.0, 1.0, 9.0), simulated=(40.0,))
    assert timed.per_second == 2_000
    assert timed.simulated_per_second == 100


def test_ratios_are_those_of_pairs():
    timed = Timed("gemm", 1_000, 1, compiled=(2.0, 1.0, 4.0), simulated=(20.0, 30.0))
    assert timed.ratios == (10, 30)


def test_what_was_left_out_has_no_figure():
    timed = Timed("gemm", 1_000, 1, compiled=(2.0,))
    assert timed.simulated_per_second is None
    assert timed.ratios == ()


@pytest.mark.parametrize(("family", "tasks"), [("gemm", 27), ("2d", 25)])
def test_a_dag_has_about_so_many_tasks(family: rollout_speed.Family, tasks: int):
    assert rollout_speed.count_tasks(rollout_speed.build(family, tasks + 1)) == tasks


@pytest.mark.parametrize("workers", [1, 1_000])
@pytest.mark.parametrize("family", FAMILIES)
def test_devices_hold_half_of_the_operands_and_any_task(family: rollout_speed.Family, workers: int):
    dag = rollout_speed.build(family, 1_000)
    limit = rollout_speed.machine_for(dag, workers).limit
    largest = int(dag.nbytes.max())
    assert limit == largest * (4 if workers > 1 else int(dag.given.sum()) // 2)


def test_runs_alternate_and_large_ones_leave_the_simulator_out(monkeypatch: pytest.MonkeyPatch):
    ran: list[str] = []

    def stand_in(name: str):
        def run(dag: object, workers: int) -> float:
            ran.append(name)
            return 1.0

        return run

    monkeypatch.setattr(rollout_speed, "run_compiled", stand_in("compiled"))
    monkeypatch.setattr(rollout_speed, "run_simulated", stand_in("simulated"))
    monkeypatch.setattr(rollout_speed, "REPEATED_UP_TO", 10)
    told: list[str] = []
    rows = time_runs(["2d"], [4, 16, 25], [1], repeats=2, both_up_to=20, on_step=told.append)
    assert [len(row.compiled) for row in rows] == [2, 2, 2]
    assert [len(row.simulated) for row in rows] == [2, 1, 0]
    assert ran[1:5] == ["compiled", "simulated", "compiled", "simulated"]  # the first compiles
    assert told == ["2d, 4 tasks, 1 workers", "2d, 16 tasks, 1 workers", "2d, 25 tasks, 1 workers"]


def test_real_runs_take_time():
    (row,) = time_runs(["gemm"], [27], [2], repeats=1)
    assert row.compiled[0] > 0
    assert row.simulated[0] > 0


def test_a_fresh_process_tells_its_times_and_its_memory():
    fresh = fresh_process.run("2d", 100)
    assert (fresh.family, fresh.tasks) == ("2d", 100)
    assert fresh.first_seconds > fresh.again_seconds > 0
    assert 0 < fresh.empty_peak <= fresh.built_peak <= fresh.peak


REPORT = Report(
    decisions=[Decisions("fifo", 50, 10.4, 21.0), Decisions("fifo", 10_000, 11.0, 222.0)],
    runs=[
        Timed("gemm", 100, 8, (0.5, 0.5), (1.0, 2.0)),
        Timed("2d", 100_000, 1, (4.0,), (400.0,)),
        Timed("2d", 1_000_000, 1, (4.0,)),
    ],
    compiling=[FRESH, FRESH],
    large=[FRESH],
    fingerprints=[
        FingerprintTimes("gemm", 1_000, 2_000, (0.001, 0.001), (0.002, 0.002), (0.02, 0.04)),
        FingerprintTimes("gemm", 36_000, 99_000, (0.016,), (0.05,), (0.5,)),
        FingerprintTimes("gemm", 72_000, 99_000, (0.016,), (0.05,), (0.5,)),
    ],
)


def test_fingerprints_are_timed_by_turns_and_told():
    told: list[str] = []
    (timed,) = time_fingerprints([64], repeats=2, on_step=told.append)
    assert told == ["fingerprint, 96 tasks"]
    assert (timed.tasks, timed.edges) == (96, 176)
    for seconds in (timed.compiled, timed.added, timed.plain):
        assert len(seconds) == 2
        assert min(seconds) > 0
    assert timed.ratios[0] == timed.plain[0] / timed.compiled[0]


def test_tables_have_a_cell_for_each_figure():
    console = Console(record=True, width=120)
    for table in speed_report.tables(REPORT):
        console.print(table)
    text = console.export_text()
    for cell in (
        "10 / 21",
        "11 / 222",
        "10,000",
        " 800 ",
        "3 (2 to 4)",
        "2.00",
        "2,100",
        "30 (20 to 40)",
    ):
        assert cell in text


def test_the_page_has_the_same_cells():
    page = speed_report.markdown(REPORT)
    assert "| fifo | 10 / 21 | 11 / 222 |" in page
    assert "| gemm | 100 | 8 | 800 | 267 | 3 (2 to 4) | 2 |" in page
    assert "| 2d | 100,000 | 1 | 100,000 | 1,000 | 100 | 1 |" in page
    assert "| 2d | 1,000,000 | 1 | 1,000,000 | – | – | 0 |" in page
    assert "| gemm | 1,000 | 2,000 | 1.0 | 2.0 | 30.0 | 30 (20 to 40) |" in page


def test_what_was_left_out_has_no_table():
    assert speed_report.tables(Report()) == []
    assert speed_report.markdown(Report()) == ""


def test_what_is_missed_is_said():
    assert speed_report.missed(REPORT) == [
        "2d, 100,000 tasks, 1 workers: 100,000 events/s",
        "fifo, 10,000 parked: p50 11 µs, p99 222 µs",
        "gemm, 1,000,000 tasks: 2,100 MB",
        "fingerprint of gemm, 36,000 tasks: 16.0 ms",
    ]


def test_the_command_writes_json_and_a_page(tmp_path):
    page = tmp_path / "speed.md"
    options = ["--quick", "--policies", "fifo,greedy", "--json", "-", "--markdown", str(page)]
    result = CliRunner().invoke(command.speed, options)
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert {each["parked"] for each in found["decisions"]} == {1_000}
    assert {each["workers"] for each in found["simulations"]} == {1, 8}
    assert {each["family"] for each in found["simulations"]} == set(FAMILIES)
    assert set(found["decisions"][0]) == {"policy", "parked", "p50_us", "p99_us"}
    assert found["compiling"] == found["large"] == []
    assert [each["tasks"] for each in found["fingerprints"]] == [1_200]
    assert page.read_text().startswith("## Task events per second")


@pytest.mark.parametrize(
    ("options", "line"),
    [
        (["--tasks", "10,no"], "--tasks='10,no' has 'no'; expected counts above 0"),
        (["--workers", "0"], "--workers='0' has '0'; expected counts above 0"),
        (["--policies", "stock"], "unknown policy 'stock'; expected one of random"),
    ],
)
def test_mistakes_are_one_line(options: list[str], line: str):
    result = CliRunner().invoke(command.speed, options)
    assert result.exit_code == 2
    assert line in result.output
    assert result.output.count("\n") == 1
