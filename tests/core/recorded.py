"""A virtual Dask whose controller is recorded."""

from __future__ import annotations

from typing import Any

from core.driver import Ticking, VirtualDask
from dask_mlsched.core.policies import Policy
from dask_mlsched.core.recorder import RecordedController, Recorder
from dask_mlsched.core.trace import Header, Trace
from dask_mlsched.core.trace_codec import decode

#: More than any test records.
LIMIT = 10**8


class RecordedDask(VirtualDask):
    """Drives a recorded controller; it is configured with the policy's own name.

    Parameters
    ----------
    policy, stopwatch, **settings
        As for `VirtualDask`.
    limit
        So many bytes are recorded at most.
    """

    def __init__(
        self, policy: Policy | None = None, *, limit: int = LIMIT, **settings: Any
    ) -> None:
        super().__init__(policy, **settings)
        chosen = self.controller.settings
        name = "stock" if policy is None else policy.name
        #: What was written, in order.
        self.parts: list[bytes] = []
        header = Header("1.2.3", 1.75e9, name, "manage", chosen)
        self.recorder = Recorder(header, self.parts.append, limit=limit)
        self.recorder.names = self
        stopwatch = settings.get("stopwatch") or Ticking()
        self.controller = RecordedController(policy, chosen, stopwatch, self.recorder)

    def task_name(self, number: int) -> str:
        return self.key(number)

    def prefix_name(self, number: int) -> str:
        return {number: name for name, number in self._prefixes.items()}[number]

    def worker_name(self, number: int) -> str:
        return f"worker-{number}"

    def trace(self) -> Trace:
        """End the recording, and read it."""
        self.recorder.close()
        return decode(b"".join(self.parts))
