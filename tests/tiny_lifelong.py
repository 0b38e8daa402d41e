"""A stream of a few runs, and runs made by hand."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from dask_mlsched.benchmarks.lifelong import QUICK_SCALE, Experiment, Scale
from dask_mlsched.benchmarks.lifelong_goals import Run, goals
from dask_mlsched.benchmarks.lifelong_ours import Kind, Played
from dask_mlsched.benchmarks.lifelong_stream import Phase, Plan
from dask_mlsched.learning.outcome import Outcome

#: As short as a stream can be, with a champion that is sent back.
TINY: Final = Scale(
    Plan(("gemm", "cholesky"), mixed=4, new=4, drift=1, bad_champion=2),
    operation=12,
    specialist=12,
    merge=6,
    joint=12,
    shipped=False,
)

#: In search of the best schedule of an instance.
FEW_RUNS: Final = 3


def a_run(
    number: int = 0,
    workload: str = "gemm",
    *,
    phase: Phase = "mixed",
    ours: float = 0.7,
    specialist: float = 0.6,
    best: float = 0.5,
    taken: float | None = None,
    kind: Kind = "generalist",
    happened: Sequence[Outcome] = (),
) -> Run:
    played = Played(
        f"{workload}-1234",
        "generalist/v0001",
        kind,
        "it is believed to be best",
        ours if taken is None else taken,
        ours,
        tuple(happened),
    )
    makespans = {
        "ours": ours,
        "generalist": 0.75,
        "per program": 0.8,
        "specialist": specialist,
        "baseline": 1.0,
    }
    return Run(number, phase, workload, played, makespans, best)


def an_experiment() -> Experiment:
    split = Outcome("split", "it is better", "gemm-1234/v0001", "gemm-1234", {"saved": 0.1})
    back = Outcome("sent back", "one run took 1.60 of Dask's time", "generalist/v0002", "gemm-1234")
    refused = Outcome("refused", "nothing better was found")
    runs = [
        a_run(0, happened=[split, refused]),
        a_run(1, phase="bad", ours=1.6, kind="bad", happened=[back]),
        a_run(2, "cholesky", phase="bad", ours=1.0, kind="baseline"),
        *(a_run(3 + n, "qr", phase="new", kind="own") for n in range(5)),
        a_run(8, "block-sparse", phase="drift", kind="shared", best=0.99, ours=1.0),
        a_run(9, "block-sparse", phase="drift", kind="near"),
    ]
    return Experiment(0, QUICK_SCALE, tuple(runs), goals(runs, 1.01))


def size_of_png(content: bytes) -> tuple[int, int]:
    assert content[:8] == b"\x89PNG\r\n\x1a\n"
    return int.from_bytes(content[16:20], "big"), int.from_bytes(content[20:24], "big")
