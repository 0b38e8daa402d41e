"""`dask mlsched simulate`, as users and programs call it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from core.recorded_simulations import COSTS, MACHINE_LIMIT, block_product, recorded_bytes
from dask_mlsched.cli import mlsched
from dask_mlsched.core import policies
from dask_mlsched.core.machine import Machine

#: `last` reads `a` and `b`, with `c` in between: with room for three arrays, something moves.
TASKS = [
    {"key": "a", "prefix": "p", "deps": [], "nbytes": 10, "seconds": 1},
    {"key": "b", "prefix": "p", "deps": [], "nbytes": 10, "seconds": 1},
    {"key": "c", "prefix": "p", "deps": ["b"], "nbytes": 10, "seconds": 1},
    {"key": "last", "prefix": "q", "deps": ["a", "b"], "nbytes": 10, "seconds": 1},
]


@pytest.fixture
def graph(tmp_path: Path) -> Path:
    path = tmp_path / "graph.json"
    content = {"format": "mlsched-graph", "version": 1, "name": "four", "tasks": TASKS}
    path.write_text(json.dumps(content))
    return path


def call(*arguments: object) -> Result:
    return CliRunner().invoke(mlsched, ["simulate", *map(str, arguments)])


def figures(*arguments: object) -> dict[str, Any]:
    result = call(*arguments, "--json", "-")
    assert result.exit_code == 0, result.output
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def one_line(*arguments: object) -> str:
    result = call(*arguments)
    assert result.exit_code == 2
    line, _, rest = result.stderr.strip().rpartition("\n")[2].partition("\n")
    assert not rest
    return line


def test_json_has_what_programs_rely_on(graph: Path):
    found = figures(
        *("--graph", graph, "--device-memory", 30, "--bandwidth", "10", "--latency", "1s"),
        *("--policy", "stock,greedy", "--workers", 1),
    )
    assert list(found) == ["graph", "device_memory", "bandwidth", "workers", "bounds", "results"]
    assert (found["graph"], found["device_memory"], found["workers"]) == ("four", 30, 1)
    assert found["bandwidth"] == 10.0
    assert found["bounds"] == {"bytes_loaded": 0, "bytes_moved": 0, "makespan": 4.0}
    assert [result["policy"] for result in found["results"]] == ["stock", "greedy"]
    assert set(found["results"][0]) == {
        *("policy", "eviction", "makespan", "bytes_loaded", "bytes_evicted", "decisions", "holds"),
        *("decision_seconds_p50", "decision_seconds_p99", "wall_seconds"),
    }
    # c stays: of a, b and c one goes out for the output. One copy of 10 bytes: 2 s.
    assert found["results"][1]["makespan"] == 6.0
    assert found["results"][1]["bytes_evicted"] == 10


def test_a_schedule_can_be_saved_and_checked(graph: Path, tmp_path: Path):
    file = tmp_path / "schedule.json"
    figures("--graph", graph, "--device-memory", 30, "--policy", "fifo", "--save-schedule", file)
    saved = json.loads(file.read_text())
    assert (saved["format"], saved["version"]) == ("mlsched-schedule", 1)
    (schedule,) = saved["schedules"]
    assert schedule["policy"] == "fifo"
    # In Dask's order, in which b, that more is made of, is before a.
    assert [task["key"] for task in schedule["tasks"]] == ["b", "a", "c", "last"]
    starts = [task["start"] for task in schedule["tasks"]]
    assert starts == sorted(starts)
    assert [task["evicted"] for task in schedule["tasks"]] == [[], [], [], ["c"]]


def test_the_graph_can_be_saved_and_gives_the_same_figures(graph: Path, tmp_path: Path):
    copy = tmp_path / "copy.json"
    options = ("--device-memory", 30, "--policy", "greedy")
    first = figures("--graph", graph, *options, "--save-graph", copy)
    second = figures("--graph", copy, *options)
    for found in (first, second):
        for timing in ("wall_seconds", "decision_seconds_p50", "decision_seconds_p99"):
            del found["results"][0][timing]
    assert first == second


@pytest.mark.parametrize("policy", policies.NAMES)
def test_every_policy_runs_a_workload(policy: str):
    found = figures("--workload", "gemm", "--quick", "--memory-ratio", 2, "--policy", policy)
    (result,) = found["results"]
    assert result["bytes_loaded"] > 0


def test_noise_depends_on_the_seed(graph: Path):
    options = ("--graph", graph, "--policy", "fifo", "--noise", 0.3, "--seed")
    makespans = [figures(*options, seed)["results"][0]["makespan"] for seed in (1, 1, 2)]
    assert makespans[0] == makespans[1] != makespans[2]


def test_a_table_for_people(graph: Path):
    result = call("--graph", graph, "--policy", "fifo,greedy")
    assert result.exit_code == 0
    for text in ("four: 4 tasks, simulated", "fifo", "greedy", "no less than"):
        assert text in result.stdout


# Traces

DAG = block_product(3)
MACHINE = Machine(limit=MACHINE_LIMIT, costs=COSTS)


@pytest.fixture
def trace(tmp_path: Path) -> Path:
    """Write what a simulated run under `greedy` did."""
    path = tmp_path / "run.mlsched-trace"
    path.write_bytes(recorded_bytes(DAG, MACHINE, "greedy")[1])
    return path


def test_a_trace_is_taken_again_beside_what_was_measured(trace: Path):
    run, _ = recorded_bytes(DAG, MACHINE, "greedy")
    found = figures("--trace", trace, "--policy", "greedy,stock")
    taken, greedy, stock = found["results"]
    assert [each["policy"] for each in (taken, greedy, stock)] == ["taken", "greedy", "stock"]
    live = found["live"]
    assert (live["bytes_loaded"], live["bytes_evicted"]) == (run.bytes_loaded, run.bytes_evicted)
    assert live["makespan"] == pytest.approx(run.makespan, rel=0.1)
    for figure in live:
        assert taken[figure] == pytest.approx(live[figure], rel=0.1)


def test_the_machine_is_the_trace_s(trace: Path):
    found = figures("--trace", trace, "--policy", "greedy")
    assert (found["device_memory"], found["workers"]) == (MACHINE_LIMIT, 1)
    assert found["bandwidth"] == pytest.approx(COSTS.load.bandwidth, rel=1e-6)
    # The same decisions as in the run, on nearly the same machine.
    assert found["results"][1]["bytes_loaded"] == found["results"][0]["bytes_loaded"]


def test_options_override_what_the_trace_says(trace: Path):
    found = figures(
        *("--trace", trace, "--policy", "greedy", "--bandwidth", "5MB/s"),
        *("--device-memory", "2MB", "--message", "3ms", "--latency", "1ms", "--lookahead", 0),
    )
    assert (found["device_memory"], found["bandwidth"]) == (2_000_000, 5e6)
    assert found["results"][0]["bytes_loaded"] < found["live"]["bytes_loaded"]
    slow = figures("--trace", trace, "--policy", "greedy", "--bandwidth", "5MB/s")
    assert slow["results"][0]["makespan"] > 2 * slow["live"]["makespan"]


def test_with_other_workers_the_decisions_are_left_out(trace: Path):
    result = call("--trace", trace, "--policy", "greedy", "--workers", 2, "--json", "-")
    assert [each["policy"] for each in json.loads(result.stdout)["results"]] == ["greedy"]
    assert "the trace's decisions are about 1 workers, not 2: left out" in result.stderr


def test_people_see_what_was_measured(trace: Path):
    result = call("--trace", trace, "--policy", "greedy")
    assert result.exit_code == 0
    for text in ("run.mlsched-trace: 45 tasks, simulated", "measured live", "taken", "greedy"):
        assert text in result.stdout


def test_a_trace_that_was_cut_counts_as_far_as_it_goes(trace: Path):
    data = trace.read_bytes()
    trace.write_bytes(data[:-1])
    result = call("--trace", trace, "--policy", "greedy")
    assert result.exit_code == 0
    assert "ends before its run did" in result.stderr
    assert "taken" in result.stdout


# Mistakes


def test_what_is_no_trace_is_a_mistake(tmp_path: Path):
    file = tmp_path / "other"
    file.write_text("{}")
    assert one_line("--trace", file).startswith(f"Error: --trace='{file}': ")


def test_a_task_that_does_not_fit_is_named(graph: Path):
    assert one_line("--graph", graph, "--device-memory", 29) == (
        "Error: task 'last' needs 30 bytes for its inputs and output, and the device memory is "
        "29 bytes; give at least 30 bytes"
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "what is to run? give one of --graph, --workload and --trace"),
        (("--workload", "gemm", "--graph", "x"), "what is to run? give one of --graph"),
        (("--trace", "x", "--graph", "x"), "what is to run? give one of --graph"),
        (("--trace", "/nope"), "--trace='/nope' cannot be read (No such file or directory)"),
        (("--workload", "nope"), "unknown workload 'nope'; expected one of helmholtz"),
        (("--graph", "/nope.json"), "--graph='/nope.json' cannot be read (No such file or"),
        (("--policy", "nope"), "unknown policy 'nope'; expected one of stock, random"),
        (("--bandwidth", "x"), "--bandwidth"),
        (("--network-bandwidth", "-1"), "--network-bandwidth"),
        (("--device-memory", "0"), "--device-memory"),
        (("--eviction", "x"), "'x' is not one of 'lru'"),
        (("--workers", "0"), "--workers"),
        (
            ("--workload", "gemm", "--memory-ratio", "2", "--device-memory", "10"),
            "both set the device memory; give one of them",
        ),
        (("--workload", "gemm", "--json", "/nope/x"), "'/nope/x' cannot be written"),
    ],
)
def test_mistakes_are_one_line(arguments: tuple[str, ...], message: str):
    assert message in one_line(*arguments)


def test_a_file_that_is_no_graph_is_a_mistake(tmp_path: Path):
    file = tmp_path / "other.json"
    file.write_text('{"format": "mlsched-schedule", "version": 1}')
    assert one_line("--graph", file) == (
        f"Error: {file}: format is 'mlsched-schedule'; expected 'mlsched-graph'"
    )
