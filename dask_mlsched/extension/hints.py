"""What travels with a task: what its worker is to evict first, and whether to load ahead for it.

Hints go in the task's annotations, which Dask sends along with the task and which nothing else
reads. So they come neither before nor after it, and a worker without our plugin ignores them. On
the scheduler the annotations are as the user made them again as soon as the task is on its way.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

from dask.typing import Key

if TYPE_CHECKING:
    from distributed.scheduler import TaskState
    from distributed.worker_state_machine import TaskState as WorkerTaskState

#: The annotation under which a task's hints travel.
ANNOTATION = "mlsched-hints"


class Hints(NamedTuple):
    """The hints of one task."""

    #: Arrays that go out first to make room for it, in this order.
    evict: Sequence[Key] = ()
    #: Whether its inputs are to be loaded while it waits for a thread.
    load_ahead: bool = False


NONE = Hints()


@contextmanager
def travelling(hints: Mapping[TaskState, Hints]) -> Iterator[None]:
    """Have tasks that are sent off in here take their hints along."""
    before: dict[TaskState, dict[str, Any] | None] = {}
    for ts, (evict, load_ahead) in hints.items():
        before[ts] = ts.annotations
        ts.annotations = {**(ts.annotations or {}), ANNOTATION: [list(evict), load_ahead]}
    try:
        yield
    finally:
        for ts, annotations in before.items():
            ts.annotations = annotations


def take(ts: WorkerTaskState) -> Hints:
    """Take the hints off a task that has reached its worker, and return them."""
    annotations = ts.annotations
    if not annotations or ANNOTATION not in annotations:
        return NONE
    # Not in place: within one process, the scheduler's message is the same object.
    ts.annotations = {name: each for name, each in annotations.items() if name != ANNOTATION}
    evict, load_ahead = annotations[ANNOTATION]
    return Hints(evict, load_ahead)
