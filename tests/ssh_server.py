"""An SSH server on this machine, of the user who runs the tests, and its keys."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest


def _program(name: str) -> str:
    path = shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
    if path is None:
        if os.environ.get("MLSCHED_SKIP_NOTHING"):
            pytest.fail(f"{name} is missing; ci/packages.sh installs it")
        pytest.skip(f"{name} is not installed; ci/packages.sh installs it")
    return path


def _free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


@contextmanager
def ssh_server(folder: Path, environment: Mapping[str, str]) -> Iterator[dict[str, Any]]:
    """Run an SSH server; yield what `SSHCluster` takes as `connect_options`.

    Parameters
    ----------
    folder
        Empty; for keys and the log.
    environment
        What programs find that are started through it.
    """
    server, keygen = _program("sshd"), _program("ssh-keygen")
    for key in ("host", "user"):
        subprocess.run([keygen, "-q", "-t", "ed25519", "-N", "", "-f", folder / key], check=True)
    shutil.copy(folder / "user.pub", folder / "authorized")
    (folder / "authorized").chmod(0o600)
    port = _free_port()
    settings = {
        "ListenAddress": "127.0.0.1",
        "Port": str(port),
        "HostKey": str(folder / "host"),
        "AuthorizedKeysFile": str(folder / "authorized"),
        "PidFile": "none",
        "UsePAM": "no",
        "PasswordAuthentication": "no",
        # The folder of the tests belongs to whoever it does.
        "StrictModes": "no",
        "PermitRootLogin": "yes",
        "SetEnv": " ".join(f'{name}="{value}"' for name, value in environment.items()),
    }
    config = folder / "sshd_config"
    config.write_text("".join(f"{name} {value}\n" for name, value in settings.items()))
    if os.geteuid() == 0:
        # As root, it insists on this folder.
        Path("/run/sshd").mkdir(mode=0o755, parents=True, exist_ok=True)
    log = (folder / "sshd.log").open("wb")
    with log, subprocess.Popen([server, "-D", "-e", "-f", config], stderr=log) as process:
        try:
            _until_listening(process, port, folder / "sshd.log")
            yield {"port": port, "known_hosts": None, "client_keys": [str(folder / "user")]}
        finally:
            process.terminate()


def _until_listening(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    end = time.monotonic() + 10
    while True:
        assert process.poll() is None, log.read_text()
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        assert time.monotonic() < end, log.read_text()
        time.sleep(0.05)
