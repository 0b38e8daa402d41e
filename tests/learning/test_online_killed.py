"""A process that learns and is really killed: in the middle of a record, and of a search."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from dask_mlsched.core.graph_message import FAILED, READY
from dask_mlsched.core.message_frame import Frame, encode, read
from dask_mlsched.core.model_choice import CATALOGUE, Catalogue
from dask_mlsched.core.training_message import (
    COLLECTED,
    HAPPENED,
    LIBRARY,
    Collected,
    Happened,
    Look,
)
from dask_mlsched.learning.families import Families
from dask_mlsched.learning.library import Library
from dask_mlsched.learning.replay import ReplayBuffer
from dask_mlsched.learning.training_folder import DECISIONS, FAMILIES
from learning.recorded_runs import leave, run_bytes
from learning_process import command

TESTS = Path(__file__).resolve().parent.parent

#: Kills the process in the middle of the fifth label.
DEADLY = """
import os, signal, sys
sys.path.insert(0, sys.argv[1])
from dask_mlsched.learning import frame_streams, replay_file
from dask_mlsched.learning.online import serve

writes = 0
def label(self, place, costs, real=replay_file.ReplayFile.write_label):
    global writes
    writes += 1
    if writes == 5:
        self.columns["label"][place] = 0
        self.columns["costs"][place] = costs
        os.kill(os.getpid(), signal.SIGKILL)
    real(self, place, costs)

replay_file.ReplayFile.write_label = label
serve(frame_streams.take, frame_streams.begin(0), lambda: None)
"""


@contextmanager
def process(arguments: tuple[str, ...]) -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(
        arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as made:
        try:
            yield made
        finally:
            made.kill()


def ask(made: subprocess.Popen[bytes], folder: Path, **changes: Any) -> None:
    asked = {"update": True, "capacity": 500, "update_after": 1_000, "seconds": 5.0, **changes}
    assert made.stdin is not None
    made.stdin.write(encode(Look(str(folder), **asked, thresholds={}).frame()))
    made.stdin.flush()


def heard(made: subprocess.Popen[bytes]) -> Frame:
    assert made.stdout is not None
    frame = read(made.stdout.read)
    assert frame is not None
    assert frame.kind != FAILED, frame.fields
    return frame


def heard_until(made: subprocess.Popen[bytes], kind: int) -> Frame:
    while (frame := heard(made)).kind != kind:
        pass
    return frame


@pytest.mark.slow
def test_killed_in_the_middle_of_a_record_what_was_whole_is_there_and_it_goes_on(
    tmp_path: Path,
) -> None:
    first, second = leave(tmp_path, run_bytes(), run_bytes(started=1.0))
    with process((sys.executable, "-c", DEADLY, str(TESTS))) as made:
        ask(made, tmp_path, update=False)
        assert made.wait(timeout=60) == -signal.SIGKILL
    assert first.exists()
    with ReplayBuffer.open(tmp_path / DECISIONS) as buffer:
        assert (len(buffer), len(buffer.records(labelled=True))) == (5, 4)
    with process(command("bad")) as made:
        ask(made, tmp_path, update=False)
        one, other = (Collected.from_frame(heard_until(made, COLLECTED)) for _ in range(2))
    # What there is of the first one stays; it is not added twice.
    assert one.rejected == "it is in the buffer already"
    assert other.added > 10
    assert other.decisions == 5 + other.added
    assert not first.exists()
    assert not second.exists()
    events = [each.kind for each in Library.reading(tmp_path / LIBRARY).events()]
    assert [each for each in events if "run" in each or each == "collected"] == [
        "rejected run",
        "collected",
    ]
    # What both came to counts all the same, once each.
    (family,) = Families(tmp_path / FAMILIES)
    assert [run.time for run in family.runs] == [0.0, 1.0]
    assert all(run.known for run in family.runs)


@pytest.mark.slow
def test_killed_in_the_middle_of_a_search_the_next_run_begins_it_again(tmp_path: Path) -> None:
    leave(tmp_path, run_bytes())
    with process(command("endless")) as made:
        ask(made, tmp_path)
        heard_until(made, COLLECTED)
        made.send_signal(signal.SIGKILL)
        made.wait()
    leave(tmp_path, run_bytes(started=1.0))
    with process(command("accepted")) as made:
        ask(made, tmp_path)
        heard_until(made, COLLECTED)
        told = Happened.from_frame(heard_until(made, HAPPENED))
        catalogue = Catalogue.from_frame(heard_until(made, CATALOGUE))
    assert told.event == "split"
    (family,) = catalogue.families
    assert told.family == family.name
    assert told.model in catalogue.networks


@pytest.mark.slow
def test_it_ends_in_the_middle_of_a_search_when_the_scheduler_is_gone(tmp_path: Path) -> None:
    leave(tmp_path, run_bytes())
    with process(command("patient")) as made:
        ask(made, tmp_path, seconds=1_000.0)
        heard_until(made, COLLECTED)
        with pytest.raises(subprocess.TimeoutExpired):
            made.wait(timeout=0.5)
        assert made.stdin is not None
        made.stdin.close()
        assert made.wait(timeout=30) == 0
    # The folder is free.
    ReplayBuffer.open(tmp_path / DECISIONS, mode="write").close()


@pytest.mark.slow
def test_two_that_share_a_folder_are_one_clear_problem(tmp_path: Path) -> None:
    with process(command("bad")) as first, process(command("bad")) as second:
        ask(first, tmp_path)
        heard_until(first, CATALOGUE)
        ask(second, tmp_path)
        assert heard(second).kind == READY
        assert second.stdout is not None
        failed = read(second.stdout.read)
        assert failed is not None
        assert failed.kind == FAILED
        assert f"process {first.pid} is writing to it" in failed.text("error")
        # Once the first one is gone, the other takes over.
        first.kill()
        first.wait()
        leave(tmp_path, run_bytes())
        ask(second, tmp_path)
        assert Collected.from_frame(heard_until(second, COLLECTED)).added > 10
