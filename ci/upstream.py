"""Run distributed's own test files with and without the plugin, and write ci/UPSTREAM.md.

A run has three modes: ``stock`` (no plugin), ``plugin`` (the plugin in every scheduler, in its
default configuration) and ``forced`` (it manages every task of every cluster, tiered or not).
What was measured is kept under ``out/upstream``, so that single files can be run again.
"""

from __future__ import annotations

import argparse
import dataclasses
import datetime as dt
import filecmp
import importlib.metadata
import importlib.util
import json
import os
import platform
import shutil
import subprocess
import sys
import time
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Literal

REPOSITORY = Path(__file__).resolve().parent.parent
EXEMPTIONS = REPOSITORY / "ci" / "upstream-exempt.txt"
TABLE = REPOSITORY / "ci" / "UPSTREAM.md"

FILES = {
    **{
        name: f"distributed/tests/test_{name}.py"
        for name in (
            "priorities",
            "reschedule",
            "resources",
            "cancelled_state",
            "steal",
            "failed_workers",
            "active_memory_manager",
            "worker_memory",
            "dask_collections",
            "stress",
            "chaos",
            "scheduler",
            "client",
        )
    },
    "shuffle": "distributed/shuffle/tests",
}
#: Files whose slow tests always run.
SLOW = {"stress", "failed_workers", "chaos"}

Mode = Literal["stock", "plugin", "forced"]
Outcome = Literal["passed", "failed", "skipped"]

#: What each mode adds to the environment; through it a plugin reaches every scheduler.
PRELOAD = {"DASK_DISTRIBUTED__SCHEDULER__PRELOAD": "dask_mlsched.extension.preload"}
VARIABLES: dict[Mode, dict[str, str]] = {
    "stock": {},
    "plugin": PRELOAD,
    "forced": PRELOAD | {"DASK_MLSCHED__SCOPE": "all"},
}

#: Run before a mode with the plugin: without it, a preload that fails would look like a success.
IS_LOADED = """
import asyncio
from distributed import Scheduler
async def main():
    async with Scheduler(port=0, dashboard=False) as scheduler:
        assert "mlsched" in scheduler.plugins, "the plugin is not in the scheduler"
asyncio.run(main())
"""

LEGEND = """\
Each cell: passed / failed / skipped. *stock*: without the plugin; *plugin*: preloaded, in its
default configuration; *forced*: it manages every task of every cluster (`scope: all`). A test that
fails runs once more, in a process of its own, and that counts. Exempt tests are left out of
*forced* only; each is listed with its reason in [upstream-exempt.txt](upstream-exempt.txt)."""


@dataclasses.dataclass(frozen=True)
class Result:
    """What became of one file's tests in one mode."""

    #: By test id
    outcomes: dict[str, Outcome]
    seconds: float
    date: str
    #: Why the run as a whole did not end, or an empty string
    broken: str = ""

    def count(self, outcome: Outcome) -> int:
        """Return how many tests ended so."""
        return sum(1 for one in self.outcomes.values() if one == outcome)

    @property
    def counts(self) -> str:
        """The cell of the table."""
        cell = " / ".join(str(self.count(one)) for one in ("passed", "failed", "skipped"))
        return f"{cell} ({self.broken})" if self.broken else cell


class Upstream:
    """One checkout, and where its results are kept."""

    def __init__(self, checkout: Path) -> None:
        self.version = importlib.metadata.version("distributed")
        self.place = REPOSITORY / "out" / "upstream" / self.version
        self.tree = self.place / "checkout"
        self._copy(checkout)

    def _copy(self, checkout: Path) -> None:
        """Copy the checkout's package, completed with what its build would have written."""
        specification = importlib.util.find_spec("distributed")
        assert specification is not None
        assert specification.origin is not None
        package = Path(specification.origin).parent
        theirs = {file.relative_to(package) for file in package.rglob("*.py")}
        theirs.discard(Path("_version.py"))
        source = checkout / "distributed"
        names = sorted(str(name) for name in theirs)
        _, differ, missing = filecmp.cmpfiles(source, package, names, shallow=False)
        if differ or missing:
            sys.exit(
                f"error: {checkout} differs from the installed distributed {self.version} in "
                f"{len(differ) + len(missing)} files (the first is {(differ + missing)[0]}); "
                f"check out the tag {self.version} there"
            )
        shutil.rmtree(self.tree, ignore_errors=True)
        ignore = shutil.ignore_patterns("__pycache__")
        shutil.copytree(source, self.tree / "distributed", ignore=ignore)
        for name in ("conftest.py", "pyproject.toml"):
            shutil.copy(checkout / name, self.tree)
        shutil.copy(package / "_version.py", self.tree / "distributed")

    def check_loaded(self, mode: Mode) -> None:
        """Stop with a clear message unless the plugin comes into every test's scheduler."""
        result = subprocess.run(
            [sys.executable, "-c", IS_LOADED],
            cwd=self.tree,
            env=os.environ | VARIABLES[mode],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        if result.returncode != 0:
            sys.exit(f"{result.stderr}error: preloading the plugin failed; the reason is above")

    def run(self, mode: Mode, name: str, *, slow: bool, deselect: list[str]) -> Result:
        """Run one file in one mode, then what failed once more by itself; keep the result."""
        started = time.monotonic()
        options = [f"--deselect={test}" for test in deselect]
        options += ["--runslow"] if slow or name in SLOW else []
        outcomes, broken = self._pytest(mode, name, [FILES[name], *options])
        failed = [test for test, outcome in outcomes.items() if outcome == "failed"]
        if failed:
            # In a process of its own: a test that hangs leaves things behind that fail others.
            again, _ = self._pytest(mode, f"{name}-again", [*failed, "--runslow"])
            outcomes |= again
        today = dt.datetime.now(dt.UTC).date().isoformat()
        result = Result(outcomes, round(time.monotonic() - started, 1), today, broken)
        kept = self.place / mode / f"{name}.json"
        kept.write_text(json.dumps(dataclasses.asdict(result), indent=1))
        return result

    def _pytest(
        self, mode: Mode, name: str, arguments: list[str]
    ) -> tuple[dict[str, Outcome], str]:
        """Run pytest; return the outcomes, and why it did not get to its end, if so."""
        folder = self.place / mode
        folder.mkdir(parents=True, exist_ok=True)
        report = folder / f"{name}.xml"
        report.unlink(missing_ok=True)
        command = [sys.executable, "-m", "pytest", *arguments, f"--junitxml={report}"]
        command += ["--override-ini=addopts=-q -rsfE --strict-markers -p no:asyncio"]
        command += ["--override-ini=junit_family=xunit1", "--override-ini=timeout_method=signal"]
        command += ["-p", "no:cacheprovider"]
        with (folder / f"{name}.log").open("w") as log:
            try:
                status = subprocess.run(
                    command,
                    cwd=self.tree,
                    env=os.environ | VARIABLES[mode],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    timeout=3600,
                    check=False,
                ).returncode
            except subprocess.TimeoutExpired:
                return {}, "ran over an hour"
        outcomes = read_report(report) if report.exists() else {}
        return outcomes, "" if status in (0, 1) else f"pytest ended with status {status}"

    def result(self, mode: Mode, name: str) -> Result | None:
        """Return what is kept of a file in a mode, if it was run."""
        kept = self.place / mode / f"{name}.json"
        return Result(**json.loads(kept.read_text())) if kept.exists() else None

    def regressions(self, mode: Mode, name: str, exempt: dict[str, str]) -> list[str]:
        """Return the tests that fail, or do not run, in a mode, and do not without the plugin."""
        stock, ours = self.result("stock", name), self.result(mode, name)
        if ours is None or stock is None:
            return []
        return [
            test
            for test, outcome in stock.outcomes.items()
            if outcome == "passed"
            and ours.outcomes.get(test) != "passed"
            and not (mode == "forced" and reason_of(test, exempt))
        ]


def read_report(report: Path) -> dict[str, Outcome]:
    """Read pytest's XML: the outcome by test id. The last counts, where a test ran twice."""
    outcomes: dict[str, Outcome] = {}
    for case in ET.parse(report).iter("testcase"):
        path = case.get("file", "")
        inner = case.get("classname", "").removeprefix(path.removesuffix(".py").replace("/", "."))
        test = "::".join([path, *inner.strip(".").split("."), case.get("name", "")])
        kinds = {child.tag for child in case}
        outcomes[test.replace("::::", "::")] = (
            "failed"
            if kinds & {"failure", "error"}
            else "skipped"
            if "skipped" in kinds
            else "passed"
        )
    return outcomes


def reason_of(test: str, exempt: dict[str, str]) -> str | None:
    """Return why a test is exempt; an entry without parameters stands for all of them."""
    return exempt.get(test) or exempt.get(test.partition("[")[0])


def read_exemptions() -> dict[str, str]:
    """Read ci/upstream-exempt.txt: the reason by test id."""
    exempt = {}
    for number, line in enumerate(EXEMPTIONS.read_text().splitlines(), start=1):
        test, _, reason = (part.strip() for part in line.partition("#"))
        if test and not reason:
            sys.exit(f"error: {EXEMPTIONS}:{number}: {test} has no reason; write one after a '#'")
        if test:
            exempt[test] = reason
    return exempt


def table(upstream: Upstream, exempt: dict[str, str]) -> str:
    """Return the text of ci/UPSTREAM.md."""
    packages = ("distributed", "dask-mlsched")
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in packages)
    versions += f", Python {platform.python_version()}, {os.cpu_count()} cores"
    lines = [
        "# distributed's own tests with the plugin in every scheduler",
        "",
        f"Written by `ci/upstream.sh` on {versions}.",
        "",
        LEGEND,
        "",
        "| file | stock | plugin | forced | exempt | seconds | run on |",
        "|---|---|---|---|---|---|---|",
    ]
    notes = []
    for name, path in FILES.items():
        modes: tuple[Mode, ...] = ("stock", "plugin", "forced")
        results = {mode: upstream.result(mode, name) for mode in modes}
        if not any(results.values()):
            continue
        cells = [result.counts if result else "-" for result in results.values()]
        seconds = " / ".join(f"{one.seconds:.0f}" if one else "-" for one in results.values())
        date = max(result.date for result in results.values() if result)
        stock = results["stock"]
        exempted = sum(bool(reason_of(test, exempt)) for test in stock.outcomes) if stock else 0
        lines.append(f"| {path} | {' | '.join(cells)} | {exempted or ''} | {seconds} | {date} |")
        if stock:
            failing = [test for test, outcome in stock.outcomes.items() if outcome == "failed"]
            notes += [f"- fails without the plugin too: `{test}`" for test in failing]
        for mode in modes[1:]:
            failing = upstream.regressions(mode, name, exempt)
            notes += [
                f"- **passes without the plugin, not in *{mode}***: `{one}`" for one in failing
            ]
    return "\n".join([*lines, *(["", *notes] if notes else []), ""])


def parse(arguments: list[str]) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(prog="ci/upstream.sh", description=__doc__)
    parser.add_argument("checkout", type=Path, help="checkout of distributed's repository")
    parser.add_argument("files", nargs="*", metavar="FILE", help=f"of: {', '.join(FILES)}")
    parser.add_argument("--stock", action="store_true", help="run again without the plugin too")
    parser.add_argument("--forced", action="store_true", help="manage every task; nothing else")
    parser.add_argument("--slow", action="store_true", help="the slow tests of every file")
    parser.add_argument("--with-exempt", action="store_true", help="run exempt tests too")
    options = parser.parse_intermixed_args(arguments)
    options.files = [
        name.removeprefix("test_").removesuffix(".py") for name in options.files
    ] or list(FILES)
    for name in options.files:
        if name not in FILES:
            parser.error(f"unknown file {name!r}; use one of {', '.join(FILES)}")
    return options


def main() -> None:
    """Run what the command line asks for."""
    options = parse(sys.argv[1:])
    exempt = read_exemptions()
    upstream = Upstream(options.checkout.resolve())
    mode: Mode = "forced" if options.forced else "plugin"
    upstream.check_loaded(mode)
    failures = []
    for name in options.files:
        if options.stock or upstream.result("stock", name) is None:
            result = upstream.run("stock", name, slow=options.slow, deselect=[])
            print(f"stock   {name}: {result.counts}, {result.seconds:.0f} s", flush=True)
        deselect = list(exempt) if options.forced and not options.with_exempt else []
        result = upstream.run(mode, name, slow=options.slow, deselect=deselect)
        print(f"{mode:7} {name}: {result.counts}, {result.seconds:.0f} s", flush=True)
        failures += upstream.regressions(mode, name, exempt)
        if result.broken:
            failures.append(f"{FILES[name]}: {result.broken}")
        if options.with_exempt:
            passing = [one for one in exempt if result.outcomes.get(one) == "passed"]
            print(*(f"  exempt, but passes: {one}" for one in passing), sep="\n", end="")
        TABLE.write_text(table(upstream, exempt))
    if failures:
        print(*(f"FAILED {test}" for test in failures), sep="\n", file=sys.stderr)
        sys.exit(
            f"error: {len(failures)} tests pass without the plugin and not with it; "
            f"their logs are in {upstream.place / mode}"
        )


if __name__ == "__main__":
    main()
