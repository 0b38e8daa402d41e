"""The measurements on a GPU: cases, memory ratios and contenders, a part at a time.

A part is one case at one memory ratio. Its figures are one JSON document, so that parts may be
measured by commands of their own, on one day or several, and put on one page afterwards.
"""

from __future__ import annotations

import importlib
import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final

from dask_mlsched.benchmarks.block_products import gemm
from dask_mlsched.benchmarks.clusters import Conditions, find_store
from dask_mlsched.benchmarks.comparison import OnStep, compare
from dask_mlsched.benchmarks.contender import Contender
from dask_mlsched.benchmarks.copy_speed import measure_copies
from dask_mlsched.benchmarks.csr_products import csr_product
from dask_mlsched.benchmarks.dense_cholesky import dense_cholesky
from dask_mlsched.benchmarks.device_arrays import CUPY
from dask_mlsched.benchmarks.problem import Problem
from dask_mlsched.benchmarks.report import as_json

FORMAT: Final = "mlsched-device-bench"
VERSION: Final = 1

#: Working set over device memory limit.
RATIOS: Final = (1.5, 2.0, 3.0, 4.0)
CONTENDERS: Final = (
    Contender("stock", "dask-cuda"),
    Contender("specialised", "dask-cuda"),
    Contender("specialised", "cuda"),
)
#: The same without a GPU: does it work.
QUICK_CONTENDERS: Final = (
    Contender("stock"),
    Contender("greedy-hold"),
    Contender("greedy-hold", "device"),
)


@dataclass(frozen=True)
class Case:
    """A program at one size."""

    name: str
    #: Called with a directory and a seed.
    build: Callable[[Path, int], Problem]


def _cases(*cases: tuple[str, Callable[..., Problem], Mapping[str, Any]]) -> dict[str, Case]:
    return {name: Case(name, partial(build, **sizes)) for name, build, sizes in cases}


#: Tiles are few where they are large, so that a run takes seconds.
CASES: Final = _cases(
    ("gemm-2048-float32", gemm, {"tiles": 8, "size": 2048, "dtype": "float32"}),
    ("gemm-2048-float64", gemm, {"tiles": 8, "size": 2048, "dtype": "float64"}),
    ("gemm-4096-float32", gemm, {"tiles": 5, "size": 4096, "dtype": "float32"}),
    ("gemm-4096-float64", gemm, {"tiles": 5, "size": 4096, "dtype": "float64"}),
    ("csr-4096", csr_product, {"tiles": 10, "size": 4096, "density": 0.3, "per_row": 16}),
    ("cholesky-2048-float64", dense_cholesky, {"tiles": 12, "size": 2048, "dtype": "float64"}),
)
QUICK_CASES: Final = _cases(
    ("gemm-64-float32", gemm, {"tiles": 4, "size": 64, "dtype": "float32"}),
    ("csr-128", csr_product, {"tiles": 4, "size": 128, "density": 0.5, "per_row": 4}),
    ("cholesky-64-float64", dense_cholesky, {"tiles": 4, "size": 64, "dtype": "float64"}),
)


def measure(
    case: Case,
    ratio: float,
    contenders: Sequence[Contender],
    *,
    repeats: int,
    directory: Path,
    seed: int = 0,
    bandwidth: float = 1e9,
    on_step: OnStep | None = None,
) -> dict[str, Any]:
    """Measure a part on one worker, and return its document.

    Parameters
    ----------
    case, ratio, contenders
        What runs, each `repeats` times in turn.
    directory
        For files of the case.
    bandwidth
        Of emulated devices, bytes per second.

    Raises
    ------
    MissingDependencyError, MissingDeviceError
        If a contender's store cannot be had here.
    RunFailedError
        If a run fails.
    """
    problem = case.build(directory, seed)
    conditions = Conditions(problem.device_memory_limit(ratio), bandwidth)
    stores = [find_store(contender.store) for contender in contenders]
    for store in stores:
        store.require(conditions, problem.working_set)
    on_gpu = any(store.library == CUPY for store in stores)
    copies = measure_copies() if on_gpu else None
    compared = compare(problem, conditions, contenders, repeats, on_step)
    return {
        "format": FORMAT,
        "version": VERSION,
        "case": case.name,
        "ratio": ratio,
        "device": _device() if on_gpu else {"name": "emulated", "memory": None},
        "copies": copies,
        "packages": _packages(on_gpu=on_gpu),
        "bench": as_json([compared]),
    }


def _device() -> dict[str, Any]:
    runtime = importlib.import_module(CUPY).cuda.runtime
    found = runtime.getDeviceProperties(0)
    return {
        "name": found["name"].decode(),
        "memory": int(found["totalGlobalMem"]),
        "driver": int(runtime.driverGetVersion()),
        "runtime": int(runtime.runtimeGetVersion()),
    }


def _packages(*, on_gpu: bool) -> dict[str, str]:
    names = ["dask", "distributed", "numpy", "scipy"]
    if on_gpu:
        names += ["dask-cuda", "cupy-cuda12x", "cupy-cuda13x", "rmm-cu12", "rmm-cu13", "numba-cuda"]
    found = {"python": platform.python_version()}
    for name in names:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue  # of those for two versions of CUDA one is there, and RMM is optional
    return found
