"""Blocks are taken, used, given back and taken again, against a CuPy that only keeps the order."""

from __future__ import annotations

import gc
from typing import Any

import numpy as np
import pytest

from dask_mlsched.extension.devices.load_buffers import IDLE, LoadBuffers


class Event:
    def __init__(self, moment: int) -> None:
        self.moment = moment


class Stream:
    """Counts what it is asked for; an event is the moment at which it was recorded."""

    def __init__(self) -> None:
        self.asked = 0
        self.waits: list[int] = []

    def record(self) -> Event:
        return Event(self.asked)

    def wait_event(self, event: Event) -> None:
        self.waits.append(event.moment)


class Memory:
    allocated = 0

    def __init__(self, nbytes: int) -> None:
        Memory.allocated += 1
        self.nbytes = nbytes
        self.ptr = 1000 * Memory.allocated

    def __del__(self) -> None:
        Memory.allocated -= 1


class UnownedMemory:
    def __init__(self, ptr: int, size: int, owner: object) -> None:
        self.ptr, self.size, self.owner = ptr, size, owner


class MemoryPointer:
    def __init__(self, memory: UnownedMemory, offset: int) -> None:
        self.memory, self.ptr = memory, memory.ptr + offset


class Array:
    def __init__(self, shape: tuple[int], dtype: Any, memptr: MemoryPointer) -> None:
        assert dtype is np.uint8
        self.nbytes, self.data = shape[0], memptr


class Cuda:
    def __init__(self) -> None:
        self.Stream = type("Streams", (), {"null": Stream()})
        self.UnownedMemory, self.MemoryPointer = UnownedMemory, MemoryPointer

    def alloc(self, nbytes: int) -> Memory:
        return Memory(nbytes)


class CuPy:
    ndarray, uint8 = Array, np.uint8

    def __init__(self) -> None:
        self.cuda = Cuda()

    @property
    def computing(self) -> Stream:
        stream: Stream = self.cuda.Stream.null  # type: ignore[attr-defined]
        return stream


@pytest.fixture
def cupy() -> CuPy:
    gc.collect()
    assert Memory.allocated == 0
    return CuPy()


def test_a_new_block_waits_for_all_that_was_asked_for_before(cupy: CuPy):
    buffers, copying = LoadBuffers(cupy), Stream()
    cupy.computing.asked = 7
    array = buffers.take(100, copying)
    assert array.nbytes == 100
    assert copying.waits == [7]


def test_a_block_that_was_given_back_waits_only_for_what_used_it(cupy: CuPy):
    buffers, copying = LoadBuffers(cupy), Stream()
    array = buffers.take(100, copying)
    place = array.data.ptr
    cupy.computing.asked = 3  # a task that reads it
    del array
    cupy.computing.asked = 9  # the next one, beside which the copy is to run
    again = buffers.take(100, copying)
    assert again.data.ptr == place
    assert copying.waits == [0, 3]
    assert Memory.allocated == 1


def test_a_block_is_not_given_back_while_a_view_of_it_lives(cupy: CuPy):
    buffers, copying = LoadBuffers(cupy), Stream()
    array = buffers.take(100, copying)
    view = array.data  # what CuPy's views keep
    del array
    other = buffers.take(100, copying)
    assert other.data.ptr != view.ptr
    del view
    assert buffers.take(100, copying).data.ptr != other.data.ptr
    assert Memory.allocated == 2


def test_a_block_of_another_size_is_not_taken(cupy: CuPy):
    buffers, copying = LoadBuffers(cupy), Stream()
    small = buffers.take(100, copying).data.ptr
    assert buffers.take(200, copying).data.ptr != small
    assert buffers.take(100, copying).data.ptr == small


def test_no_more_than_a_few_wait_to_be_used_again(cupy: CuPy):
    buffers, copying = LoadBuffers(cupy), Stream()
    arrays = [buffers.take(100 + i, copying) for i in range(IDLE + 3)]
    assert Memory.allocated == IDLE + 3
    arrays.clear()
    assert Memory.allocated == IDLE
    # The first ones went.
    waits = len(copying.waits)
    buffers.take(100, copying)
    assert len(copying.waits) == waits + 1
    assert Memory.allocated <= IDLE + 1
