"""The process beside the scheduler that learns from what its cluster runs.

It reads looks from its input and answers on its output, at the lowest priority and with one thread,
and ends when its input does, as it does when the scheduler has died. It is here because of the
instances that ship: `dask_mlsched.learning.online` is handed them.
"""

from __future__ import annotations

import contextlib
from typing import Final

from dask_mlsched.benchmarks.shipped_instances import ship
from dask_mlsched.learning import frame_streams
from dask_mlsched.learning.online import serve

#: Steps to the lowest priority.
NICENESS: Final = 19


def main() -> None:
    """Serve the process's own input and output."""
    tell = frame_streams.begin(NICENESS)
    with contextlib.suppress(BrokenPipeError, KeyboardInterrupt):
        serve(frame_streams.take, tell, ship, abandoned=frame_streams.abandoned)


if __name__ == "__main__":
    main()
