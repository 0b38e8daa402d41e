"""Block products of unit tiles on one worker: what a search for each of them comes to.

The six instances for which the first figures of this project were had, from a linear score of
twelve features in a simulator that was thrown away: tiles moved in both directions. The operands
are in the slow tier from the beginning here, and one task is sent ahead.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
from rich import box
from rich.console import Console
from rich.table import Table

from dask_mlsched.benchmarks.dask_order import dask_order
from dask_mlsched.benchmarks.families.products import Accumulation, block_sparse, gemm
from dask_mlsched.core.chooser import Settings
from dask_mlsched.core.costs import CopyCost, Costs
from dask_mlsched.core.dag import Dag
from dask_mlsched.core.machine import Machine
from dask_mlsched.learning.default_model import default_network
from dask_mlsched.learning.specialise import after, specialise

#: Rows of a tile, and its bytes.
_SIZE: Final = 64
_TILE: Final = 8 * _SIZE * _SIZE

#: Each way.
_COPY: Final = CopyCost(1e9)


@dataclass(frozen=True)
class Product:
    """One instance, and the first figures for it."""

    accumulation: Accumulation
    tiles: int
    density: float
    #: Device memory, in tiles.
    room: int
    #: Tiles moved: in another order alone, and with chosen victims and clean arrays dropped free.
    order_only: int
    with_eviction: int | None

    def dag(self) -> Dag:
        """Build it."""
        if self.density == 1.0:
            return gemm(tiles=self.tiles, size=_SIZE, accumulation=self.accumulation)
        return block_sparse(
            1,
            tiles=self.tiles,
            smallest=_SIZE,
            largest=_SIZE,
            density=self.density,
            accumulation=self.accumulation,
        )


PRODUCTS: Final = (
    Product("chain", 12, 1.0, 40, 1528, 973),
    Product("chain", 12, 1.0, 80, 686, None),
    Product("chain", 20, 0.4, 40, 2302, 1589),
    Product("tree", 12, 1.0, 40, 3290, 1805),
    Product("tree", 12, 1.0, 80, 1875, 1276),
    Product("tree", 20, 0.4, 80, 2139, 1445),
)


def tiles_moved(product: Product, runs: int, *, eviction: bool) -> dict[str, float]:
    """Search for a network; return the tiles that it moves, and those of the candidates.

    Parameters
    ----------
    runs
        Of the search, after those of the candidates.
    eviction
        Whether victims are chosen by their next use and clean arrays dropped free, or LRU.
    """
    dag = product.dag()
    machine = Machine(product.room * _TILE, costs=Costs(_COPY, _COPY, _COPY), keep_clean=eviction)
    settings = Settings(
        bandwidth=_COPY.bandwidth,
        eviction="next-use" if eviction else "lru",
        keep_clean=eviction,
    )
    found = specialise(
        dag,
        machine,
        settings,
        dask_order(dag),
        default_network(),
        expired=after(runs),
        rng=np.random.default_rng(0),
        objective="bytes",
    )
    moved: dict[str, float] = {arm: nbytes / _TILE for arm, (_, nbytes) in found.foretold.items()}
    return {**moved, "specialised": min(moved.values())}


def rows(runs: int) -> Iterator[tuple[str, ...]]:
    """Yield a row of the table for each product."""
    for product in PRODUCTS:
        lru = tiles_moved(product, runs, eviction=False)
        chosen = tiles_moved(product, runs, eviction=True)
        name = f"{product.accumulation}, n={product.tiles}, density {product.density:g}"
        yield (
            f"{name}, {product.room} tiles",
            f"{lru['stock']:.0f}",
            f"{lru['greedy']:.0f}",
            f"{lru['generalist']:.0f}",
            f"{lru['specialised']:.0f} ({product.order_only})",
            f"{chosen['specialised']:.0f} ({product.with_eviction or '–'})",
        )


def main(runs: int = 400) -> None:
    """Print the table: tiles moved, and the first figures in brackets."""
    table = Table(title=f"Tiles moved, {runs} runs of search (first figures)", box=box.SIMPLE_HEAD)
    table.add_column("product")
    for heading in ("stock", "greedy", "learned", "specialised", "… and chosen victims"):
        table.add_column(heading, justify="right")
    for row in rows(runs):
        table.add_row(*row)
    Console(width=110).print(table)


if __name__ == "__main__":
    main()
