"""Programs on a device, which a class of arrays stands in for."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import dask
import dask.array as da
import numpy as np
import pytest
import scipy.sparse

from dask_mlsched.benchmarks.block_products import random_tile
from dask_mlsched.benchmarks.device_arrays import (
    HOST,
    MissingDeviceError,
    made_on_device,
    on_device,
    require_device,
    synchronize,
    to_device,
    to_host,
)
from dask_mlsched.benchmarks.optional import MissingDependencyError
from dask_mlsched.benchmarks.workloads import find
from stand_in_device import StandInArray

DEVICE = "stand_in_device"


def graph_of(collections: Any) -> dict:
    return {key: task for each in collections for key, task in each.__dask_graph__().items()}


def everything(collections: Any) -> dict:
    graph = graph_of(collections)
    return dict(zip(graph, dask.get(graph, list(graph)), strict=True))


@pytest.mark.parametrize("name", ["gemm", "block-sparse", "array-matmul"])
def test_every_array_of_a_program_is_on_the_device_and_results_are_right(tmp_path: Path, name):
    problem = find(name).build(tmp_path, 0, "quick")
    values = everything(on_device(problem.collections, DEVICE))
    arrays = [value for value in values.values() if isinstance(value, np.ndarray)]
    assert {type(value) for value in arrays} == {StandInArray}
    assert problem.check({key: to_host(values[key]) for key in problem.keys()})  # noqa: SIM118  no mapping


@pytest.mark.parametrize("name", ["gemm", "helmholtz", "array-reduction", "noop"])
def test_keys_and_tasks_are_those_that_run_without_a_device(tmp_path: Path, name):
    if name == "helmholtz":
        pytest.importorskip("pyamg")
    problem = find(name).build(tmp_path, 0, "quick")
    moved = on_device(problem.collections, HOST)
    before = graph_of(dask.optimize(*problem.collections))
    after = graph_of(moved)
    assert set(after) == set(before)
    assert [each.__dask_keys__() for each in moved] == [
        each.__dask_keys__() for each in problem.collections
    ]


def test_values_in_the_graph_itself_are_moved():
    array = da.from_array(np.arange(6.0), chunks=6)
    (moved,) = on_device([array + 1], DEVICE)
    values = everything([moved])
    assert {type(v) for v in values.values() if isinstance(v, np.ndarray)} == {StandInArray}


def test_what_can_is_made_on_the_device_and_else_copied():
    made = []

    def maker(size: int, library: str = HOST) -> str:
        made.append(library)
        return "made there"

    assert made_on_device(_Node(maker, 3), DEVICE) == "made there"
    assert made == [DEVICE]
    copied = made_on_device(_Node(np.ones, 3), DEVICE)
    assert type(copied) is StandInArray
    assert made_on_device(_Node(dict), DEVICE) == {}  # of C, without a signature


class _Node:
    """A task as Dask has it."""

    def __init__(self, func: Any, *args: Any) -> None:
        self.func, self.args, self.kwargs = func, args, {}

    def __call__(self) -> Any:
        return self.func(*self.args)


def test_tiles_are_the_same_wherever_they_are_made():
    here, there = (random_tile((1, 2), (7, 5), "float32", library) for library in (HOST, DEVICE))
    assert type(there) is StandInArray
    np.testing.assert_array_equal(to_host(there), here)


def test_collections_are_moved_by_member_and_the_rest_stays():
    array, text = np.ones(3), np.array(["a", None], dtype=object)
    moved = to_device([array, (array, 1), text, "x"], DEVICE)
    assert [type(each) for each in moved] == [StandInArray, tuple, np.ndarray, str]
    assert type(moved[1][0]) is StandInArray
    back = to_host(moved)
    assert [type(each) for each in back] == [np.ndarray, tuple, np.ndarray, str]
    assert type(back[1][0]) is np.ndarray


def test_sparse_arrays_become_those_of_the_librarys_own_package(monkeypatch):
    class Csr:
        def __init__(self, host: Any) -> None:
            self.host = host

        def get(self) -> Any:
            return self.host

    Csr.__module__ = "cupyx.scipy.sparse"
    monkeypatch.setitem(sys.modules, "cupyx", ModuleType("cupyx"))
    monkeypatch.setitem(sys.modules, "cupyx.scipy", ModuleType("cupyx.scipy"))
    classes = SimpleNamespace(csr_matrix=Csr)
    monkeypatch.setitem(sys.modules, "cupyx.scipy.sparse", classes)
    matrix = scipy.sparse.csr_matrix(np.eye(3))
    moved = to_device(matrix, "cupy")
    assert type(moved) is Csr
    assert to_host(moved) is matrix


def test_on_the_host_nothing_is_moved_waited_for_or_missing():
    array = np.ones(3)
    assert to_device(array, HOST) is array
    synchronize(HOST)
    require_device(HOST)


def fake_cupy(count: int | None) -> ModuleType:
    class CUDARuntimeError(RuntimeError):
        pass

    def get_device_count() -> int:
        if count is None:
            raise CUDARuntimeError("cudaErrorInsufficientDriver: too old")
        return count

    cupy = ModuleType("cupy")
    runtime = SimpleNamespace(CUDARuntimeError=CUDARuntimeError, getDeviceCount=get_device_count)
    cupy.cuda = SimpleNamespace(runtime=runtime)  # type: ignore[attr-defined]
    return cupy


@pytest.mark.parametrize(("count", "said"), [(None, "InsufficientDriver"), (0, "no NVIDIA GPU")])
def test_without_a_gpu_one_line_says_so(monkeypatch, count, said):
    monkeypatch.setitem(sys.modules, "cupy", fake_cupy(count))
    with pytest.raises(MissingDeviceError, match=said) as info:
        require_device("cupy")
    assert "run it on a machine with one" in str(info.value)
    assert "\n" not in str(info.value)


def test_with_a_gpu_nothing_is_said(monkeypatch):
    monkeypatch.setitem(sys.modules, "cupy", fake_cupy(1))
    require_device("cupy")


def test_without_cupy_one_line_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "cupy", None)
    with pytest.raises(MissingDependencyError, match="dask-mlsched") as info:
        require_device("cupy")
    assert "\n" not in str(info.value)
