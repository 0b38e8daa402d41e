"""What went wrong with a part of the plugin without which decisions go on: counted, and shown."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

logger = logging.getLogger("dask_mlsched")


@dataclass
class Problems:
    """How many problems there were, and the last one; the first is logged."""

    count: int = 0
    last: str | None = None

    def add(self, problem: str) -> None:
        """Count a problem."""
        self.count += 1
        self.last = problem
        if self.count == 1:
            logger.warning("mlsched: %s; what decides now goes on deciding", problem)

    def snapshot(self) -> dict[str, Any]:
        """Describe them for `status()`."""
        return {"problems": self.count, "last_problem": self.last}
