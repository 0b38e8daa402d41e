"""Libraries that several processes use at once, and that processes are killed over."""

from __future__ import annotations

import contextlib
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from dask_mlsched.learning.library import Library
from dask_mlsched.learning.model_ref import LibraryError
from learning.libraries import check_written, reopened, replayed, version

TESTS = Path(__file__).resolve().parent.parent


def start(path: Path, who: str, count: int) -> subprocess.Popen[str]:
    code = (
        "import sys; sys.path.insert(0, sys.argv.pop(1)); "
        "from learning.library_process import main; main(*sys.argv[1:])"
    )
    return subprocess.Popen(
        [sys.executable, "-c", code, str(TESTS), str(path), who, str(len(who)), str(count)],
        stdout=subprocess.PIPE,
        text=True,
    )


def look(reader: Library) -> None:
    """See a whole state, whatever is being done meanwhile."""
    events = reader.events()
    assert [event.sequence for event in events] == list(range(1, len(events) + 1))
    replayed(events)
    for alias in reader.aliases():
        # It may have been moved elsewhere, and removed, since.
        with contextlib.suppress(LibraryError):
            reader.network(reader.resolve(alias))


@pytest.mark.slow
def test_processes_that_change_a_library_at_once_lose_nothing(tmp_path: Path) -> None:
    path = tmp_path / "library"
    Library.open(path)
    writers = [start(path, who, 120) for who in ("one", "other", "third")]
    reader = Library.reading(path)
    while any(writer.poll() is None for writer in writers):
        look(reader)
    told = [line for writer in writers for line in writer.communicate()[0].splitlines()]
    assert [writer.returncode for writer in writers] == [0, 0, 0]
    library = reopened(path)
    events = library.events()
    assert not any(event.recovered for event in events)
    done = Counter(line.split()[0] for line in told)
    there = Counter(event.kind for event in events)
    assert [there[kind] for kind in ("created", "back", "removed", "noted")] == [
        done[kind] for kind in ("created", "back", "removed", "noted")
    ]
    assert there["moved"] <= done["moved"], "a move that changes nothing is none"
    assert sorted(event.what for event in events if event.kind == "created") == sorted(
        line.split()[1] for line in told if line.startswith("created")
    )


@pytest.mark.slow
def test_a_process_that_is_killed_at_any_moment_leaves_a_whole_library(tmp_path: Path) -> None:
    path = tmp_path / "library"
    version(Library.open(path))
    rng = random.Random(1)
    for attempt in range(12):
        with start(path, f"number {attempt}", 100_000) as writer:
            assert writer.stdout is not None
            first = writer.stdout.readline()
            time.sleep(rng.uniform(0, 0.2))
            writer.send_signal(signal.SIGKILL)
            told = [first, *writer.stdout]
        library = reopened(path)
        # All that it said it had done has been done.
        events = {event.what for event in library.events() if event.kind == "created"}
        whole = [line for line in told if line.endswith("\n")]
        assert {line.split()[1] for line in whole if line.startswith("created")} <= events
        # And it goes on.
        version(library)
        check_written(library)


#: Kills the process before its n-th step: a line of Python of what changes the library.
DEADLY = """
import os, random, shutil, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from dask_mlsched.learning import (
    file_lock, journal, library, library_events, library_files, library_log, library_reading,
    library_writer, model_file, version_folder, whole_file,
)
from dask_mlsched.learning.library import Library
from learning import libraries
from learning.libraries import check, refs, reopened, version

WATCHED = {module.__file__ for module in (
    journal, library, library_log, library_writer, version_folder, whole_file, shutil
)}
CHANGES = {
    "add": lambda library: version(library, "lu"),
    "move": lambda library: library.move({"champion": "gemm/v0001", "challenger": None}, "why"),
    "back": lambda library: library.back("champion", "why"),
    "remove": lambda library: library.remove("gemm/v0003", "why"),
    "note": lambda library: library.note("noted"),
}

def made(path):
    library = Library.open(path, now=lambda: 1.0)
    for _ in range(3):
        version(library)
    library.move({"champion": "gemm/v0001"}, "1")
    moves = {"champion": "gemm/v0002", "previous": "gemm/v0001", "challenger": "baseline"}
    library.move(moves, "2")
    return path

def killed(path, change, step):
    left = step
    def trace(frame, event, argument):
        nonlocal left
        if frame.f_code.co_filename not in WATCHED:
            return None
        if event == "line":
            left -= 1
            if left < 0:
                os._exit(137)
        return trace
    child = os.fork()
    if child == 0:
        library = Library.open(path)
        sys.settrace(trace)
        change(library)
        sys.settrace(None)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 137

def state(library):
    events = [(event.sequence, event.kind, event.what) for event in library.events()]
    return refs(library), library.aliases(), events

def main(scratch, name, stride):
    origin = made(scratch / "origin")
    seen, step = [], 0
    while True:
        path = scratch / str(step)
        shutil.copytree(origin, path)
        goes_on = killed(path, CHANGES[name], step)
        found = state(Library.reading(path))
        library = reopened(path)
        assert state(library) == found
        if found not in seen:
            seen.append(found)
        if step % 10 == 0:
            version(library, "after")
            reopened(path)
        shutil.rmtree(path)
        if not goes_on:
            break
        step += stride
    # Before, and after: nothing between them is ever seen.
    assert seen[0] == state(Library.reading(origin))
    assert len(seen) == 2, seen
    print(step)

main(Path(sys.argv[2]), sys.argv[3], int(sys.argv[4]))
"""


def kill_at_each_step(tmp_path: Path, change: str, stride: int) -> int:
    arguments = [sys.executable, "-c", DEADLY, str(TESTS), str(tmp_path), change, str(stride)]
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=110, check=False)
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


@pytest.mark.slow
@pytest.mark.parametrize("change", ["add", "move", "back", "remove", "note"])
def test_killed_at_any_step_a_change_has_happened_or_not(tmp_path: Path, change: str) -> None:
    assert kill_at_each_step(tmp_path, change, 1) > 30


def test_killed_at_some_steps_a_change_has_happened_or_not(tmp_path: Path) -> None:
    assert kill_at_each_step(tmp_path, "remove", 17) > 30
