"""The runner of distributed's own tests reads, compares and excuses correctly."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

CI = Path(__file__).resolve().parent.parent.parent / "ci"


@pytest.fixture(scope="module")
def upstream() -> ModuleType:
    specification = importlib.util.spec_from_file_location("ci_upstream", CI / "upstream.py")
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    sys.modules["ci_upstream"] = module  # dataclasses look their module up
    specification.loader.exec_module(module)
    return module


CASE = (
    '<testcase classname="distributed.tests.test_x{}" file="distributed/tests/test_x.py"'
    ' name="{}">{}</testcase>'
)
REPORT = f"""
<testsuites><testsuite>
  {CASE.format("", "test_a[1]", "")}
  {CASE.format(".TestY", "test_b", "<skipped/>")}
  {CASE.format("", "test_c", "<failure/>")}
  {CASE.format("", "test_d", "<failure/>")}
  {CASE.format("", "test_d", "")}
</testsuite></testsuites>
"""


def test_a_report_is_read_by_test_id_and_the_last_try_counts(
    upstream: ModuleType, tmp_path: Path
) -> None:
    report = tmp_path / "report.xml"
    report.write_text(REPORT)
    assert upstream.read_report(report) == {
        "distributed/tests/test_x.py::test_a[1]": "passed",
        "distributed/tests/test_x.py::TestY::test_b": "skipped",
        "distributed/tests/test_x.py::test_c": "failed",
        "distributed/tests/test_x.py::test_d": "passed",
    }


def test_an_exemption_without_parameters_stands_for_all_of_them(upstream: ModuleType) -> None:
    exempt = {"f.py::test_a": "stealing", "f.py::test_b[1]": "queueing"}
    assert upstream.reason_of("f.py::test_a[x]", exempt) == "stealing"
    assert upstream.reason_of("f.py::test_b[1]", exempt) == "queueing"
    assert upstream.reason_of("f.py::test_b[2]", exempt) is None


def test_an_exemption_without_a_reason_is_refused(
    upstream: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed = tmp_path / "exempt.txt"
    listed.write_text("# a comment\n\nf.py::test_a # placement\nf.py::test_b\n")
    monkeypatch.setattr(upstream, "EXEMPTIONS", listed)
    with pytest.raises(SystemExit, match=r"exempt.txt:4: f.py::test_b has no reason"):
        upstream.read_exemptions()


def test_every_exemption_in_the_repository_has_a_reason(upstream: ModuleType) -> None:
    assert all(upstream.read_exemptions().values())


@pytest.mark.parametrize(
    ("mode", "expected"), [("plugin", ["t::b", "t::c", "t::e"]), ("forced", ["t::b", "t::e"])]
)
def test_what_fails_or_vanishes_only_with_the_plugin_is_a_regression(
    upstream: ModuleType, monkeypatch: pytest.MonkeyPatch, mode: str, expected: list[str]
) -> None:
    stock = {
        "t::a": "passed",
        "t::b": "passed",
        "t::c": "passed",
        "t::d": "failed",
        "t::e": "passed",
    }
    ours = {"t::a": "passed", "t::b": "failed", "t::c": "failed", "t::d": "failed"}
    results = {"stock": stock, mode: ours}
    runner = object.__new__(upstream.Upstream)
    monkeypatch.setattr(
        runner, "result", lambda mode, name: upstream.Result(results[mode], 1.0, "2026-01-01")
    )
    assert runner.regressions(mode, "x", {"t::c": "asserts placement"}) == expected
