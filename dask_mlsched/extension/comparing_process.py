"""The process that simulates a run which is over, beside the scheduler, and its other end.

It takes seconds of plain Python, which the event loop does not have. What happened goes there in
small pieces, pickled: the process is our own, of the same installation, and gone once it has
answered with one line of JSON.
"""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
from collections.abc import Sequence
from typing import IO, Any, Final

from dask_mlsched.core.run_log import LoggedRun
from dask_mlsched.core.trace import Header, Step, Trace
from dask_mlsched.extension.run_comparison import RunComparison, compare_run

COMMAND: Final = (sys.executable, "-m", "dask_mlsched.extension.comparing_process")

#: Events that are pickled at once: the event loop waits so long, some milliseconds.
_PIECE: Final = 500

#: Seconds after which nobody waits for an answer any more.
TIMEOUT: Final = 120.0


class ComparisonError(RuntimeError):
    """A run that could not be simulated: one line that says why."""


class ComparingProcess:
    """One process for one run. Call `compare` in a thread, and `close` from anywhere."""

    def __init__(self, command: Sequence[str] = COMMAND) -> None:
        self._command = command
        self._process: subprocess.Popen[bytes] | None = None
        self._closed = False

    def compare(self, header: Header, run: LoggedRun) -> RunComparison:
        """Have a run simulated, and wait for what comes of it.

        Raises
        ------
        ComparisonError
            If it could not be; it says why.
        """
        try:
            with subprocess.Popen(
                list(self._command),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
            ) as process:
                self._process = process
                if self._closed:
                    process.kill()
                return self._ask(process, header, run)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ComparisonError(
                f"the simulation failed ({type(error).__name__}: {error})"
            ) from None
        finally:
            self._process = None

    def _ask(
        self, process: subprocess.Popen[bytes], header: Header, run: LoggedRun
    ) -> RunComparison:
        assert process.stdin is not None
        try:
            _write(process.stdin, header, run)
            answer, _ = process.communicate(timeout=TIMEOUT)
        except subprocess.TimeoutExpired:
            process.kill()
            raise ComparisonError(f"it took more than {TIMEOUT:g} s to simulate") from None
        except BaseException:
            process.kill()
            raise
        if process.returncode or not answer:
            raise ComparisonError(f"the simulation ended with status {process.returncode}")
        found = json.loads(answer)
        if "problem" in found:
            raise ComparisonError(str(found["problem"]))
        return RunComparison.of(found)

    def close(self) -> None:
        """End the process, if there is one: whoever waits for it is told at once."""
        self._closed = True
        process = self._process
        if process is not None:
            process.kill()


def _write(stream: IO[bytes], header: Header, run: LoggedRun) -> None:
    pickle.dump((header, run.decision_seconds), stream)
    for start in range(0, len(run.entries), _PIECE):
        pickle.dump(list(run.entries[start : start + _PIECE]), stream)
    pickle.dump(None, stream)


def _read(stream: IO[bytes]) -> tuple[Trace, float]:
    header, decision_seconds = pickle.load(stream)
    steps: list[Step] = []
    while (piece := pickle.load(stream)) is not None:
        steps += [Step(event, tuple(instructions)) for event, instructions in piece]
    return Trace(header, tuple(steps)), decision_seconds


def main() -> None:
    """Read a run, simulate it, and write what it came to."""
    os.nice(10)
    try:
        answer: dict[str, Any] = compare_run(*_read(sys.stdin.buffer)).as_dict()
    except ValueError as error:  # as all errors of the simulation are
        answer = {"problem": str(error)}
    sys.stdout.write(json.dumps(answer))


if __name__ == "__main__":
    main()
