"""Binary heaps of tasks that know where each task stands, so that keys may change in place.

A heap is a row of tasks, a row that says for each task its index in the heap plus 1 (0: not in it,
so that a new row is all zeros and takes no memory before it is used), and two rows of keys. Its
size is kept by the caller. No two tasks have both keys in common.
"""

from __future__ import annotations

from dask_mlsched.core.compiled.jit import compiled
from dask_mlsched.core.dag import Integers


@compiled
def before(first: Integers, second: Integers, a: int, b: int) -> bool:
    """Tell whether task a stands before task b."""
    if first[a] != first[b]:
        return bool(first[a] < first[b])
    return bool(second[a] < second[b])


@compiled
def _rise(
    heap: Integers, place: Integers, first: Integers, second: Integers, index: int, task: int
) -> int:
    while index > 0:
        above = (index - 1) >> 1
        other = heap[above]
        if not before(first, second, task, other):
            break
        heap[index] = other
        place[other] = index + 1
        index = above
    heap[index] = task
    place[task] = index + 1
    return index


@compiled
def sink(
    heap: Integers,
    place: Integers,
    size: int,
    first: Integers,
    second: Integers,
    index: int,
    task: int,
) -> None:
    """Put a task at an index, or below it where others stand before it."""
    while True:
        below = 2 * index + 1
        if below >= size:
            break
        if below + 1 < size and before(first, second, heap[below + 1], heap[below]):
            below += 1
        other = heap[below]
        if not before(first, second, other, task):
            break
        heap[index] = other
        place[other] = index + 1
        index = below
    heap[index] = task
    place[task] = index + 1


@compiled
def push(
    heap: Integers, place: Integers, size: int, first: Integers, second: Integers, task: int
) -> int:
    """Add a task; return the size of the heap."""
    _rise(heap, place, first, second, size, task)
    return size + 1


@compiled
def moved(
    heap: Integers, place: Integers, size: int, first: Integers, second: Integers, task: int
) -> None:
    """Find the place of a task whose keys have changed."""
    index = place[task] - 1
    if _rise(heap, place, first, second, index, task) == index:
        sink(heap, place, size, first, second, index, task)


@compiled
def remove(
    heap: Integers, place: Integers, size: int, first: Integers, second: Integers, task: int
) -> int:
    """Take a task out; return the size of the heap."""
    index = place[task] - 1
    place[task] = 0
    size -= 1
    last = heap[size]
    if last != task:
        place[last] = index + 1
        heap[index] = last
        moved(heap, place, size, first, second, last)
    return size


@compiled
def smallest(
    heap: Integers,
    size: int,
    first: Integers,
    second: Integers,
    count: int,
    out: Integers,
    frontier: Integers,
) -> int:
    """Write the first `count` tasks in order into `out`; return how many there are.

    The heap stays as it is: what may come next is at the edge of what has come, `frontier`, which
    needs ``count + 1`` places.
    """
    found = 0
    waiting = 0
    if size > 0 and count > 0:
        frontier[0] = 0
        waiting = 1
    while waiting > 0:
        best = 0
        for i in range(1, waiting):
            if before(first, second, heap[frontier[i]], heap[frontier[best]]):
                best = i
        index = frontier[best]
        out[found] = heap[index]
        found += 1
        if found == count:
            break
        below = 2 * index + 1
        waiting -= 1
        frontier[best] = frontier[waiting]
        for child in range(below, min(below + 2, size)):
            frontier[waiting] = child
            waiting += 1
    return found
