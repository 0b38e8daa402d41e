"""Names that would be code if anybody took them for markup, and a run whose tasks have them."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import numpy as np

from core.recorded_simulations import COSTS, block_product
from dask_mlsched.core.chooser import Settings
from dask_mlsched.core.machine import Machine
from dask_mlsched.core.policies import Greedy
from dask_mlsched.core.recorder import RecordedController, Recorder
from dask_mlsched.core.simulator import simulate
from dask_mlsched.core.trace import Header

#: In an element, in an attribute, in a script, in a comment, in a template, and in TeX.
EVIL: Final = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(2)>',
    "</script><script>alert(3)</script>",
    "<!--<script>",
    "{{ 7 * 191 }}{% raw %}",
    "$$\\require{x}$$",
    "'); alert(4); ('",
    "\u2028\\u003cscript>",
)


class _EvilNames:
    """Gives every task, prefix and worker one of them."""

    def task_name(self, number: int) -> str:
        return f"{EVIL[number % len(EVIL)]} {number}"

    def prefix_name(self, number: int) -> str:
        return EVIL[number % len(EVIL)]

    def worker_name(self, number: int) -> str:
        return f"tcp://{EVIL[number % len(EVIL)]}"


def evil_trace(path: Path) -> Path:
    """Write a trace of a run of tasks with such names."""
    parts: list[bytes] = []
    settings = Settings(bandwidth=1e8)
    policy = f"a.policy.of.{EVIL[0]}"
    recorder = Recorder(Header(EVIL[1], 0.0, policy, "manage", settings), parts.append, limit=10**9)
    recorder.names = _EvilNames()
    dag = block_product(3)
    simulate(
        dag,
        Machine(600_000, workers=2, costs=COSTS),
        Greedy(),
        order=np.arange(len(dag)),
        settings=settings,
        controller=lambda *made_of: RecordedController(*made_of, recorder),
    )
    recorder.close()
    path.write_bytes(b"".join(parts))
    return path
