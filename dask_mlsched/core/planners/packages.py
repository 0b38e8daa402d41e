"""Hierarchical fair packing: put tasks into packages that fit a device, and these in a row.

Gonthier, Marchal, Thibault: "Locality-aware scheduling of independent tasks for
runtime systems", COLOC 2021. Quadratic in the number of tasks.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass


@dataclass(slots=True)
class _Package:
    """Tasks in blocks; those of one block fit the device together."""

    blocks: list[list[int]]
    #: What each block reads and makes.
    arrays_of: list[AbstractSet[int]]
    arrays: set[int]
    nbytes: int
    tasks: int


class _Packing:
    """All packages, and which of them hold an array."""

    def __init__(
        self,
        tasks: Sequence[int],
        arrays: Mapping[int, Sequence[int]],
        nbytes: Mapping[int, int],
    ) -> None:
        self._nbytes = nbytes
        self.packages: dict[int, _Package] = {}
        self._holders: dict[int, dict[int, None]] = {}
        self._numbers = 0
        for task in tasks:
            held = set(arrays[task])
            size = sum(nbytes[array] for array in held)
            self._add(_Package([[task]], [held], held, size, 1))

    def _add(self, package: _Package) -> int:
        number = self._numbers
        self._numbers += 1
        self.packages[number] = package
        for array in package.arrays:
            self._holders.setdefault(array, {})[number] = None
        return number

    def merge_all(self, limit: float, *, joined: bool) -> None:
        """Merge the smallest package with its best partner until none has one.

        Parameters
        ----------
        limit
            What a union may need, in bytes.
        joined
            Whether packages are put in a row, block by block, or become one block.
        """
        heap = [(package.tasks, number) for number, package in self.packages.items()]
        heapq.heapify(heap)
        while heap:
            _, number = heapq.heappop(heap)
            if number not in self.packages:
                continue
            partner = self._partner(number, limit)
            if partner is not None:
                merged = self._merge(number, partner, joined=joined)
                heapq.heappush(heap, (self.packages[merged].tasks, merged))

    def _partner(self, number: int, limit: float) -> int | None:
        """Find the package that shares most bytes with this one, and fits beside it."""
        package = self.packages[number]
        shared: dict[int, int] = {}
        for array in package.arrays:
            for other in self._holders[array]:
                shared[other] = shared.get(other, 0) + self._nbytes[array]
        shared.pop(number, None)
        room = limit - package.nbytes
        fitting = (n for n, same in shared.items() if self.packages[n].nbytes - same <= room)
        return max(fitting, key=lambda n: (shared[n], -self.packages[n].tasks, -n), default=None)

    def _merge(self, first: int, second: int, *, joined: bool) -> int:
        a, b = self._take(first), self._take(second)
        arrays = a.arrays | b.arrays
        nbytes = sum(self._nbytes[array] for array in arrays)
        if joined:
            blocks, arrays_of = self._in_a_row(a, b)
        else:
            blocks, arrays_of = [a.blocks[0] + b.blocks[0]], [arrays]
        return self._add(_Package(blocks, arrays_of, arrays, nbytes, a.tasks + b.tasks))

    def _take(self, number: int) -> _Package:
        package = self.packages.pop(number)
        for array in package.arrays:
            del self._holders[array][number]
        return package

    def _in_a_row(self, a: _Package, b: _Package) -> tuple[list[list[int]], list[AbstractSet[int]]]:
        """Join two rows of blocks where their ends share most, turning one of them if need be."""
        ways = [(False, False), (False, True), (True, False), (True, True)]

        def shared(way: tuple[bool, bool]) -> int:
            left = a.arrays_of[0 if way[0] else -1]
            right = b.arrays_of[-1 if way[1] else 0]
            return sum(self._nbytes[array] for array in left & right)

        turn_a, turn_b = max(ways, key=shared)
        blocks, arrays_of = _turned(a, turn_a)
        more_blocks, more_arrays = _turned(b, turn_b)
        return blocks + more_blocks, arrays_of + more_arrays


def _turned(package: _Package, turn: bool) -> tuple[list[list[int]], list[AbstractSet[int]]]:
    if not turn:
        return package.blocks, package.arrays_of
    return [block[::-1] for block in reversed(package.blocks)], package.arrays_of[::-1]


def pack(
    tasks: Sequence[int],
    arrays: Mapping[int, Sequence[int]],
    nbytes: Mapping[int, int],
    limit: float,
) -> list[int]:
    """Put tasks in an order in which neighbours share much.

    One package per task; a smallest package merges with the one that shares most bytes, as long
    as the union fits; when none does, they merge without limit, joined where their ends share
    most. Packages that share nothing follow each other as their first tasks stand in `tasks`.

    Parameters
    ----------
    arrays
        task -> the arrays that it uses.
    nbytes
        array -> its bytes.
    limit
        Bytes of the device's memory; may be infinite.
    """
    packing = _Packing(tasks, arrays, nbytes)
    packing.merge_all(limit, joined=False)
    packing.merge_all(math.inf, joined=True)
    place = {task: i for i, task in enumerate(tasks)}
    rows = [
        [task for block in package.blocks for task in block]
        for package in packing.packages.values()
    ]
    rows.sort(key=lambda row: min(place[task] for task in row))
    return [task for row in rows for task in row]
