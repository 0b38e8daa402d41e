"""A run that is over, simulated in a process: the same as here, and every end is told."""

from __future__ import annotations

import sys
import threading
import time
from pathlib import Path

import pytest

from core.driver import VirtualDask
from core.graphs import gemm
from dask_mlsched.core import events as ev
from dask_mlsched.core.chooser import Settings
from dask_mlsched.core.policies import GreedyHold
from dask_mlsched.core.run_log import LoggedRun, RunLog
from dask_mlsched.core.trace import Header, Step, Trace
from dask_mlsched.extension import comparing_process
from dask_mlsched.extension.comparing_process import ComparingProcess, ComparisonError
from dask_mlsched.extension.run_comparison import RIVALS, RunComparison, compare_run

HEADER = Header("1.2.3", 0.0, "greedy-hold", "manage", Settings(bandwidth=8.0))


def logged(size: int = 4) -> LoggedRun:
    dask = VirtualDask(GreedyHold(), bandwidth=8.0, hold_limit=64.0)
    dask.controller.log = RunLog()
    dask.join(0, threads=1, limit=60)
    dask.submit(gemm(size))
    dask.run()
    return dask.controller.log.run()


def here(run: LoggedRun) -> RunComparison:
    steps = tuple(Step(event, tuple(said)) for event, said in run.entries)
    return compare_run(Trace(HEADER, steps), run.decision_seconds)


def script(text: str, tmp_path: Path) -> ComparingProcess:
    path = tmp_path / "process.py"
    path.write_text(text)
    return ComparingProcess((sys.executable, str(path)))


def test_others_are_simulated_for_the_same_tasks():
    found = here(logged())
    assert set(found.rivals) == set(RIVALS)
    assert found.measured.seconds > 0
    for figures in (found.taken, found.dask, *found.rivals.values()):
        assert figures.seconds >= found.bound.seconds > 0
        assert figures.loaded >= found.bound.loaded
    name, seconds = found.best
    assert seconds == min(
        each.seconds for each in (found.taken, found.dask, *found.rivals.values())
    )
    assert name in ("as it ran", "Dask alone", *RIVALS)
    assert found.regret == found.taken.seconds - seconds >= 0


def test_it_comes_over_a_message_as_it_was():
    found = here(logged())
    assert RunComparison.of(found.as_dict()) == found


def test_decisions_take_their_time_in_a_simulation_too():
    run = logged()
    quick, slow = here(run), here(LoggedRun(run.entries, run.begun, run.cut, 0.5))
    assert slow.taken.seconds > quick.taken.seconds
    assert slow.dask == quick.dask


def test_a_process_says_the_same():
    run = logged()
    assert ComparingProcess().compare(HEADER, run) == here(run)


def test_a_run_in_which_nothing_ended_is_refused_with_a_reason():
    with pytest.raises(ComparisonError, match="no task of this trace has ended"):
        ComparingProcess().compare(HEADER, LoggedRun([], 0, cut=False))


def test_a_run_on_workers_that_differ_is_refused_with_a_reason():
    run = logged()
    entries = [(ev.WorkerJoined(0.0, 9, 8, 60), ()), *run.entries]
    with pytest.raises(ComparisonError, match="workers of 1 and 8 threads: the simulation knows"):
        ComparingProcess().compare(HEADER, LoggedRun(entries, run.begun, cut=False))


def test_a_run_that_reads_what_an_earlier_one_left_is_refused_with_a_reason():
    dask = VirtualDask(GreedyHold(), bandwidth=8.0, hold_limit=64.0)
    dask.controller.log = log = RunLog()
    dask.join(0, threads=1, limit=60)
    dask.submit("a:20 -> b:20", wanted=["a", "b"])
    dask.run()
    log.begin_run(dask.controller.books, dask.now)
    dask.submit("a -> c:20")
    dask.run()
    with pytest.raises(ComparisonError, match="it read 20 bytes that an earlier run left"):
        ComparingProcess().compare(HEADER, log.run())


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("raise SystemExit(3)", "status 3|BrokenPipe"),
        ("import sys; sys.stdin.read(); print('x')", "JSON"),
        ("import sys; sys.stdin.buffer.read(); print('{}')", "KeyError"),
        ("import sys; sys.stdin.buffer.read()", "status 0"),
    ],
)
def test_a_process_that_fails_is_told_with_a_reason(text: str, said: str, tmp_path: Path):
    with pytest.raises(ComparisonError, match=said):
        script(text, tmp_path).compare(HEADER, logged())


def test_one_that_cannot_be_started_is_told():
    with pytest.raises(ComparisonError, match="FileNotFoundError"):
        ComparingProcess(("/no/such/program",)).compare(HEADER, logged())


def test_one_that_takes_too_long_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(comparing_process, "TIMEOUT", 0.5)
    slow = script("import sys, time; sys.stdin.buffer.read(); time.sleep(60)", tmp_path)
    with pytest.raises(ComparisonError, match=r"more than 0\.5 s"):
        slow.compare(HEADER, logged())


def test_whoever_waits_is_told_when_it_is_closed(tmp_path: Path):
    slow = script("import sys, time; sys.stdin.buffer.read(); time.sleep(60)", tmp_path)
    problems: list[str] = []

    def wait() -> None:
        with pytest.raises(ComparisonError) as caught:
            slow.compare(HEADER, logged())
        problems.append(str(caught.value))

    thread = threading.Thread(target=wait)
    thread.start()
    time.sleep(1.0)
    slow.close()
    thread.join(10)
    assert not thread.is_alive()
    assert len(problems) == 1


def test_one_that_was_closed_before_it_began_does_nothing():
    process = ComparingProcess()
    process.close()
    with pytest.raises(ComparisonError):
        process.compare(HEADER, logged())
