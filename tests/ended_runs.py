"""Runs on a scheduler of tests: when one is over, and what was recorded of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from dask_mlsched.core.replay import verify
from dask_mlsched.core.trace import Trace
from dask_mlsched.core.trace_codec import decode
from dask_mlsched.extension.policy_source import load_policy
from live_scheduler import until


async def over(plugin: Any) -> None:
    """Wait until the run is over."""
    await until(lambda: plugin.recording.begun == 0)


async def saved(handle: Any, folder: Path) -> Trace:
    trace = decode((await handle.save_trace(folder / "saved")).read_bytes())
    assert trace.complete
    verify(trace, load_policy)
    return trace
