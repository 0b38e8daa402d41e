"""What the tasks of the tiled families cost: bytes of a tile, seconds of its arithmetic."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from dask.utils import key_split

from dask_mlsched.core.dag import DagTask

#: Bytes of one number, a double.
ITEM = 8
#: Multiply-adds and other operations per second of a device, unless another rate is asked for.
FLOP_RATE = 1e12


def check_positive(**parameters: float) -> None:
    """Refuse parameters that are 0 or less.

    Raises
    ------
    ValueError
        For the first of them.
    """
    for name, value in parameters.items():
        if not value > 0:
            msg = f"{name} is {value!r}; expected a number above 0"
            raise ValueError(msg)


def check_share(**parameters: float) -> None:
    """Refuse parameters that are not above 0 and at most 1.

    Raises
    ------
    ValueError
        For the first of them.
    """
    for name, value in parameters.items():
        if not 0 < value <= 1:
            msg = f"{name} is {value!r}; expected a share above 0 and at most 1"
            raise ValueError(msg)


def task(
    key: str,
    dependencies: Iterable[str],
    nbytes: int,
    seconds: float,
    *,
    wanted: bool | None = None,
) -> DagTask:
    """Describe a task; its prefix is the one that Dask would give to its key."""
    return DagTask(key, tuple(dependencies), nbytes, seconds, key_split(key), wanted)


def operand(key: str, nbytes: int, *, given: bool) -> DagTask:
    """Describe an operand: in the slow tier from the beginning, or made in no time by a task."""
    return DagTask(key, (), nbytes, 0.0, key_split(key), given=given)


@dataclass(frozen=True)
class SquareTile:
    """The one tile size of a dense factorization or product.

    Raises
    ------
    ValueError
        If a number is not above 0.
    """

    #: Rows, and columns.
    size: int
    #: Operations per second.
    flop_rate: float = FLOP_RATE

    def __post_init__(self) -> None:
        check_positive(size=self.size, flop_rate=self.flop_rate)

    @property
    def nbytes(self) -> int:
        """Bytes of one tile: ``8 * size**2``."""
        return ITEM * self.size**2

    def seconds(self, cubes: float) -> float:
        """Seconds that ``cubes * size**3`` operations take."""
        return cubes * self.size**3 / self.flop_rate

    def task(
        self,
        key: str,
        dependencies: Iterable[str],
        cubes: float,
        *,
        tiles: float = 1,
        wanted: bool | None = None,
    ) -> DagTask:
        """Describe a task of ``cubes * size**3`` operations whose array has so many tiles."""
        nbytes = round(tiles * self.nbytes)
        return task(key, dependencies, nbytes, self.seconds(cubes), wanted=wanted)
