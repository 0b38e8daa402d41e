"""`install(client)` and the handle it returns."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Awaitable
from pathlib import Path
from typing import Any, NoReturn

from dask.typing import Key
from distributed import Client

from dask_mlsched.config import ConfigError, check_overrides
from dask_mlsched.extension import sparse
from dask_mlsched.extension.explanation import Explanation
from dask_mlsched.extension.recording import NotRecordedError
from dask_mlsched.extension.scheduler_plugin import MLSchedulerPlugin
from dask_mlsched.extension.status_text import Status
from dask_mlsched.extension.trace_files import write_at_once
from dask_mlsched.extension.versions import VERSION


class NotInstalledError(RuntimeError):
    """The plugin is not on the cluster, or not any more, or cannot be put there: one line why."""


class OtherVersionError(NotInstalledError):
    """The plugin on the cluster is of another version, which does not know what was asked for."""


class Handle:
    """Speaks with the plugin on a client's scheduler.

    With an asynchronous client, every method returns an awaitable.
    """

    def __init__(self, client: Client) -> None:
        self._client = client
        self._uninstalled = False

    def __repr__(self) -> str:
        """Name the cluster."""
        scheduler = self._client.scheduler
        return f"<mlsched on {scheduler.address if scheduler else 'a closed cluster'}>"

    def status(self) -> Any:
        """Return what the plugin has done so far: a dictionary that prints as text.

        Returns
        -------
        dask_mlsched.extension.status_text.Status
            In a notebook it shows itself as HTML.
        """
        return self._client.sync(self._status)

    def explain(self, key: Key) -> Any:
        """Return what became of a task and why: where it ran, what was missing, who decided.

        Parameters
        ----------
        key
            Of the task; a future will do.

        Returns
        -------
        dask_mlsched.extension.explanation.Explanation
            A dictionary that prints as sentences, with the figures in it.
        """
        key = getattr(key, "key", key)
        return self._client.sync(self._explain, key)

    def set_mode(self, mode: str) -> Any:
        """Switch to `off`, `observe` or `manage`.

        Raises
        ------
        ConfigError
            If there is no such mode; nothing is changed.
        """
        return self._client.sync(self._set, mode=mode)

    def set_policy(self, policy: str) -> Any:
        """Switch to another policy.

        Raises
        ------
        ConfigError
            If there is no such policy; nothing is changed.
        """
        return self._client.sync(self._set, policy=policy)

    def save_trace(self, path: str | os.PathLike[str]) -> Any:
        """Write what was recorded so far to a file on this machine, and return its path.

        The file is there as a whole or not at all. Recording is switched on beforehand, by the
        settings `trace` or `trace_directory`; `dask_mlsched.core.trace_codec.decode` reads it.

        Raises
        ------
        NotRecordedError
            If nothing was recorded.
        OSError
            If the file cannot be written.
        """
        return self._client.sync(self._save_trace, Path(path))

    def uninstall(self) -> Any:
        """Give all parked tasks back to Dask and leave; doing it again does nothing."""
        if self._uninstalled or self._client.status not in ("running", "connecting"):
            # With its client, a synchronous handle has lost its event loop.
            return _nothing() if self._client.asynchronous else None
        return self._client.sync(self._uninstall)

    async def _call(self, name: str, **kwargs: Any) -> Any:
        answer = await getattr(self._client.scheduler, name)(**kwargs)
        # A scheduler answers None to a call that it does not know; ours never do.
        if answer is None:
            await self._explain_silence(name)
        return answer

    async def _explain_silence(self, name: str) -> NoReturn:
        """Say why a call was not answered: nobody is there, or somebody of another version."""
        status = None
        scheduler = self._client.scheduler
        if name != "mlsched_status" and scheduler is not None:
            status = await scheduler.mlsched_status()
        if status is None:
            msg = "mlsched is not installed on this cluster; call dask_mlsched.install(client)"
            raise NotInstalledError(msg)
        theirs = status.get("version", "an older version")
        msg = (
            f"dask_mlsched on the scheduler ({theirs}) does not know {name!r}, which this client "
            f"({VERSION}) asks for: install the same version on both"
        )
        raise OtherVersionError(msg)

    async def _status(self) -> Status:
        return Status(await self._call("mlsched_status"))

    async def _explain(self, key: Key) -> Explanation:
        return Explanation(await self._call("mlsched_explain", key=key))

    async def _set(self, **kwargs: str) -> None:
        problem = await self._call("mlsched_set", **kwargs)
        if problem:
            raise ConfigError(problem)

    async def _save_trace(self, path: Path) -> Path:
        answer = await self._call("mlsched_trace")
        if answer["problem"]:
            raise NotRecordedError(answer["problem"])
        await asyncio.to_thread(write_at_once, path, answer["trace"])
        return path

    async def _uninstall(self) -> None:
        # It may be gone already, alone or with its scheduler; CommClosedError is an OSError.
        with contextlib.suppress(NotInstalledError, OSError):
            await self._call("mlsched_uninstall")
        self._uninstalled = True


def install(client: Client, **settings: Any) -> Any:
    """Install the scheduler extension on a client's cluster.

    Parameters
    ----------
    client
        A connected client; with an asynchronous one, await the result.
    **settings
        Settings in place of the scheduler's configuration under `mlsched:`, such as
        `mode="observe"` or `policy="greedy"`.

    Returns
    -------
    Handle
        For the status, explanations, and uninstalling.

    Raises
    ------
    ConfigError
        If a setting is unknown or cannot be used; nothing is installed.
    NotInstalledError
        If the scheduler lacks the package, or has one of another protocol; nothing is installed.

    Examples
    --------
    >>> handle = dask_mlsched.install(client)  # doctest: +SKIP
    """
    check_overrides(**settings)
    sparse.register()
    return client.sync(_install, client, settings)


async def _nothing() -> None:
    return


async def _install(client: Client, settings: dict[str, Any]) -> Handle:
    try:
        registered = client.register_plugin(MLSchedulerPlugin(**settings))
        if isinstance(registered, Awaitable):
            await registered
    except RuntimeError as error:
        # From `bootstrap_scheduler`: where the package is missing, so are its exceptions.
        if str(error).startswith("mlsched: "):
            raise NotInstalledError(str(error).removeprefix("mlsched: ")) from None
        raise
    return Handle(client)
