"""`dask mlsched explain` and `status`: of a cluster that runs, of a trace, and what goes wrong."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from distributed import Client, LocalCluster

import dask_mlsched
from dask_mlsched.cli import mlsched
from live_scheduler import DEVICE
from sample_tasks import added, chunk

pytestmark = pytest.mark.integration


def run(*arguments: str) -> Result:
    return CliRunner().invoke(mlsched, arguments, prog_name="dask mlsched")


@pytest.fixture(scope="module")
def cluster() -> Iterator[tuple[str, Client, dask_mlsched.Handle]]:
    with (
        dask_mlsched.LocalDeviceCluster(
            1, dashboard_address=":0", processes=False, **DEVICE
        ) as local,
        Client(local) as client,
    ):
        yield local.scheduler_address, client, dask_mlsched.install(client, trace="memory")


@pytest.fixture(scope="module")
def ran(cluster) -> tuple[list, tuple]:
    """Run twenty chunks and sums of pairs; a chunk's key and that of a sum."""
    _, client, _ = cluster
    chunks = [client.submit(chunk, 10, n, key=f"chunk-{n}") for n in range(20)]
    sums = [
        client.submit(added, a, b, key=("sum", n))
        for n, (a, b) in enumerate(zip(chunks[::2], chunks[1::2], strict=True))
    ]
    client.gather(sums)
    return [*chunks, *sums], ("sum", 3)


def test_a_task_of_a_cluster_that_runs(cluster, ran):
    address, _, handle = cluster
    _, key = ran
    result = run("explain", str(key), "--scheduler", address)
    assert result.exit_code == 0, result.stderr
    assert result.stdout.strip() == str(handle.explain(key))
    assert "was sent to inproc://" in result.stdout
    assert run("explain", "chunk-1", "--scheduler", address).exit_code == 0


def test_the_same_for_machines(cluster, ran):
    address, _, _ = cluster
    _, key = ran
    result = run("explain", str(key), "--scheduler", address, "--json", "-")
    assert json.loads(result.stdout)["decision"]["worker"].startswith("inproc://")


def test_what_is_not_known_ends_with_1_and_names_what_is_like_it(cluster, ran):
    address, _, _ = cluster
    result = run("explain", "chunk", "--scheduler", address)
    assert result.exit_code == 1
    assert "chunk is not known here." in result.stdout
    assert "Did you mean chunk-" in result.stdout


def test_the_status(cluster, ran):
    address, _, handle = cluster
    result = run("status", "--scheduler", address)
    assert result.exit_code == 0, result.stderr
    assert "mlsched: mode manage, policy learned; managing" in result.stdout
    told = json.loads(run("status", "--scheduler", address, "--json", "-").stdout)
    assert told["decisions"] == handle.status()["decisions"] > 0


def test_a_recorded_run_says_the_same(cluster, ran, tmp_path: Path):
    _, _, handle = cluster
    _, key = ran
    trace = tmp_path / "run.trace"
    handle.save_trace(trace)
    result = run("explain", str(key), "--trace", str(trace))
    assert result.exit_code == 0, result.stderr
    live = str(handle.explain(key)).splitlines()
    assert result.stdout.splitlines()[: len(live)] == live
    assert run("explain", "nothing", "--trace", str(trace)).exit_code == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("explain", "x"), ("which cluster?", "--scheduler", "DASK_SCHEDULER_ADDRESS")),
        (("status",), ("which cluster?",)),
        (("explain", "x", "--trace", "no.trace"), ("'no.trace'", "name a file")),
        (("explain", "x", "--trace", "a", "--scheduler", "b"), ("leave one of them out",)),
        (("status", "--scheduler", "nonsense"), ("'nonsense'", "is it running?")),
        (("explain",), ("KEY",)),
    ],
)
def test_a_mistake_is_one_line_that_says_what_to_do(arguments, said, monkeypatch):
    monkeypatch.setattr("dask_mlsched.cli.cluster._TIMEOUT", 2)
    result = run(*arguments)
    assert result.exit_code == 2
    line = next(line for line in result.stderr.splitlines() if "Error" in line or "rror:" in line)
    for words in said:
        assert words in line
    assert "Traceback" not in result.stderr


def test_a_cluster_without_the_plugin():
    with LocalCluster(1, processes=False, protocol="tcp://", dashboard_address=":0") as local:
        result = run("status", "--scheduler", local.scheduler_address)
    assert result.exit_code == 2
    assert "mlsched is not installed on this cluster" in result.stderr
    assert "Traceback" not in result.stderr
