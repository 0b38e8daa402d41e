"""The script of the measurements on a GPU, without one."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
from pathlib import Path
from types import ModuleType

import pytest

from benchmarks.test_device_report import a_document

CI = Path(__file__).resolve().parent.parent.parent / "ci"


@pytest.fixture
def script() -> ModuleType:
    specification = importlib.util.spec_from_file_location("bench_gpu", CI / "bench_gpu.py")
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--case", "gem"], "--case='gem' is unknown; expected one of gemm-2048-float32"),
        (["--quick", "--case", "csr-4096"], "expected one of gemm-64-float32"),
        (["--ratio", "0.5"], "--ratio=0.5 is below 1"),
        (["--repeats", "0"], "--repeats=0 is below 1"),
        (["--policies", "best@cuda"], "--policies: "),
        (["--policies", "stock@tape"], "unknown store 'tape'"),
        (["--page-only"], "add --page FILE"),
    ],
)
def test_a_mistake_is_one_line(script: ModuleType, capsys, arguments, said):
    with pytest.raises(SystemExit) as info:
        script.main(arguments)
    assert info.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")
    assert said in line


def test_cases_are_listed(script: ModuleType, capsys):
    script.main(["--list"])
    names = capsys.readouterr().out.split()
    assert names == [*script.CASES, "local-cupy"]


@pytest.fixture
def measured(script: ModuleType, monkeypatch) -> list[tuple[str, float]]:
    found = []

    def measure(case, ratio, contenders, *, repeats, directory):
        found.append((case.name, ratio))
        return a_document(case.name, ratio=ratio)

    monkeypatch.setattr(script, "measure", measure)
    return found


def test_every_part_is_measured_once_and_the_page_has_all(script, measured, tmp_path: Path):
    out, page = tmp_path / "out", tmp_path / "page.md"
    command = ["--quick", "--out", str(out), "--page", str(page)]
    script.main([*command, "--case", "csr-128", "--ratio", "2"])
    assert measured == [("csr-128", 2.0)]
    assert page.read_text().count("| csr-128 |") == 2
    script.main([*command, "--ratio", "2", "--ratio", "4"])
    assert len(measured) == len(set(measured)) == 2 * len(script.QUICK_CASES)
    assert page.read_text().count("| csr-128 |") == 4


def test_no_part_is_begun_when_the_time_is_over(script, measured, tmp_path: Path, capsys):
    script.main(["--quick", "--out", str(tmp_path), "--seconds", "-1"])
    assert measured == []
    assert "goes on here" in capsys.readouterr().err


def test_a_page_can_be_made_of_what_is_there(script, tmp_path: Path):
    (tmp_path / "a.json").write_text(json.dumps(a_document("b")))
    own = {"arguments": "-o dot", "without": [2.0], "with": [1.0]}
    (tmp_path / "local-cupy-dot.json").write_text(json.dumps(own))
    page = tmp_path / "page.md"
    script.main(["--page-only", "--out", str(tmp_path), "--page", str(page)])
    assert "| `-o dot` | 2.00 | 1.00 | **0.50** |" in page.read_text()


def test_without_documents_there_is_no_page(script, tmp_path: Path):
    with pytest.raises(ValueError, match=r"no documents in .*; measure first"):
        script.page(tmp_path)


def test_dask_cudas_benchmark_runs_in_turn_with_the_plugin_by_configuration(
    script, monkeypatch, tmp_path: Path
):
    asked = []

    def run(command, *, env, **kwargs: object):
        asked.append(env.get(script.PRELOAD))
        base = command[command.index("--output-basename") + 1]
        Path(f"{base}.json").write_text(json.dumps({"wallclock": {"0": len(asked)}}))
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(script.subprocess, "run", run)
    options = script.parse(["--out", str(tmp_path), "--repeats", "2"])
    script.run_local_cupy(options)
    ours = "dask_mlsched.extension.preload"
    assert asked == [None, ours, ours, None] * 2
    found = json.loads((tmp_path / "local-cupy-dot.json").read_text())
    assert (found["without"], found["with"]) == ([1.0, 4.0], [2.0, 3.0])


def test_its_failure_is_one_line(script, monkeypatch):
    failed = subprocess.CompletedProcess([], 3, "", "Traceback\nValueError: no")
    monkeypatch.setattr(script.subprocess, "run", lambda *args, **kwargs: failed)
    with pytest.raises(script.RunFailedError, match="ended with 3: ValueError: no"):
        script.local_cupy([], with_plugin=False)


@pytest.mark.parametrize("name", ["test_gpu.sh", "bench_gpu.sh"])
@pytest.mark.parametrize(
    ("fails_on", "said"), [("cupy", "has no CuPy; install"), ("DeviceCount", "no NVIDIA GPU can")]
)
def test_without_cupy_or_a_gpu_the_scripts_end_with_one_line(tmp_path: Path, name, fails_on, said):
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\ncase "$2" in *{fails_on}*) exit 1 ;; esac\n')
    python.chmod(0o755)
    done = subprocess.run(
        ["bash", CI / name],
        env={**os.environ, "PYTHON": str(python)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: ")
    assert said in line


def test_wheels_are_for_a_version_of_python():
    done = subprocess.run(
        ["bash", CI / "gpu_wheels.sh", "newest"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "error: got 'newest'; expected" in done.stderr
