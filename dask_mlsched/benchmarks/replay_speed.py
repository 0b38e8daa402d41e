"""How long the replay buffer takes to add, label and draw: ``python -m`` this module prints it."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich import box
from rich.console import Console
from rich.table import Table

from dask_mlsched.learning.decision_record import MAX_ACTIONS, DecisionRecord
from dask_mlsched.learning.replay import ReplayBuffer


@dataclass(frozen=True)
class Timing:
    """How long one operation takes."""

    operation: str
    #: Median over batches.
    microseconds: float


def measure(
    folder: Path,
    *,
    capacity: int = 20_000,
    features: int = 32,
    actions: int = MAX_ACTIONS,
    batch: int = 256,
    repeats: int = 20,
) -> list[Timing]:
    """Time a buffer in a folder, once it is full of labelled decisions of one size."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(actions, features)).astype(np.float32)
    decision = DecisionRecord(x, True, 0, 0.0, 0, 0.0, 0, 0, 1.0)
    costs = rng.random(actions, np.float32)
    path = folder / "speed.mlsched-replay"
    names = [f"feature {number}" for number in range(features)]
    with ReplayBuffer.create(path, names, capacity) as buffer:
        # Pages that are touched for the first time would be what is measured.
        last = 0
        for _ in range(capacity):
            last = buffer.add(decision)
        few = max(capacity // repeats, 1)
        found = [
            _timed("label", lambda: buffer.label(last, costs), few, repeats),
            _timed(f"add, {actions} actions", lambda: buffer.add(decision), few, repeats),
        ]
        for _ in range(capacity):
            buffer.label(buffer.add(decision), costs)
        found.append(_timed(f"sample {batch}", lambda: buffer.sample(rng, batch), 20, repeats))
        opening = "open, for each record"
        with ReplayBuffer.open(path) as reader:
            found.append(
                _timed(f"sample {batch}, reader", lambda: reader.sample(rng, batch), 20, repeats)
            )
        seconds = _timed(opening, lambda: ReplayBuffer.open(path).close(), 1, 3).microseconds
        found.append(Timing(opening, seconds / capacity))
    return found


def table(found: list[Timing]) -> Table:
    """Lay out for a terminal."""
    laid = Table(title="Replay buffer, microseconds", box=box.SIMPLE_HEAD)
    laid.add_column("operation")
    laid.add_column("median", justify="right")
    for timing in found:
        laid.add_row(timing.operation, f"{timing.microseconds:,.1f}")
    return laid


def _timed(operation: str, call: Callable[[], object], calls: int, repeats: int) -> Timing:
    took = []
    for _ in range(repeats):
        started = time.perf_counter()
        for _ in range(calls):
            call()
        took.append((time.perf_counter() - started) / calls)
    return Timing(operation, float(np.median(took)) * 1e6)


def main() -> None:
    """Measure on the disk that temporary files are on, and print."""
    with tempfile.TemporaryDirectory(prefix="mlsched-") as folder:
        Console().print(table(measure(Path(folder))))


if __name__ == "__main__":
    main()
