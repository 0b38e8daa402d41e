"""Instances that ship: what a generalist must not forget."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dask_mlsched.learning.instance import Instance


@dataclass(frozen=True)
class Shipped:
    """Those that generalists are judged on, and others to search on."""

    judged: Sequence[Instance]
    searched: Sequence[Instance]
