"""Published counts of loads on the 2D instances of StarPU's studies, beside ours.

The figures are tiles loaded per iteration on one GPU with room for 35 tiles, derived from StarPU's
own result files; results are ignored there and take no memory here. What we simulate is the
algorithm, without what StarPU's runtime does around it: transfers begun ahead of time for tasks
that are far from running, several tasks taken by a worker at once, and tasks that run while others
are still being submitted.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from rich import box
from rich.table import Table

from dask_mlsched.benchmarks.dask_order import dask_order
from dask_mlsched.benchmarks.families.pairs import pairs
from dask_mlsched.core import policies
from dask_mlsched.core.chooser import Settings
from dask_mlsched.core.costs import CopyCost, Costs
from dask_mlsched.core.machine import Machine
from dask_mlsched.core.simulator import simulate

#: Room on the device, in tiles, and bytes of a tile; the count of loads does not depend on these.
_TILES: Final = 35
_TILE_NBYTES: Final = 14_000_000
_BANDWIDTH: Final = 12e9

#: The instance whose counts are published.
_DENSE: Final = (75, 1.0, False)

#: So far from a published count is near enough.
TOLERANCE: Final = 0.25

#: Called with the share that is done.
OnDone = Callable[[float], None]


@dataclass(frozen=True)
class Algorithm:
    """A policy with its rule of eviction, as published."""

    #: By its name there.
    name: str
    policy: str
    eviction: str
    #: Tiles loaded on the dense instance.
    published: int
    #: Whether the count itself, and not only its place, is to be reproduced.
    must_agree: bool


#: From the most tiles to the fewest.
ALGORITHMS: tuple[Algorithm, ...] = (
    Algorithm("eager", "fifo", "lru", 5773, must_agree=False),
    Algorithm("DARTS, LRU", "darts", "lru", 4223, must_agree=False),
    Algorithm("DMDAR", "dmdar", "lru", 905, must_agree=True),
    Algorithm("DARTS + LUF", "darts-luf", "luf", 382, must_agree=True),
    Algorithm("HFP, Belady", "hfp", "belady", 350, must_agree=True),
)


@dataclass(frozen=True)
class Count:
    """Tiles that one algorithm loaded."""

    instance: str
    algorithm: Algorithm
    tiles: int
    #: The published count; None where none is known for the instance.
    published: int | None

    @property
    def ratio(self) -> float | None:
        """Our count over the published one."""
        return None if self.published is None else self.tiles / self.published

    @property
    def misses(self) -> bool:
        """Whether the count should be near the published one and is not."""
        far = self.ratio is not None and abs(self.ratio - 1) > TOLERANCE
        return far and self.algorithm.must_agree


def count_tiles(
    n: int, density: float = 1.0, *, shuffled: bool = False, on_done: OnDone | None = None
) -> list[Count]:
    """Simulate every algorithm on a 2D instance of `n` by `n` tasks."""
    dag = pairs(n=n, density=density, shuffled=shuffled, tile_nbytes=_TILE_NBYTES)
    kind = "dense" if density == 1 else f"{density:.0%} of the tasks"
    instance = f"N = {n}, {kind}{', in random order' if shuffled else ''}"
    copy = CopyCost(_BANDWIDTH)
    # Operands never change, so that evicting them is free; one GPU.
    machine = Machine(_TILES * _TILE_NBYTES, costs=Costs(copy, copy, copy), keep_clean=True)
    order = dask_order(dag)
    if shuffled:
        order.sort()  # as submitted, which is not row by row
    counts = []
    for number, algorithm in enumerate(ALGORITHMS):
        run = simulate(
            dag,
            machine,
            policies.make(algorithm.policy, random.Random(0)),
            order=order,
            settings=Settings(lookahead=0, bandwidth=_BANDWIDTH, eviction=algorithm.eviction),
        )
        published = algorithm.published if (n, density, shuffled) == _DENSE else None
        counts.append(Count(instance, algorithm, run.bytes_loaded // _TILE_NBYTES, published))
        if on_done is not None:
            on_done((number + 1) / len(ALGORITHMS))
    return counts


def table(counts: Sequence[Count]) -> Table:
    """Lay the counts out for a terminal; what should agree and does not is marked."""
    result = Table(title="Tiles loaded, room for 35", box=box.SIMPLE_HEAD, padding=0)
    result.add_column("instance", no_wrap=True)
    result.add_column("algorithm", no_wrap=True)
    for heading in ("published", "ours", "ours over\npublished"):
        result.add_column(heading, justify="right")
    for count in counts:
        result.add_row(
            count.instance,
            count.algorithm.name,
            "–" if count.published is None else str(count.published),
            str(count.tiles),
            "–" if count.ratio is None else f"{count.ratio:.2f}{' !' if count.misses else ''}",
        )
    return result


def markdown(counts: Sequence[Count]) -> str:
    """Return the counts as a Markdown table."""
    lines = ["| instance | algorithm | published | ours | ours over published |", f"|{'---|' * 5}"]
    for count in counts:
        published = "–" if count.published is None else count.published
        ratio = "–" if count.ratio is None else f"{count.ratio:.2f}"
        missed = " (missed)" if count.misses else ""
        lines.append(
            f"| {count.instance} | {count.algorithm.name} | {published} | {count.tiles} "
            f"| {ratio}{missed} |"
        )
    return "\n".join([*lines, ""])


def as_json(counts: Sequence[Count]) -> list[dict[str, Any]]:
    """Return the counts for machines."""
    return [
        {
            "instance": count.instance,
            "algorithm": count.algorithm.name,
            "policy": count.algorithm.policy,
            "eviction": count.algorithm.eviction,
            "tiles": count.tiles,
            "published": count.algorithm.published
            if count.instance == counts[0].instance
            else None,
        }
        for count in counts
    ]
