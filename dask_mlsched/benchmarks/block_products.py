"""Block-sparse and dense products of numpy tiles, accumulated along k.

The generator is that of TTG's block-sparse benchmark: tile sizes are uniform in a range, and
random tiles are chosen until the wanted share of the matrix is filled. Only products of two
non-zero tiles become tasks. Each adds to the tile of C that the task before it made.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from dask.delayed import delayed
from dask.typing import Key

from dask_mlsched.benchmarks.device_arrays import HOST
from dask_mlsched.benchmarks.problem import Collection, Parameter, Problem
from dask_mlsched.benchmarks.random_bits import random_bits
from dask_mlsched.benchmarks.tiles import close, offsets

Tile = npt.NDArray[np.floating]
Place = tuple[int, int]


@dataclass(frozen=True)
class BlockMatrix:
    """Which tiles of a matrix are there; their entries follow from the seed."""

    label: str
    rows: tuple[int, ...]
    columns: tuple[int, ...]
    #: Places of the non-zero tiles, in ascending order.
    places: tuple[Place, ...]
    #: With a place appended, the seed of that tile.
    seed: tuple[int, ...]
    dtype: str = "float64"

    @property
    def density(self) -> float:
        """Share of the entries that lie in non-zero tiles."""
        filled = sum(math.prod(self.shape(place)) for place in self.places)
        return filled / (sum(self.rows) * sum(self.columns))

    @property
    def nbytes(self) -> int:
        """Bytes of the non-zero tiles."""
        return sum(self.itemsize * math.prod(self.shape(place)) for place in self.places)

    @property
    def itemsize(self) -> int:
        """Bytes of an entry."""
        return np.dtype(self.dtype).itemsize

    def shape(self, place: Place) -> tuple[int, int]:
        """Height and width of the tile at `place`."""
        return self.rows[place[0]], self.columns[place[1]]

    def tile(self, place: Place) -> Tile:
        """Compute the tile at `place`."""
        return random_tile((*self.seed, *place), self.shape(place), self.dtype)

    def times(self, vectors: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Multiply with dense vectors, tile by tile."""
        row, column = offsets(self.rows), offsets(self.columns)
        product = np.zeros((sum(self.rows), vectors.shape[1]))
        for i, j in self.places:
            part = self.tile((i, j)) @ vectors[column[j] : column[j + 1]]
            product[row[i] : row[i + 1]] += part
        return product


def block_sparse(
    _directory: Path, seed: int, *, tiles: int, smallest: int, largest: int, density: float
) -> Problem:
    """Build a product of two block-sparse matrices.

    Parameters
    ----------
    _directory
        Unused: tiles are computed where they are needed.
    seed
        Of the tile sizes, the places of the tiles and their entries.
    tiles
        Tiles a side, of all three matrices.
    smallest, largest
        Range of the tiles' heights and widths, both included.
    density
        Share of the entries of A and of B that lies in non-zero tiles, at least.
    """
    a, b = block_sparse_operands(seed, tiles, smallest, largest, density)
    return _problem(
        "block-sparse",
        {"tiles": tiles, "smallest": smallest, "largest": largest, "density": density},
        seed,
        a,
        b,
    )


def block_sparse_operands(
    seed: int, tiles: int, smallest: int, largest: int, density: float
) -> tuple[BlockMatrix, BlockMatrix]:
    """Draw the sizes and the places of the tiles of A and B; see `block_sparse`."""
    rng = np.random.default_rng(seed)
    m, k, n = (_uniform_sizes(rng, tiles, smallest, largest) for _ in range(3))
    a = random_block_matrix("A", m, k, density, (seed, 0), rng)
    b = random_block_matrix("B", k, n, density, (seed, 1), rng)
    return a, b


def gemm(_directory: Path, seed: int, *, tiles: int, size: int, dtype: str = "float64") -> Problem:
    """Build a product of two dense matrices of `tiles` by `tiles` tiles of `size` rows."""
    sizes = (size,) * tiles
    rng = np.random.default_rng(seed)
    a, b = (
        replace(random_block_matrix(label, sizes, sizes, 1.0, (seed, number), rng), dtype=dtype)
        for number, label in enumerate("AB")
    )
    parameters: dict[str, Parameter] = {"tiles": tiles, "size": size}
    if dtype != "float64":
        parameters["dtype"] = dtype
    return _problem("gemm", parameters, seed, a, b)


def random_block_matrix(
    label: str,
    rows: Sequence[int],
    columns: Sequence[int],
    density: float,
    seed: tuple[int, ...],
    rng: np.random.Generator,
) -> BlockMatrix:
    """Choose random tiles until they hold at least `density` of the entries."""
    order = rng.permutation(len(rows) * len(columns))
    missing = density * sum(rows) * sum(columns)
    places: list[Place] = []
    for number in order.tolist():
        if missing <= 0:
            break
        i, j = divmod(number, len(columns))
        places.append((i, j))
        missing -= rows[i] * columns[j]
    return BlockMatrix(label, tuple(rows), tuple(columns), tuple(sorted(places)), seed)


def random_tile(
    seed: Sequence[int],
    shape: tuple[int, int],
    dtype: str = "float64",
    library: str = HOST,
) -> Tile:
    """Compute one tile of an operand: the task at the root of every block product.

    Entries are uniform in [-1, 1), and the same, bit by bit, whichever library makes them.

    Parameters
    ----------
    seed
        Of the tile.
    shape
        Its height and width.
    dtype
        ``float64``, or ``float32``.
    library
        The module whose array it is: it makes the tile where its arrays live.
    """
    bits = random_bits(seed, math.prod(shape), library)
    # As many of the highest bits as the numbers have digits: each is exact.
    digits = np.finfo(dtype).nmant + 1
    bits >>= np.uint64(64 - digits)
    entries = bits.astype(dtype)
    entries *= entries.dtype.type(2.0 ** (1 - digits))
    entries -= entries.dtype.type(1)
    tile: Tile = entries.reshape(shape)
    return tile


def multiply(a: Tile, b: Tile) -> Tile:
    """Multiply two tiles: the first task of each chain."""
    return a @ b


def multiply_add(c: Tile, a: Tile, b: Tile) -> Tile:
    """Add a product of two tiles: every other task of a chain. `c` stays as it is."""
    product = a @ b
    product += c
    return product


def chains(a: BlockMatrix, b: BlockMatrix) -> dict[Place, list[int]]:
    """Find, for each non-zero tile of A·B, the k of its products in ascending order."""
    in_row = defaultdict(list)
    for k, j in b.places:
        in_row[k].append(j)
    steps: defaultdict[Place, list[int]] = defaultdict(list)
    for i, k in a.places:
        for j in in_row[k]:
            steps[i, j].append(k)
    return {place: sorted(steps[place]) for place in sorted(steps)}


def _problem(
    workload: str,
    parameters: Mapping[str, Parameter],
    seed: int,
    a: BlockMatrix,
    b: BlockMatrix,
) -> Problem:
    steps = chains(a, b)
    results = product(a, b, steps, random_tile, a.dtype)
    c_bytes = sum(a.itemsize * a.rows[i] * b.columns[j] for i, j in steps)

    def check(tiles: Mapping[Key, Tile]) -> bool:
        found = {place: tiles[result.key] for place, result in results.items()}
        return agrees(a, b, found)

    return Problem(
        workload=workload,
        parameters=parameters,
        seed=seed,
        collections=tuple(results.values()),
        working_set=a.nbytes + b.nbytes + c_bytes,
        memory_ratio=3.0,
        bandwidth=20e6,
        check=check,
    )


def product(
    a: BlockMatrix,
    b: BlockMatrix,
    steps: Mapping[Place, Sequence[int]],
    make: Callable[..., Any],
    *more: Any,
) -> dict[Place, Collection]:
    """Return the tiles of A·B; `make` gets a tile's seed, its shape and `more`."""
    maker, first, following = (delayed(f) for f in (make, multiply, multiply_add))
    a_tiles, b_tiles = (
        {
            place: maker(
                (*matrix.seed, *place),
                matrix.shape(place),
                *more,
                dask_key_name=f"{matrix.label}-{place[0]}-{place[1]}",
            )
            for place in matrix.places
        }
        for matrix in (a, b)
    )
    results: dict[Place, Collection] = {}
    for (i, j), ks in steps.items():
        k = ks[0]
        c = first(a_tiles[i, k], b_tiles[k, j], dask_key_name=f"C-{i}-{j}-{k}")
        for k in ks[1:]:
            c = following(c, a_tiles[i, k], b_tiles[k, j], dask_key_name=f"C-{i}-{j}-{k}")
        results[i, j] = c
    return results


def agrees(a: BlockMatrix, b: BlockMatrix, c: Mapping[Place, Tile]) -> bool:
    """Check C = A·B by Freivalds' method: C·x against A·(B·x) for four random vectors x.

    A wrong entry of C goes unseen with probability 0, but for rounding; computing A·B again
    would take longer than the benchmark. Sums are of doubles, whatever the tiles' type.
    """
    vectors = _vectors(a.seed, sum(b.columns))
    row, column = offsets(a.rows), offsets(b.columns)
    product = np.zeros((sum(a.rows), vectors.shape[1]))
    for (i, j), tile in c.items():
        if tile.shape != (a.rows[i], b.columns[j]):
            return False
        product[row[i] : row[i + 1]] += tile @ vectors[column[j] : column[j + 1]]
    # Entries are rounded to their type in every step of a chain.
    return close(product, _expected(a, b), tolerance=1e-10 if a.dtype == "float64" else 1e-4)


def _vectors(seed: tuple[int, ...], length: int) -> npt.NDArray[np.float64]:
    return np.random.default_rng(seed).standard_normal((length, 4))


@lru_cache(maxsize=8)
def _expected(a: BlockMatrix, b: BlockMatrix) -> npt.NDArray[np.float64]:
    """Compute A·(B·x): once, for all runs of an instance."""
    return a.times(b.times(_vectors(a.seed, sum(b.columns))))


def _uniform_sizes(
    rng: np.random.Generator, tiles: int, smallest: int, largest: int
) -> tuple[int, ...]:
    return tuple(rng.integers(smallest, largest + 1, tiles).tolist())
