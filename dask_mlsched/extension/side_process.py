"""A process beside the scheduler: started, asked, heard and ended, without waiting for it.

What it does would take too long in the event loop. Two threads do what may wait: one writes the
newest request, the other reads answers and hands them to the event loop. Both end with the process.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import threading
from collections.abc import Callable, Sequence
from typing import Final

from dask_mlsched.core import message_frame
from dask_mlsched.core.message_frame import Frame, FrameError

#: One thread is meant to be all that it takes of the machine.
_SINGLE: Final = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")

#: Seconds for a killed process to be gone.
_GONE: Final = 10.0


class SideProcess:
    """One process, from its start to its end.

    Made in an event loop, which is where what it says is heard. After `close` nothing is heard.

    Parameters
    ----------
    name
        Of its threads, for people.
    command
        What to run.
    hear
        Called with every frame that comes back.
    ended
        Called with how it ended, if it does so by itself.

    Raises
    ------
    OSError
        If it cannot be started.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        hear: Callable[[Frame], None],
        ended: Callable[[str], None],
    ) -> None:
        self._hear = hear
        self._ended = ended
        self._loop = asyncio.get_running_loop()
        self._closed = False
        self._news = threading.Condition()
        #: Written next; a newer request takes its place. Empty bytes end the writing.
        self._to_write: bytes | None = None
        self._process = subprocess.Popen(
            list(command),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, **_SINGLE},
        )
        self._threads = [
            threading.Thread(target=target, name=f"mlsched-{name}-{what}", daemon=True)
            for what, target in (("read", self._read), ("write", self._write))
        ]
        for thread in self._threads:
            thread.start()

    @property
    def pid(self) -> int:
        """The number of the process."""
        return self._process.pid

    def ask(self, frame: Frame) -> None:
        """Send a request; one that is not on its way yet is dropped."""
        self._put(message_frame.encode(frame))

    def _put(self, data: bytes) -> None:
        with self._news:
            self._to_write = data
            self._news.notify()

    def close(self) -> None:
        """End the process, if it has not ended, and wait for that; calling it again does nothing.

        It takes some milliseconds: the process is killed.
        """
        if self._closed:
            return
        self._closed = True
        self._process.kill()
        self._put(b"")
        self._process.wait(_GONE)
        for thread in self._threads:
            thread.join(_GONE)
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with contextlib.suppress(OSError):  # what was not written yet
            self._process.stdin.close()
        self._process.stdout.close()

    # In threads of their own

    def _write(self) -> None:
        stdin = self._process.stdin
        assert stdin is not None
        while True:
            with self._news:
                while self._to_write is None:
                    self._news.wait()
                data, self._to_write = self._to_write, None
            if not data:
                return
            try:
                stdin.write(data)
                stdin.flush()
            except OSError:
                return  # it has ended, which the other thread tells

    def _read(self) -> None:
        stdout = self._process.stdout
        assert stdout is not None
        how = None
        while True:
            try:
                frame = message_frame.read(stdout.read)
            except FrameError as error:
                how = str(error)
                self._process.kill()
                break
            if frame is None:
                break
            self._tell(self._heard, frame)
        status = self._process.wait()
        self._tell(self._over, how or f"it ended with status {status}")

    def _tell(self, function: Callable[..., None], *arguments: object) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody listens
            self._loop.call_soon_threadsafe(function, *arguments)

    # In the event loop again

    def _heard(self, frame: Frame) -> None:
        if not self._closed:
            self._hear(frame)

    def _over(self, how: str) -> None:
        if not self._closed:
            self.close()
            self._ended(how)
