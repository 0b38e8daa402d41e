"""Every way in that docs/ways-in.md tells of, as it is written there."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import dask
import numpy as np
import pytest
import yaml
from distributed import Client, LocalCluster, SSHCluster
from distributed.security import Security

import dask_mlsched
from live_scheduler import device_cluster, tree, tree_total
from shell_cluster import scheduler, with_package, worker
from ssh_server import ssh_server

pytestmark = [pytest.mark.integration, pytest.mark.slow]

PAGE = Path(__file__).resolve().parents[2] / "docs" / "ways-in.md"

PRELOAD = "dask_mlsched.extension.preload"

#: Every cluster is managed, also one whose workers have not spilled.
YAML = f"""
distributed:
  scheduler:
    preload:
      - {PRELOAD}
mlsched:
  policy: greedy
  scope: all
"""


def works(client: Client, handle: dask_mlsched.Handle) -> None:
    """Run something, and see that the plugin has decided about it and every worker is served."""
    before = handle.status()["decisions"]
    assert tree(client, 16).result() == tree_total(16)
    status = handle.status()
    assert status["managing"]
    assert status["decisions"] == before + 32
    assert status["errors"] == status["reports"]["worker_errors"] == 0
    kinds = [(each["kind"], each["unserved"]) for each in status["workers"].values()]
    assert kinds
    assert all(kind is not None and unserved is None for kind, unserved in kinds)


@contextmanager
def in_the_shell(
    folder: Path, *arguments: str, tls: tuple[str, ...] = (), **environment: str
) -> Iterator[str]:
    python = with_package()
    with (
        scheduler(python, folder, *arguments, *tls, **environment) as (address, process),
        worker(python, folder, address, "one", "--memory-limit", "1GB", *tls),
    ):
        yield address
        assert not process.trouble


def test_one_line_on_a_cluster_started_in_the_shell(tmp_path):
    with in_the_shell(tmp_path) as address, Client(address) as client:
        works(client, dask_mlsched.install(client, policy="greedy", scope="all"))


def test_preload_as_an_option(tmp_path):
    settings = {"DASK_MLSCHED__POLICY": "greedy", "DASK_MLSCHED__SCOPE": "all"}
    with (
        in_the_shell(tmp_path, "--preload", PRELOAD, **settings) as address,
        Client(address) as client,
    ):
        works(client, dask_mlsched.Handle(client))


def test_environment_variables_alone(tmp_path):
    settings = {
        "DASK_DISTRIBUTED__SCHEDULER__PRELOAD": PRELOAD,
        "DASK_MLSCHED__POLICY": "greedy",
        "DASK_MLSCHED__SCOPE": "all",
    }
    with in_the_shell(tmp_path, **settings) as address, Client(address) as client:
        works(client, dask_mlsched.Handle(client))


def test_a_file_of_configuration_alone(tmp_path):
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "mlsched.yaml").write_text(YAML)
    with (
        in_the_shell(tmp_path, DASK_CONFIG=str(tmp_path / "config")) as address,
        Client(address) as client,
    ):
        handle = dask_mlsched.Handle(client)
        assert handle.status()["policy"] == "greedy"
        works(client, handle)


def test_a_local_cluster_once_its_workers_spill():
    with (
        # The worker's memory is a tier: it spills at 60 % of its limit.
        LocalCluster(
            n_workers=1, threads_per_worker=1, memory_limit="400MB", dashboard_address=":0"
        ) as cluster,
        Client(cluster) as client,
    ):
        handle = dask_mlsched.install(client, policy="greedy")
        assert not handle.status()["managing"]
        arrays = client.map(np.zeros, [4_000_000] * 12, pure=False)
        assert client.submit(sum, client.map(len, arrays)).result() == 48_000_000
        end = time.monotonic() + 10
        while not handle.status()["managing"]:
            assert time.monotonic() < end, handle.status()
            time.sleep(0.05)
        works(client, handle)


def test_a_local_device_cluster_of_processes():
    with device_cluster(2) as cluster, Client(cluster) as client:
        works(client, dask_mlsched.install(client, policy="greedy"))


def remote_environment() -> dict[str, str]:
    names = ("NUMBA_CACHE_DIR",)
    environment = {name: os.environ[name] for name in names if name in os.environ}
    return {**environment, "PYTHONPATH": with_package().environment["PYTHONPATH"]}


def ssh_cluster(options: dict[str, object]) -> SSHCluster:
    return SSHCluster(
        ["127.0.0.1", "127.0.0.1"],
        connect_options=options,
        worker_options={"nthreads": 1, "memory_limit": "1GB"},
        scheduler_options={"port": 0, "dashboard_address": ":0"},
    )


def test_machines_reached_by_ssh(tmp_path):
    with (
        ssh_server(tmp_path, remote_environment()) as options,
        ssh_cluster(options) as cluster,
        Client(cluster) as client,
    ):
        works(client, dask_mlsched.install(client, policy="greedy", scope="all"))


def test_machines_reached_by_ssh_take_the_configuration_of_the_program_along(tmp_path):
    settings = {
        "distributed.scheduler.preload": [PRELOAD],
        "mlsched.policy": "greedy",
        "mlsched.scope": "all",
    }
    with (
        dask.config.set(settings),
        ssh_server(tmp_path, remote_environment()) as options,
        ssh_cluster(options) as cluster,
        Client(cluster) as client,
    ):
        works(client, dask_mlsched.Handle(client))


def test_tls_on_local_clusters():
    for cluster in (
        device_cluster(1, security=True, protocol="tls"),
        LocalCluster(
            n_workers=1, threads_per_worker=1, security=True, protocol="tls", dashboard_address=":0"
        ),
    ):
        with cluster, Client(cluster) as client:
            assert client.scheduler.address.startswith("tls://")
            works(client, dask_mlsched.install(client, policy="greedy", scope="all"))


def written(folder: Path) -> tuple[Security, tuple[str, ...]]:
    """Write keys to files; return who uses them in a program, and as options in the shell."""
    temporary = Security.temporary()
    (folder / "ca.pem").write_text(temporary.tls_ca_file)
    (folder / "cert.pem").write_text(temporary.tls_client_cert)
    (folder / "key.pem").write_text(temporary.tls_client_key)
    ca, cert, key = (str(folder / name) for name in ("ca.pem", "cert.pem", "key.pem"))
    security = Security(
        tls_ca_file=ca, tls_client_cert=cert, tls_client_key=key, require_encryption=True
    )
    return security, ("--tls-ca-file", ca, "--tls-cert", cert, "--tls-key", key)


@pytest.mark.parametrize("preloaded", [False, True])
def test_tls_in_the_shell(tmp_path, preloaded):
    security, tls = written(tmp_path)
    settings = {"DASK_MLSCHED__POLICY": "greedy", "DASK_MLSCHED__SCOPE": "all"}
    preload = ("--preload", PRELOAD) if preloaded else ()
    arguments = ("--protocol", "tls", *preload)
    with (
        in_the_shell(tmp_path, *arguments, tls=tls, **settings) as address,
        Client(address, security=security) as client,
    ):
        assert address.startswith("tls://")
        works(client, dask_mlsched.Handle(client) if preloaded else dask_mlsched.install(client))


def blocks(opening: str) -> list[str]:
    """Return the programs on the page that begin like this."""
    fenced = re.findall(r"```python\n(.*?)```", PAGE.read_text(), flags=re.DOTALL)
    return [block for block in fenced if block.startswith(opening)]


@pytest.mark.parametrize("program", blocks("cluster = "))
def test_programs_on_the_page_run_as_they_stand(program):
    # Others on this machine may have Dask's usual port for the dashboard.
    usual = {"dashboard_address": ":0"}
    package = SimpleNamespace(
        install=dask_mlsched.install,
        LocalDeviceCluster=partial(dask_mlsched.LocalDeviceCluster, **usual),
    )
    names = {
        "dask_mlsched": package,
        "Client": Client,
        "LocalCluster": partial(LocalCluster, **usual),
    }
    exec(program, names)
    with names["cluster"], names["client"] as client:
        assert client.submit(sum, [1, 2]).result() == 3
        assert names["handle"].status()["mode"] == "manage"


def test_the_page_has_programs_and_the_lines_of_the_shell():
    assert len(blocks("cluster = ")) == 3
    page = PAGE.read_text()
    (yaml_block,) = re.findall(r"```yaml\n(.*?)```", page, flags=re.DOTALL)
    assert yaml.safe_load(yaml_block)["distributed"] == yaml.safe_load(YAML)["distributed"]
    for line in (
        f"$ dask scheduler --preload {PRELOAD}\n",
        f"$ export DASK_DISTRIBUTED__SCHEDULER__PRELOAD={PRELOAD}\n",
        f'dask.config.set({{"distributed.scheduler.preload": ["{PRELOAD}"]}})\n',
        f"$ dask scheduler --protocol tls $tls --preload {PRELOAD}\n",
    ):
        assert line in page
