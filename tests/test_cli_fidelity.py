"""`dask mlsched fidelity`, with runs that nobody ran."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from core.recorded_simulations import COSTS, MACHINE_LIMIT, block_product, recorded
from dask_mlsched.benchmarks.fidelity import CASES, QUICK_CASES, RATIOS, Case, compare_all
from dask_mlsched.benchmarks.runner import RunFailedError
from dask_mlsched.cli import fidelity as command
from dask_mlsched.cli import mlsched
from dask_mlsched.core.machine import Machine


def call(*arguments: object) -> Result:
    return CliRunner().invoke(mlsched, ["fidelity", *map(str, arguments)])


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Let every measurement end at once, and return what was asked for."""
    found: list[dict[str, Any]] = []

    def measure(cases: Any, ratios: Any, policies: Any, **options: Any) -> Any:
        found.append({"cases": cases, "ratios": ratios, "policies": policies, **options})
        options["on_run"]("gemm / 2, stock", 0, 1)
        machine = Machine(limit=MACHINE_LIMIT, costs=COSTS)
        trace = recorded(block_product(3), machine, "stock")[1]
        return compare_all([(Case("gemm"), 2.0, "stock", trace)], options["workers"])

    monkeypatch.setattr(command, "measure", measure)
    return found


def test_a_table_and_a_verdict_for_people(asked: list[dict[str, Any]]):
    result = call()
    assert result.exit_code == 0, result.output
    for text in ("gemm / 2", "stock", "exact replay: 1 of 1 traces", "aim 2%"):
        assert text in result.stdout
    assert (asked[0]["cases"], asked[0]["ratios"]) == (CASES, RATIOS)
    assert (asked[0]["workers"], asked[0]["seed"]) == (1, 0)


def test_options_reach_the_runs(asked: list[dict[str, Any]]):
    call("--quick", "--policies", "stock,greedy", "--workers", 2, "--seed", 3)
    assert asked[0]["cases"] == QUICK_CASES
    assert asked[0]["policies"] == ("stock", "greedy")
    assert (asked[0]["workers"], asked[0]["seed"]) == (2, 3)


def test_json_alone_on_standard_output(asked: list[dict[str, Any]]):
    result = call("--json", "-")
    assert json.loads(result.stdout)["format"] == "mlsched-fidelity"
    assert len(asked) == 1


def test_files_are_written(asked: list[dict[str, Any]], tmp_path: Path):
    figures, folder = tmp_path / "f.json", tmp_path / "new" / "report"
    result = call("--json", figures, "--out", folder)
    assert result.exit_code == 0
    assert json.loads(figures.read_text())["summary"]["runs"] == 1
    assert (folder / "fidelity.md").read_text().startswith("| workload / ratio |")
    assert "gemm / 2" in result.stdout
    assert len(asked) == 1


def test_a_run_that_fails_is_one_line(monkeypatch: pytest.MonkeyPatch):
    def measure(*_: Any, **__: Any) -> Any:
        raise RunFailedError("workload 'gemm' failed")

    monkeypatch.setattr(command, "measure", measure)
    result = call()
    assert result.exit_code == 1
    assert result.stderr.strip().splitlines()[-1] == "Error: workload 'gemm' failed"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--policies", "stock,best"), "'best'"),
        (("--workers", "0"), "--workers"),
        (("--json", "/nope/x"), "'/nope/x' cannot be written"),
        (("--out", "/dev/null/x"), "--out='/dev/null/x' cannot be made"),
    ],
)
def test_mistakes_are_one_line(arguments: tuple[str, ...], message: str):
    result = call(*arguments)
    assert result.exit_code == 2
    assert message in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1
