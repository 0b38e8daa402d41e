"""Any DAG as ordinary dask work: real arrays that are really read, real arithmetic.

Each task has a number that follows from its key and from what it read, and fills an array of its
bytes with it. A task that got other inputs than it should, or a damaged array, has another number,
and so has every task after it. What the numbers must be follows from the DAG alone.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
from dask.delayed import Delayed
from dask.highlevelgraph import HighLevelGraph
from dask.typing import Key

from dask_mlsched.benchmarks.problem import Parameter, Problem
from dask_mlsched.benchmarks.tiles import Matrix
from dask_mlsched.benchmarks.working_set import working_set
from dask_mlsched.core.dag import Dag

Bytes = npt.NDArray[np.uint8]

#: An array is seen as numbers of 8 bytes, the lowest first, and a rest of up to 7 bytes.
_WORD = np.dtype("<u8")
#: One word of each page of memory is read.
_STRIDE = 512
_MASK = 2**64 - 1
#: 2**64 over the golden ratio: multiples of it are spread over all 64 bits.
_ODD = 0x9E3779B97F4A7C15


def dag_problem(
    dag: Dag,
    *,
    workload: str,
    parameters: Mapping[str, Parameter],
    seed: int,
    memory_ratio: float = 3.0,
    bandwidth: float = 100e6,
) -> Problem:
    """Make a DAG a problem that the runner can run, with the check of its results.

    Parameters
    ----------
    dag
        What is run: see `dag_collection`.
    workload, parameters, seed
        What it was made from.
    memory_ratio
        Working set, as `working_set` counts it, over device memory limit.
    bandwidth
        Bytes per second between the tiers.
    """
    numbers = dict(zip(dag.keys, expected_numbers(dag), strict=True))
    nbytes = dict(zip(dag.keys, dag.nbytes.tolist(), strict=True))
    wanted = [key for key, keep in zip(dag.keys, dag.wanted.tolist(), strict=True) if keep]

    def check(results: Mapping[Key, Matrix]) -> bool:
        return len(results) == len(wanted) and all(
            np.array_equal(results[key], filled(numbers[key], nbytes[key])) for key in wanted
        )

    return Problem(
        workload=workload,
        parameters=parameters,
        seed=seed,
        collections=tuple(dag_collection(dag)),
        working_set=working_set(dag),
        memory_ratio=memory_ratio,
        bandwidth=bandwidth,
        check=check,
    )


def dag_collection(dag: Dag) -> list[Delayed]:
    """Return one Delayed for each wanted array; their graph is the DAG, task by task.

    Keys are the DAG's, and with them the prefixes. Each task is a call of `work`. Given arrays,
    which are there from the beginning in a simulation, are made by tasks as well: a cluster has
    no other way to put an array into its store.
    """
    numbers = [own_number(key) for key in dag.keys]
    graph: dict[Key, object] = {
        key: (
            work,
            numbers[task],
            int(dag.nbytes[task]),
            float(dag.seconds[task]),
            [dag.keys[source] for source in dag.dependencies(task).tolist()],
        )
        for task, key in enumerate(dag.keys)
    }
    # One layer that all of them share: Dask then merges the graphs at once.
    layer = f"dag-{dag.name}"
    shared = HighLevelGraph({layer: graph}, {layer: set()})
    return [
        Delayed(key, shared, layer=layer)
        for key, keep in zip(dag.keys, dag.wanted.tolist(), strict=True)
        if keep
    ]


def expected_numbers(dag: Dag) -> list[int]:
    """Return the number with which each task fills its array, [n], without running any."""
    numbers: list[int] = []
    nbytes = dag.nbytes.tolist()
    for task, key in enumerate(dag.keys):
        number = own_number(key)
        for source in dag.dependencies(task).tolist():
            number = _mixed(number, expected_reading(numbers[source], nbytes[source]))
        numbers.append(number)
    return numbers


def work(number: int, nbytes: int, seconds: float, inputs: Sequence[Bytes]) -> Bytes:
    """Read the inputs, make an array, compute: what every task of a live DAG does.

    Parameters
    ----------
    number
        The task's own, see `own_number`.
    nbytes
        Of the array that it returns.
    seconds
        By the clock on the wall, reading and writing included. What is left of them goes into
        arithmetic of numpy, which keeps a core busy and lets other threads run; sleeping would
        leave the core to others.
    inputs
        Arrays of other tasks; they stay as they are.
    """
    end = time.perf_counter() + seconds
    for array in inputs:
        number = _mixed(number, reading(array))
    made = filled(number, nbytes)
    _compute_until(end)
    return made


def own_number(key: str) -> int:
    """Return 64 bits that a task has from its key, the same in every process."""
    return int.from_bytes(hashlib.blake2b(key.encode(), digest_size=8).digest(), "little")


def filled(number: int, nbytes: int) -> Bytes:
    """Make an array of `nbytes` whose words count up from `number`, modulo 2**64."""
    words = np.arange(-(-nbytes // 8), dtype=_WORD)
    words += np.uint64(number)
    return words.view(np.uint8)[:nbytes]


def reading(array: Bytes) -> int:
    """Read one word of each page and the rest; return their sum and the length's, modulo 2**64."""
    whole = array.nbytes // 8 * 8
    words = array[:whole].view(_WORD)[::_STRIDE]
    rest = int.from_bytes(array[whole:].tobytes(), "little")
    return (int(words.sum(dtype=np.uint64)) + rest + array.nbytes * _ODD) & _MASK


def expected_reading(number: int, nbytes: int) -> int:
    """Return the `reading` of the array ``filled(number, nbytes)``, without making it."""
    whole, rest = divmod(nbytes, 8)
    count = -(-whole // _STRIDE)
    words = count * number + _STRIDE * (count * (count - 1) // 2)
    last = (number + whole) & _MASK & ((1 << 8 * rest) - 1)
    return (words + last + nbytes * _ODD) & _MASK


def _mixed(number: int, other: int) -> int:
    """Mix two numbers so that each bit of them changes half of the result's, and order counts.

    The finalizer of SplitMix64 (Steele, Lea, Flood: Fast splittable pseudorandom number
    generators. OOPSLA 2014).
    """
    number = ((number + _ODD) & _MASK) ^ other
    number = (number ^ (number >> 30)) * 0xBF58476D1CE4E5B9 & _MASK
    number = (number ^ (number >> 27)) * 0x94D049BB133111EB & _MASK
    return number ^ (number >> 31)


def _compute_until(end: float) -> None:
    """Compute until the clock shows `end`; 4,096 numbers stay in the core's cache."""
    numbers = np.linspace(0.0, 1.0, 4096)
    while time.perf_counter() < end:
        np.multiply(numbers, numbers, out=numbers)
        np.add(numbers, 1.0, out=numbers)
        np.sqrt(numbers, out=numbers)
