"""Schedulers and workers that are started in the shell, also where the package is missing."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import sysconfig
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import dask_mlsched

PACKAGE = Path(dask_mlsched.__file__).parent


@dataclass(frozen=True)
class Python:
    """A Python, and what it finds."""

    command: tuple[str, ...]
    environment: Mapping[str, str]


def with_package() -> Python:
    """Return this Python, with the package as the tests have it."""
    paths = [str(PACKAGE.parent), str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]
    return Python((sys.executable,), {**os.environ, "PYTHONPATH": os.pathsep.join(paths)})


def without_package(folder: Path) -> Python:
    """Return this Python with all that is installed here, but the package."""
    (folder / "packages").mkdir()
    for each in Path(sysconfig.get_path("purelib")).iterdir():
        if "dask_mlsched" not in each.name and each.suffix != ".pth":
            (folder / "packages" / each.name).symlink_to(each)
    environment = {**os.environ, "PYTHONPATH": str(folder / "packages")}
    # Without `site`, only the folder counts.
    return Python((sys.executable, "-S"), environment)


def with_other_version(folder: Path, *, protocol: int, version: str) -> Python:
    """Return the same with a copy of the package that calls itself something else."""
    python = without_package(folder)
    copy = folder / "packages" / "dask_mlsched"
    shutil.copytree(PACKAGE, copy, ignore=shutil.ignore_patterns("__pycache__"))
    path = copy / "extension" / "versions.py"
    source, changed = path.read_text(), 0
    for line in (f"VERSION: Final = {version!r}", f"PROTOCOL: Final = {protocol}"):
        name = line.partition("=")[0]
        source, count = re.subn(rf"^{re.escape(name)}=.*$", line, source, flags=re.MULTILINE)
        changed += count
    assert changed == 2, "versions.py has other lines"
    path.write_text(source)
    return python


@dataclass
class Process:
    """A process that runs, and what it has written so far."""

    popen: subprocess.Popen[bytes]
    log: Path

    @property
    def text(self) -> str:
        return self.log.read_text()

    @property
    def trouble(self) -> list[str]:
        """Lines of tracebacks that have to do with us; Dask writes some when others leave."""
        ours = r"Error\b.*dask_mlsched|dask_mlsched/\S*\", line \d+|Failed to deserialize"
        return [line for line in self.text.splitlines() if re.search(ours, line)]

    def until_written(self, text: str, seconds: float = 60) -> None:
        end = time.monotonic() + seconds
        while text not in self.text:
            assert self.popen.poll() is None, self.text
            assert time.monotonic() < end, f"{text!r} is not in:\n{self.text}"
            time.sleep(0.05)


@contextmanager
def running(
    python: Python, folder: Path, name: str, *arguments: str, **environment: str
) -> Iterator[Process]:
    """Run `dask ARGUMENTS` as in a shell; end it when left."""
    log = folder / f"{name}.log"
    with log.open("wb") as out:
        popen = subprocess.Popen(
            [*python.command, "-m", "dask", *arguments],
            cwd=folder,
            env={**python.environment, **environment},
            stdout=out,
            stderr=subprocess.STDOUT,
        )
    try:
        yield Process(popen, log)
    finally:
        popen.send_signal(signal.SIGTERM)
        try:
            popen.wait(30)
        except subprocess.TimeoutExpired:
            popen.kill()
            popen.wait()


@contextmanager
def scheduler(
    python: Python, folder: Path, *arguments: str, **environment: str
) -> Iterator[tuple[str, Process]]:
    """Run `dask scheduler`; yield its address, and the process."""
    options = ("--host", "127.0.0.1", "--port", "0", "--dashboard-address", ":0", *arguments)
    with running(python, folder, "scheduler", "scheduler", *options, **environment) as process:
        process.until_written("Scheduler at:")
        (address,) = re.findall(r"Scheduler at: +(\S+)", process.text)
        yield address, process


@contextmanager
def worker(
    python: Python, folder: Path, address: str, name: str, *arguments: str, **environment: str
) -> Iterator[Process]:
    """Run `dask worker` with one thread; yield when it has joined."""
    options = (address, "--name", name, "--nthreads", "1", "--dashboard-address", ":0", *arguments)
    with running(python, folder, name, "worker", *options, **environment) as process:
        process.until_written("Registered to:")
        yield process
