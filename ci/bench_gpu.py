"""Measure on a GPU, one part at a time: what ci/bench_gpu.sh runs; see ci/GPU.md.

A part is a case at a memory ratio; each writes a document of its own into a folder, and `--page`
makes one page of all that are there. Parts that have their document are left out, so that the same
command goes on where one that was stopped ended.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NoReturn

from dask_mlsched.benchmarks.contender import Contender, contender
from dask_mlsched.benchmarks.device_arrays import CUPY, MissingDeviceError, require_device
from dask_mlsched.benchmarks.device_bench import (
    CASES,
    CONTENDERS,
    QUICK_CASES,
    QUICK_CONTENDERS,
    RATIOS,
    Case,
    measure,
)
from dask_mlsched.benchmarks.device_report import check_document, markdown
from dask_mlsched.benchmarks.optional import MissingDependencyError
from dask_mlsched.benchmarks.runner import RunFailedError

#: Of dask-cuda's own benchmark.
LOCAL_CUPY = "local-cupy"
OPERATIONS = ("dot", "transpose_sum")
PRELOAD = "DASK_DISTRIBUTED__SCHEDULER__PRELOAD"


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"error: {message}; see: {self.prog} --help\n")


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Read the command line; mistakes are one line and exit code 2."""
    parser = _Parser(prog="ci/bench_gpu.sh", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="tiny, on emulated devices: no GPU")
    parser.add_argument("--list", action="store_true", help="name the cases, and stop")
    parser.add_argument("--case", action="append", help=f"one of --list, or {LOCAL_CUPY}; all")
    parser.add_argument("--ratio", action="append", type=float, help=f"of {RATIOS}; all")
    parser.add_argument("--policies", help="POLICY@STORE, separated by commas")
    parser.add_argument("--repeats", type=int, default=3, help="runs of each; default 3")
    parser.add_argument("--seconds", type=float, help="begin no part after so many seconds")
    parser.add_argument("--out", type=Path, default=Path("out/gpu"), help="folder of the documents")
    parser.add_argument("--page", type=Path, help="write the page of all documents there")
    parser.add_argument("--page-only", action="store_true", help="measure nothing more")
    options = parser.parse_args(arguments)
    known = [*(QUICK_CASES if options.quick else CASES), LOCAL_CUPY]
    for name in options.case or ():
        if name not in known:
            parser.error(f"--case={name!r} is unknown; expected one of {', '.join(known)}")
    for ratio in options.ratio or ():
        if ratio < 1:
            parser.error(f"--ratio={ratio:g} is below 1, where everything fits; give 1 or more")
    if options.page_only and options.page is None:
        parser.error("--page-only without --page does nothing; add --page FILE")
    if options.repeats < 1:
        parser.error(f"--repeats={options.repeats} is below 1; give 1 or more")
    try:
        options.contenders = _contenders(options.policies, quick=options.quick)
    except ValueError as error:
        parser.error(f"--policies: {error}")
    return options


def _contenders(text: str | None, *, quick: bool) -> tuple[Contender, ...]:
    if text is None:
        return QUICK_CONTENDERS if quick else CONTENDERS
    return tuple(dict.fromkeys(contender(each.strip()) for each in text.split(",")))


def parts(options: argparse.Namespace) -> Iterator[tuple[Case, float, Path]]:
    """Yield the parts that are asked for, and where their documents go."""
    cases = QUICK_CASES if options.quick else CASES
    for name in options.case or cases:
        if name == LOCAL_CUPY:
            continue
        for ratio in options.ratio or RATIOS:
            yield cases[name], ratio, options.out / f"{name}-{ratio:g}.json"


def run_parts(options: argparse.Namespace) -> None:
    """Measure the parts that have no document yet."""
    started = time.monotonic()
    for case, ratio, path in parts(options):
        if path.exists():
            print(f"{path.name}: there already", file=sys.stderr)
            continue
        if options.seconds is not None and time.monotonic() - started > options.seconds:
            print(f"{path.name}: no time left; the same command goes on here", file=sys.stderr)
            return
        began = time.monotonic()
        with tempfile.TemporaryDirectory(prefix="mlsched-") as folder:
            document = measure(
                case,
                ratio,
                options.contenders,
                repeats=options.repeats,
                directory=Path(folder),
            )
        write(path, document)
        print(f"{path.name}: {time.monotonic() - began:.0f} s", file=sys.stderr)


def write(path: Path, document: object) -> None:
    """Write a document whole or not at all."""
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(document, indent=1) + "\n")
    partial.replace(path)


def run_local_cupy(options: argparse.Namespace) -> None:
    """Run dask-cuda's own benchmark on a device that is too small, in turn without and with us."""
    for operation in OPERATIONS:
        path = options.out / f"{LOCAL_CUPY}-{operation}.json"
        if path.exists():
            print(f"{path.name}: there already", file=sys.stderr)
            continue
        # 3.2 GB in chunks of 50 MB; the device takes a third of two such arrays.
        arguments = ["-o", operation, "-s", "20000", "-c", "2500", "--device-memory-limit", "2GB"]
        arguments += ["--runs", "1", "--warmup-runs", "1"]
        found: dict[str, list[float]] = {"without": [], "with": []}
        for repeat in range(options.repeats):
            for kind in ("without", "with")[:: 1 if repeat % 2 == 0 else -1]:
                found[kind].append(local_cupy(arguments, with_plugin=kind == "with"))
        write(path, {"arguments": " ".join(arguments), **found})
        print(f"{path.name}: done", file=sys.stderr)


def local_cupy(arguments: Sequence[str], *, with_plugin: bool) -> float:
    """Run dask-cuda's benchmark in a process of its own; return its seconds."""
    environment = dict(os.environ)
    if with_plugin:
        environment[PRELOAD] = "dask_mlsched.extension.preload"
    with tempfile.TemporaryDirectory(prefix="mlsched-") as folder:
        base = Path(folder) / "figures"
        command = [sys.executable, "-m", "dask_cuda.benchmarks.local_cupy", *arguments]
        command += ["--output-basename", str(base)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        if done.returncode:
            last = (done.stderr.strip().splitlines() or ["no output"])[-1]
            msg = f"{' '.join(command[1:])} ended with {done.returncode}: {last}"
            raise RunFailedError(msg)
        clocks = json.loads(base.with_suffix(".json").read_text())["wallclock"]
    (seconds,) = clocks.values()
    return float(seconds)


def page(folder: Path) -> str:
    """Make the page of all documents in a folder.

    Raises
    ------
    ValueError
        If there are none, or a file is something else.
    """
    paths = sorted(folder.glob("*.json"))
    if not paths:
        msg = f"no documents in {str(folder)!r}; measure first"
        raise ValueError(msg)
    found = {path: json.loads(path.read_text()) for path in paths}
    own = [path for path in paths if path.name.startswith(LOCAL_CUPY)]
    documents = [check_document(found[path], path.name) for path in paths if path not in own]
    documents.sort(key=lambda each: (each["case"], each["ratio"]))
    return markdown(documents, [found[path] for path in own])


def main(arguments: Sequence[str]) -> None:
    """Do what the command line says."""
    options = parse(arguments)
    if options.list:
        print(*(QUICK_CASES if options.quick else CASES), LOCAL_CUPY, sep="\n")
        return
    if not options.page_only:
        if not options.quick:
            require_device(CUPY)
        options.out.mkdir(parents=True, exist_ok=True)
        run_parts(options)
        if LOCAL_CUPY in (options.case or ([] if options.quick else [LOCAL_CUPY])):
            require_device(CUPY)
            run_local_cupy(options)
    if options.page is not None:
        options.page.write_text(page(options.out))


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except (MissingDependencyError, MissingDeviceError, RunFailedError, ValueError) as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit("interrupted; the same command will go on from here")
