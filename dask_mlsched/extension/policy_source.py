"""A policy from the name that a user configured."""

from __future__ import annotations

import asyncio
import importlib
import random
from typing import Final

from dask_mlsched.config import ConfigError
from dask_mlsched.core import policies
from dask_mlsched.core.planners.planner import Planner
from dask_mlsched.core.policies import Policy

#: Where the learned policies are; they are loaded by name like a user's own.
_LEARNED: Final = {
    "learned": "dask_mlsched.learning.served.Generalist",
    "specialised": "dask_mlsched.learning.served.Specialised",
}


def load_policy(name: str, seed: int) -> Policy | None:
    """Build a policy from its name or dotted path; None for `stock`.

    Raises
    ------
    ConfigError
        If there is no such policy, or it does not follow the protocol.
    """
    if name == "stock":
        return None
    if name in policies.NAMES:
        return policies.make(name, random.Random(seed))
    module_name, _, attribute = _LEARNED.get(name, name).rpartition(".")
    try:
        policy = getattr(importlib.import_module(module_name), attribute)()
    except Exception as error:
        msg = (
            f"mlsched.policy is {name!r}, which cannot be made on the scheduler "
            f"({type(error).__name__}: {error}); expected the dotted path of a class that "
            "takes no arguments, importable there"
        )
        raise ConfigError(msg) from error
    if not isinstance(policy, Policy):
        msg = (
            f"mlsched.policy is {name!r}, which lacks a part of the Policy protocol; "
            "expected `name`, `view`, `shortlist` and `score(situation)`"
        )
        raise ConfigError(msg)
    if policy.view == "planned" and not isinstance(policy, Planner):
        msg = (
            f"mlsched.policy is {name!r}, whose view is 'planned' though it lacks a part of the "
            "Planner protocol; derive it from dask_mlsched.core.planners.planner.BasePlanner"
        )
        raise ConfigError(msg)
    return policy


async def prepare(policy: Policy | None) -> None:
    """Let a policy get ready, if it needs that, beside the event loop.

    Compiled code is made once for a machine, which takes a minute or two; later it is loaded in
    some seconds. Whoever awaits this waits; the scheduler goes on.
    """
    get_ready = getattr(policy, "prepare", None)
    if get_ready is not None:
        await asyncio.to_thread(get_ready)
