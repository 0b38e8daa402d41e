"""A process that tells what a test wrote down, for the schedulers of tests: no learning in it.

The test writes frames into files beside each other; the process says each of them once, in the
order of their names, as soon as it is there.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from dask_mlsched.core.graph_message import READY
from dask_mlsched.core.message_frame import Frame, encode

SUFFIX = ".frame"


def command(folder: Path) -> tuple[str, ...]:
    """Return what a scheduler is to run."""
    return (sys.executable, __file__, str(folder))


def say(folder: Path, *frames: Frame | bytes) -> None:
    """Have the process of this folder say frames, or any bytes."""
    folder.mkdir(exist_ok=True)
    for frame in frames:
        data = frame if isinstance(frame, bytes) else encode(frame)
        name = f"{len(list(folder.glob('*' + SUFFIX))):04d}"
        partial = folder / f"{name}.partial"
        partial.write_bytes(data)
        partial.rename(folder / f"{name}{SUFFIX}")


def main(folder: Path) -> None:
    """Say what is there, until nobody listens."""
    sys.stdout.buffer.write(encode(Frame(READY)))
    sys.stdout.flush()
    said = 0
    while os.getppid() != 1:
        for path in sorted(folder.glob(f"*{SUFFIX}"))[said:]:
            sys.stdout.buffer.write(path.read_bytes())
            sys.stdout.flush()
            said += 1
        time.sleep(0.02)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
