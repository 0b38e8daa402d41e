"""Processes that are really killed while they write to a replay buffer."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from dask_mlsched.learning.replay import ReplayBuffer
from learning.decisions import NAMES, decision, is_whole

TESTS = Path(__file__).resolve().parent.parent

PREAMBLE = """
import os, signal, sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
import numpy as np
from dask_mlsched.learning.replay import ReplayBuffer
from learning.decisions import decision

class Deadly:
    '''A column that kills the process when it is written to.'''
    def __init__(self, column, writes=0):
        self.column, self.writes = column, writes
    def __getitem__(self, place):
        if self.writes == 0 and self.column.ndim == 3:
            os.kill(os.getpid(), signal.SIGKILL)
        return self.column[place]
    def __setitem__(self, place, value):
        if self.writes == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        self.writes -= 1
        self.column[place] = value

buffer = ReplayBuffer.open(Path(sys.argv[1]), mode="write")
columns = buffer._file.columns
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "buffer"
    with ReplayBuffer.create(path, NAMES, 4) as buffer:
        for number in range(6):
            buffer.add(decision(number))
        buffer.label(6, [0.0, 1.0])
    return path


def start(path: Path, code: str) -> subprocess.Popen[str]:
    arguments = [sys.executable, "-c", PREAMBLE + code, str(path), str(TESTS)]
    return subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True)


def killed_in(path: Path, code: str) -> None:
    with start(path, code) as process:
        process.communicate(timeout=60)
        assert process.returncode == -signal.SIGKILL


@pytest.mark.parametrize(
    ("column", "writes", "torn"),
    [
        ("checksum", 0, 0),  # before anything was written
        ("label", 0, 1),
        ("features", 0, 1),
        ("costs", 0, 1),
        ("checksum", 1, 1),  # all but the checksum
    ],
)
def test_a_record_counts_only_once_it_is_complete(path: Path, column: str, writes: int, torn: int):
    code = f"columns[{column!r}] = Deadly(columns[{column!r}], {writes})\nbuffer.add(decision(6))"
    killed_in(path, code)
    with ReplayBuffer.open(path) as reader:
        # The seventh takes the third place, where the third was.
        assert reader.records()["worker"].tolist() == [2, 3, 4, 5][torn:]
        assert reader.info().torn == torn
    with ReplayBuffer.open(path, mode="write") as buffer:
        assert buffer.info().torn == torn
        assert buffer.add(decision(6)) == 7
        assert buffer.records()["worker"].tolist() == [3, 4, 5, 6]
        assert all(map(is_whole, buffer.records()))
    with ReplayBuffer.open(path) as reader:
        assert reader.info().torn == 0


def test_a_record_that_is_complete_counts_though_the_counter_does_not_know(path: Path):
    code = "buffer._file.counters = Deadly(buffer._file.counters)\nbuffer.add(decision(6))"
    killed_in(path, code)
    with ReplayBuffer.open(path, mode="write") as buffer:
        assert buffer.records()["worker"].tolist() == [3, 4, 5, 6]
        assert buffer.add(decision(7)) == 8


@pytest.mark.parametrize(("column", "writes"), [("costs", 0), ("label", 1)])
def test_a_label_counts_only_once_it_is_complete(path: Path, column: str, writes: int):
    code = f"columns[{column!r}] = Deadly(columns[{column!r}], {writes})\nbuffer.label(6, [2.0, 0])"
    with ReplayBuffer.open(path) as reader:
        killed_in(path, code)
        # The reader was there before, and finds out when it copies.
        reader.sample(np.random.default_rng(0), 99, labelled=False)
        assert len(reader.records(labelled=True)) == 0
    with ReplayBuffer.open(path, mode="write") as buffer:
        assert buffer.info().labelled == 0
        assert np.isnan(buffer.records()["costs"]).all()
        assert buffer.label(6, [2.0, 0.0])


def test_writers_that_are_killed_anywhere_leave_what_they_added(path: Path):
    code = """
for number in range(10**9):
    sequence = buffer.add(decision(number % 1000, 1 + number % 33))
    if number % 3 == 0:
        buffer.label(sequence, np.zeros(1 + number % 33))
    print(sequence, flush=True)
"""
    with ReplayBuffer.open(path) as reader:
        for lines in (1, 40, 333):
            with start(path, code) as process:
                for _ in range(lines):
                    told = int(process.stdout.readline())
                # It is in the middle of something; a reader meanwhile never sees half of it.
                assert all(map(is_whole, reader.records()))
                process.kill()
                rest = process.stdout.read().split("\n")[:-1]
            told = int(rest[-1]) if rest else told
            with ReplayBuffer.open(path, mode="write") as buffer:
                records = buffer.records()
                assert all(map(is_whole, records))
                # At most the one that was being written is lost, and the one that it replaced.
                assert told in records["sequence"]
                assert records["sequence"][-1] - told <= 1
                assert len(records) + buffer.info().torn == 4
