from __future__ import annotations

import importlib.metadata
import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import click
import jsonschema
import pytest
from click.testing import CliRunner, Result

from dask_mlsched.benchmarks import disk
from dask_mlsched.benchmarks import overhead as plugin_overhead
from dask_mlsched.benchmarks.report_schema import SCHEMA
from dask_mlsched.benchmarks.runner import RunFailedError
from dask_mlsched.benchmarks.workloads import WORKLOADS
from dask_mlsched.cli import live, mlsched
from fake_runs import a_comparison, an_arm, moves


def run(*arguments: str) -> Result:
    return CliRunner().invoke(mlsched, list(arguments), prog_name="dask mlsched")


@pytest.fixture
def calls(monkeypatch) -> list[dict]:
    """Let every comparison end at once with made-up runs, and return what was asked for."""
    asked = []

    def compare(problem, conditions, contenders, repeats, on_step):
        asked.append(
            {
                "workload": problem.workload,
                "parameters": dict(problem.parameters),
                "seed": problem.seed,
                "conditions": conditions,
                "policies": list(map(str, contenders)),
                "repeats": repeats,
            }
        )
        on_step(0, contenders[0], 0.5)
        history = {"w": moves((0.1, 0, 10, 90), (0.2, 10, 0, 100))}
        arms = [an_arm(str(each), history=history) for each in contenders]
        return a_comparison(*arms, workload=problem.workload)

    monkeypatch.setattr(live, "compare", compare)
    return asked


def test_dask_finds_the_command():
    (found,) = importlib.metadata.entry_points(group="dask_cli", name="mlsched")
    assert isinstance(found.load(), click.Group)


def test_the_entry_point_alone_imports_nothing_heavy():
    # Every `dask` command loads it, `dask scheduler` too.
    code = (
        "import sys; import dask_mlsched.cli; "
        "print(sorted({'scipy', 'numba', 'rich', 'dask.array', 'distributed'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded_by_dask = {"distributed"}
    assert set(json.loads(done.stdout.replace("'", '"'))) <= loaded_by_dask


@pytest.mark.parametrize("command", [[], ["demo"], ["bench"], ["overhead"]])
def test_every_command_explains_itself(command):
    result = run(*command, "--help")
    assert result.exit_code == 0
    assert result.stdout.startswith("Usage: dask mlsched")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["bench", "--workload", "gem"], ["'gem'", "expected one of", "gemm"]),
        (["bench", "--workload", "gemm,"], ["''", "expected one of"]),
        (["bench", "--policies", "stock,best"], ["'best'", "greedy-hold"]),
        (["bench", "--device-memory", "much"], ["--device-memory", "'much'", "64MB"]),
        (["bench", "--device-memory", "0"], ["--device-memory", "'0'"]),
        (["bench", "--bandwidth", "-1GB/s"], ["--bandwidth", "'-1GB/s'", "1GB/s"]),
        (["bench", "--latency", "soon"], ["--latency", "'soon'", "10us"]),
        (["bench", "--repeats", "0"], ["--repeats", "0", "x>=1", "dask mlsched bench --help"]),
        (["bench", "--workers", "two"], ["--workers", "'two'", "integer"]),
        (["bench", "--memory-ratio", "0"], ["--memory-ratio", "0.0", "x>0"]),
        (
            ["bench", "--memory-ratio", "2", "--device-memory", "1MB"],
            ["--memory-ratio=2", "--device-memory=1000000", "give one"],
        ),
        (["bench", "--json", "no/such/folder/x.json"], ["'no/such/folder/x.json'", "folder"]),
        (["bench", "--json", "."], ["'.'", "file"]),
        (["bench", "--wat"], ["--wat", "dask mlsched bench --help"]),
        (["bench", "more"], ["more", "dask mlsched bench --help"]),
        (["demo", "--out", __file__], ["--out", "is a file"]),
        (["demo", "--out", f"{__file__}/deeper"], ["--out", "name another folder"]),
        (["overhead", "--pairs", "-1"], ["--pairs", "-1"]),
        (["bench", "--simulated", "--workload", "gemm"], ["--workload", "live runs", "leave it"]),
        (["bench", "--keep-clean"], ["--keep-clean", "simulated runs", "add --simulated"]),
        (["bench", "--policies", "stock@tape"], ["'tape'", "host-file, device, disk"]),
        (["bench", "--policies", "best@disk"], ["'best'", "greedy-hold"]),
        (["bench", "--store", "tape"], ["'tape'", "host-file, device, disk"]),
        (["bench", "--store", "disk", "--bandwidth", "1GB/s"], ["--bandwidth", "disk", "leave"]),
        (["bench", "--store", "disk", "--latency", "1ms"], ["--latency", "emulated", "leave"]),
        (["bench", "--directory", "."], ["--directory", "host-file", "leave it out"]),
        (["bench", "--store", "disk", "--directory", "no/such"], ["--directory", "no/such"]),
        (["bench", "--store", "disk", "--simulated"], ["--store", "live runs", "leave it"]),
        (["bench", "--simulated", "--policies", "greedy@disk"], ["greedy@disk", "live runs"]),
        (["bench", "--simulated", "--suite", "best"], ["--suite", "'best'", "core"]),
        (["bench", "--simulated", "--out", f"{__file__}/deeper"], ["--out", "another folder"]),
        (["lunch"], ["'lunch'", "dask mlsched --help"]),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_a_mistake_is_one_line_with_the_value_and_the_cure(calls, arguments, said):
    result = run(*arguments)
    assert result.exit_code == 2
    assert result.stdout == ""
    (line,) = result.stderr.splitlines()
    assert line.startswith("Error: ")
    assert [text for text in said if text not in line] == []
    assert calls == []


def test_bench_writes_json_alone_to_standard_output(calls):
    result = run("bench", "--workload", "gemm", "--quick", "--json", "-")
    assert result.exit_code == 0, result.output
    jsonschema.validate(json.loads(result.stdout), SCHEMA)
    assert "100 %" in result.stderr


def test_bench_prints_a_table_and_writes_json_to_a_file(calls, tmp_path: Path):
    file = tmp_path / "figures.json"
    result = run("bench", "--workload", "gemm,noop", "--quick", "--json", str(file))
    assert [r["workload"] for r in json.loads(file.read_text())["results"]] == ["gemm", "noop"]
    assert "gemm" in result.stdout
    assert "noop" in result.stdout


def test_bench_runs_what_it_was_asked_to(calls):
    run(
        *("bench", "--workload", "gemm", "--quick", "--policies", "stock, greedy,stock"),
        *("--repeats", "4", "--seed", "9", "--device-memory", "1MB", "--bandwidth", "2GB/s"),
        *("--latency", "1ms", "--workers", "2", "--threads", "3"),
    )
    (call,) = calls
    conditions = call["conditions"]
    assert call["policies"] == ["stock", "greedy"]
    assert (call["repeats"], call["seed"]) == (4, 9)
    assert call["parameters"] == dict(WORKLOADS["gemm"].quick)
    assert conditions.device_memory_limit == 1_000_000
    assert (conditions.bandwidth, conditions.latency) == (2e9, 1e-3)
    assert (conditions.workers, conditions.threads_per_worker) == (2, 3)


def test_bench_runs_policies_on_the_stores_that_are_named_or_on_the_benchs_own(calls):
    policies = "stock,greedy@host-file,stock@disk,greedy"
    result = run(
        *("bench", "--workload", "gemm", "--quick", "--store", "disk", "--policies", policies),
        *("--latency", "1ms"),
    )
    assert result.exit_code == 0, result.output
    (call,) = calls
    # Named in two ways, a contender is still one.
    assert call["policies"] == ["stock@disk", "greedy", "greedy@disk"]


def test_a_store_that_cannot_be_had_is_a_mistake_before_anything_runs(calls, monkeypatch):
    monkeypatch.setitem(sys.modules, "cupy", None)
    result = run("bench", "--workload", "gemm", "--quick", "--store", "dask-cuda")
    assert result.exit_code == 2
    assert result.stderr.splitlines()[-1].endswith('pip install "dask-mlsched[cuda13]"')
    assert calls == []


def test_a_disk_without_room_is_a_mistake_before_anything_runs(calls, monkeypatch):
    monkeypatch.setattr(disk.shutil, "disk_usage", lambda folder: SimpleNamespace(free=1000))
    result = run("bench", "--workload", "gemm", "--quick", "--store", "disk")
    assert result.exit_code == 2
    last = result.stderr.splitlines()[-1]
    assert last.startswith("Error: store 'disk' cannot be used: ")
    assert "1,000 bytes free" in last
    assert calls == []


def test_the_memory_ratio_sets_the_device_memory(calls):
    for ratio in ("1", "4"):
        run("bench", "--workload", "gemm", "--quick", "--memory-ratio", ratio)
    whole, quarter = (call["conditions"].device_memory_limit for call in calls)
    assert whole == 4 * quarter


def test_wrong_results_are_an_error(monkeypatch):
    wrong = a_comparison(an_arm("stock"), an_arm("ours", digest="other"), workload="gemm")
    monkeypatch.setattr(live, "compare", lambda *args: wrong)
    result = run("bench", "--workload", "gemm", "--quick")
    assert result.exit_code == 1
    assert result.stderr.splitlines()[-1].startswith("Error: results differ")


def test_a_run_that_fails_is_one_line_and_exit_code_1(monkeypatch):
    def compare(*args: object):
        raise RunFailedError("task 'x' is lost")

    monkeypatch.setattr(live, "compare", compare)
    result = run("bench", "--workload", "gemm", "--quick")
    assert result.exit_code == 1
    assert result.stderr.splitlines()[-1] == "Error: task 'x' is lost"


def test_the_demo_writes_a_picture_and_the_figures(calls, tmp_path: Path):
    pytest.importorskip("pyamg")
    pytest.importorskip("matplotlib")
    out = tmp_path / "new" / "folder"
    result = run("demo", "--quick", "--out", str(out))
    assert result.exit_code == 0, result.output
    assert [call["workload"] for call in calls] == ["helmholtz", "galerkin", "block-sparse"]
    assert {tuple(call["policies"]) for call in calls} == {("stock", "specialised")}
    assert (out / "demo.png").read_bytes().startswith(b"\x89PNG")
    jsonschema.validate(json.loads((out / "demo.json").read_text()), SCHEMA)
    assert str(out / "demo.png") in result.stdout


@pytest.mark.parametrize("package", ["matplotlib", "pyamg"])
def test_the_demo_says_what_to_install_before_it_runs(calls, tmp_path, monkeypatch, package):
    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.setitem(sys.modules, f"{package}.gallery", None)
    result = run("demo", "--quick", "--out", str(tmp_path))
    assert result.exit_code == 2
    assert result.stderr.splitlines()[-1].endswith('pip install "dask-mlsched[bench]"')
    assert calls == []


def test_overhead_prints_ratio_pairs_and_spread_of_every_case(monkeypatch):
    pairs = iter([(1.02, 1.0), (1.0, 1.0), (1.1, 1.0)] * 2)

    def pair(case, problem, warm_up, workers, *, on_first):
        return plugin_overhead.Pair(*next(pairs), on_first)

    monkeypatch.setattr(plugin_overhead, "_pair", pair)
    result = run("overhead", "--tasks", "10", "--pairs", "3")
    assert result.exit_code == 0, result.output
    for case in plugin_overhead.CASES:
        assert case.name in result.stdout
    assert result.stdout.count("1.020") == 4  # the first pair, and the median
    assert result.stdout.count("1.000–1.100") == 2


@pytest.mark.integration
def test_bench_works_from_end_to_end():
    result = run("bench", "--workload", "gemm", "--quick", "--repeats", "1", "--json", "-")
    assert result.exit_code == 0, result.output
    (found,) = json.loads(result.stdout)["results"]
    assert found["results_equal"]
    assert [run["policy"] for run in found["runs"]] == ["stock", "specialised"]


def test_bench_simulated_writes_figures_and_a_page(tmp_path: Path):
    out = tmp_path / "out"
    options = ("--quick", "--policies", "greedy", "--out", str(out), "--json", "-")
    result = run("bench", "--simulated", *options)
    assert result.exit_code == 0, result.output
    figures = json.loads(result.stdout)
    # Dask alone is always there to compare with.
    assert set(figures["ratio_to_stock"]) == {"stock", "greedy"}
    assert "geometric mean" in (out / "suite.md").read_text()
    assert (out / "suite.png").stat().st_size > 10_000
