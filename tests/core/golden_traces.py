"""Recorded decisions for fixed graphs and seeds, compared exactly by `test_golden`.

A difference is either a mistake or a change of behaviour that was meant. For
the latter, record anew and read the difference before committing it::

    PYTHONPATH=.:tests python -m core.golden_traces
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from core.driver import VirtualDask
from core.graphs import gemm, random_graph, tree, wavefront
from dask_mlsched.core.events import Instruction, Run
from dask_mlsched.core.policies import make

DIRECTORY: Final = Path(__file__).parent / "golden"


def virtual_dask(policy: str, *, limit: int, **settings: float) -> VirtualDask:
    """Set up two workers, and times and sizes that floats represent exactly."""
    made = None if policy == "stock" else make(policy, random.Random(0))
    dask = VirtualDask(
        made, **{"bandwidth": 8.0, "network_bandwidth": 4.0, "hold_limit": 64.0, **settings}
    )
    dask.join(0, threads=1, limit=limit)
    dask.join(1, threads=2, limit=limit)
    return dask


def product(policy: str) -> VirtualDask:
    dask = virtual_dask(policy, limit=64)
    dask.submit(gemm(3))
    dask.run()
    return dask


def product_with_losses() -> VirtualDask:
    dask = virtual_dask("greedy-hold", limit=64)
    dask.submit(gemm(3))
    dask.decide()
    happenings: dict[int, Callable[[], None]] = {
        4: lambda: dask.pause(0),
        6: lambda: dask.leave(1),
        7: lambda: dask.join(1, limit=96),
        9: lambda: dask.resume(0),
    }
    for step in range(12):
        time = dask.next_time()
        if time is not None:
            dask.advance(time)
        happenings.get(step, lambda: None)()
    dask.run()
    return dask


def square_at_random() -> VirtualDask:
    dask = virtual_dask("random", limit=50, seed=7)
    dask.submit(wavefront(5))
    dask.run()
    return dask


def sum_first_in_first_out() -> VirtualDask:
    dask = virtual_dask("fifo", limit=40, lookahead=0)
    dask.submit(tree(16), seconds=0.5)
    dask.run()
    return dask


def two_priorities() -> VirtualDask:
    dask = virtual_dask("greedy-hold", limit=60, lookahead=2)
    dask.submit(random_graph(random.Random(3), 30))
    dask.decide()
    dask.advance(1.0)
    dask.submit("u-0:20 -> u-1 -> u-2\nu-0 -> u-3", priority=1)
    dask.run()
    return dask


CASES: Final[dict[str, Callable[[], VirtualDask]]] = {
    "product-stock": lambda: product("stock"),
    "product-greedy": lambda: product("greedy"),
    "product-greedy-hold": lambda: product("greedy-hold"),
    "product-with-losses": product_with_losses,
    "square-at-random": square_at_random,
    "sum-first-in-first-out": sum_first_in_first_out,
    "two-priorities": two_priorities,
}


def trace(dask: VirtualDask, number_to_key: dict[int, str]) -> list[list[Any]]:
    """Write down every instruction, in order."""

    def written(each: Instruction) -> list[Any]:
        if isinstance(each, Run):
            why = [each.reason, each.missing_bytes, each.candidates, each.rank, each.held_seconds]
            return ["run", each.time, number_to_key[each.task], each.worker, *why]
        return ["hold", each.time, each.worker, each.until, each.saved_seconds]

    return [written(each) for each in dask.instructions]


def play(name: str) -> list[list[Any]]:
    """Play one case."""
    dask = CASES[name]()
    # Numbers that were used twice would be ambiguous; here a client keeps something downstream
    # of every task, so that none is forgotten.
    keys = {task.number: key for key, task in dask.tasks.items()}
    assert len(keys) == len(dask.controller.graph)
    return trace(dask, keys)


def recorded(name: str) -> list[list[Any]]:
    """Read what was recorded for a case."""
    instructions: list[list[Any]] = json.loads((DIRECTORY / f"{name}.json").read_text("utf-8"))
    return instructions


def record() -> None:
    """Write all cases, one instruction a line."""
    DIRECTORY.mkdir(exist_ok=True)
    for name in CASES:
        lines = ",\n".join(json.dumps(each) for each in play(name))
        (DIRECTORY / f"{name}.json").write_text(f"[\n{lines}\n]\n", "utf-8")


if __name__ == "__main__":
    record()
