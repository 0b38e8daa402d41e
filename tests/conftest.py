"""Compiles what tests call before any of them is timed."""

from __future__ import annotations

import pytest

from core.rollouts import product_rollout
from dask_mlsched.core.planners.warm_up import warm_up


def pytest_collection_finish(session: pytest.Session) -> None:
    """Compile once for all: it takes minutes on a new machine, and a moment after that."""
    if not session.items or session.config.option.collectonly:
        return
    warm_up()
    rollout = product_rollout()
    rollout.until(0)
    rollout.run()
