"""What happens next in a compiled run: a heap by time, and then in the order of coming up."""

from __future__ import annotations

from dask_mlsched.core.compiled.jit import compiled
from dask_mlsched.core.compiled.layouts import Records
from dask_mlsched.core.compiled.tables import Tables


@compiled
def at(t: Tables, time: float, kind: int, a: int, b: int) -> None:
    """Have something happen later."""
    clock = t.clock[0]
    clock.count += 1
    queue = t.happenings
    index = clock.happenings
    clock.happenings += 1
    count = clock.count
    while index > 0:
        above = (index - 1) >> 1
        # The newest stands behind all of its time.
        if queue[above].time <= time:
            break
        queue[index] = queue[above]
        index = above
    row = queue[index]
    row.time = time
    row.count = count
    row.kind = kind
    row.a = a
    row.b = b


@compiled
def _before(queue: Records, a: int, b: int) -> bool:
    if queue[a].time != queue[b].time:
        return bool(queue[a].time < queue[b].time)
    return bool(queue[a].count < queue[b].count)


@compiled
def drop_first(t: Tables) -> None:
    """Take out what happens next."""
    clock, queue = t.clock[0], t.happenings
    clock.happenings -= 1
    last = clock.happenings
    index = 0
    while True:
        below = 2 * index + 1
        if below >= last:
            break
        if below + 1 < last and _before(queue, below + 1, below):
            below += 1
        if not _before(queue, below, last):
            break
        queue[index] = queue[below]
        index = below
    queue[index] = queue[last]
