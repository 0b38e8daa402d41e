"""Schedulers and workers without the package, or with another version of it: real processes."""

from __future__ import annotations

import re
import time
from pathlib import Path

import pytest
from distributed import Client

import dask_mlsched
from dask_mlsched.config import ConfigError
from dask_mlsched.extension.handle import Handle, NotInstalledError, OtherVersionError
from dask_mlsched.extension.plugin_events import TOPIC
from dask_mlsched.extension.versions import PROTOCOL, VERSION
from shell_cluster import (
    Python,
    scheduler,
    with_other_version,
    with_package,
    without_package,
    worker,
)

pytestmark = [pytest.mark.integration, pytest.mark.slow]


def unserved(client: Client, handle: Handle) -> dict[str, str]:
    """Return why which workers work as without the plugin, by their names."""
    names = {address: each["name"] for address, each in client.scheduler_info()["workers"].items()}
    workers = handle.status()["workers"]
    return {names[address]: each["unserved"] for address, each in workers.items()}


def computes(client: Client) -> None:
    """Run what needs nothing but Python on the workers."""
    assert client.submit(sum, client.map(pow, range(40), [2] * 40)).result() == 20_540


def until_told(client: Client, action: str) -> dict[str, object]:
    end = time.monotonic() + 20
    while True:
        told = [event for _, event in client.get_events(TOPIC) if event["action"] == action]
        if told:
            assert len(told) == 1
            return told[0]
        assert time.monotonic() < end, client.get_events(TOPIC)
        time.sleep(0.1)


def test_workers_without_the_package_work_on_as_without_the_plugin(tmp_path: Path) -> None:
    ours, stock = with_package(), without_package(tmp_path)
    with (
        scheduler(ours, tmp_path) as (address, process),
        worker(ours, tmp_path, address, "ours", "--memory-limit", "1GB"),
        # One that is there when the plugin comes, under a nanny, and one that joins it later.
        worker(stock, tmp_path, address, "early", "--memory-limit", "1GB") as early,
        Client(address) as client,
    ):
        handle = dask_mlsched.install(client, policy="greedy", scope="all")
        computes(client)
        event = until_told(client, "workers-unserved")
        assert event["count"] == 1
        with worker(stock, tmp_path, address, "late", "--no-nanny") as late:
            computes(client)
            why = "dask_mlsched is not installed"
            while unserved(client, handle).get("late") is None:
                time.sleep(0.05)
            assert unserved(client, handle) == {"ours": None, "early": why, "late": why}
            status = handle.status()
            assert status["managing"]
            assert status["decisions"] > 0
            assert not status["errors"]
            assert {each["kind"] for each in status["workers"].values()} == {"spill-buffer", None}
            # Every worker has run something.
            assert len(set(client.run(lambda dask_worker: dask_worker.name).values())) == 3
            assert not early.trouble + late.trouble
            early_plugins = client.run(lambda dask_worker: sorted(dask_worker.plugins))
            assert all("mlsched-worker" in names for names in early_plugins.values())
            handle.uninstall()
            computes(client)
            assert not any(
                "mlsched-worker" in names
                for names in client.run(lambda dask_worker: sorted(dask_worker.plugins)).values()
            )
        assert not process.trouble
        said = [line for line in process.text.splitlines() if "dask_mlsched is not" in line]
        assert len(said) == 1, "one line, once"
        assert re.search(r"1 worker works as without .* tcp://\S+; .* pip install", said[0])


def test_workers_of_another_protocol_are_left_alone_and_of_another_version_served(
    tmp_path: Path,
) -> None:
    pythons = {}
    for name, protocol in (("future", PROTOCOL + 1), ("older", PROTOCOL)):
        (tmp_path / name).mkdir()
        pythons[name] = with_other_version(tmp_path / name, protocol=protocol, version=name)
    with (
        scheduler(with_package(), tmp_path) as (address, process),
        worker(pythons["future"], tmp_path, address, "future", "--memory-limit", "1GB") as future,
        worker(pythons["older"], tmp_path, address, "older", "--memory-limit", "1GB"),
        Client(address) as client,
    ):
        handle = dask_mlsched.install(client, policy="greedy", scope="all")
        computes(client)
        event = until_told(client, "workers-unserved")
        assert event["reason"] == (
            f"dask_mlsched is future with protocol {PROTOCOL + 1}, "
            f"on the scheduler {VERSION} with protocol {PROTOCOL}"
        )
        assert unserved(client, handle) == {"future": event["reason"], "older": None}
        assert handle.status()["managing"]
        assert not process.trouble + future.trouble


def on_scheduler(
    python: Python, folder: Path, match: str, error: type[Exception], **settings: str
) -> None:
    """See that installing is refused in one line, and that the scheduler goes on."""
    ours = with_package()
    with (
        scheduler(python, folder) as (address, _),
        worker(ours, folder, address, "ours", "--memory-limit", "1GB"),
        Client(address) as client,
    ):
        with pytest.raises(error, match=match) as caught:
            dask_mlsched.install(client, **settings)
        assert "\n" not in str(caught.value)
        with pytest.raises(NotInstalledError, match=r"call dask_mlsched\.install"):
            Handle(client).status()
        computes(client)


def test_a_scheduler_without_the_package_refuses_in_one_line(tmp_path: Path) -> None:
    match = (
        r"^dask_mlsched is not installed on the scheduler: pip install 'dask-mlsched==\S+' there, "
        "and start it again$"
    )
    on_scheduler(without_package(tmp_path), tmp_path, match, NotInstalledError)


def test_a_scheduler_of_another_protocol_refuses_in_one_line(tmp_path: Path) -> None:
    python = with_other_version(tmp_path, protocol=PROTOCOL + 1, version="9.9")
    match = (
        rf"^dask_mlsched is 9\.9 with protocol {PROTOCOL + 1} on the scheduler, {VERSION} with "
        rf"protocol {PROTOCOL} here: install the same version on both$"
    )
    on_scheduler(python, tmp_path, match, NotInstalledError)


def test_a_setting_that_an_older_scheduler_does_not_know_is_refused_in_one_line(
    tmp_path: Path,
) -> None:
    python = with_other_version(tmp_path, protocol=PROTOCOL, version="0.0.9")
    config = tmp_path / "packages" / "dask_mlsched" / "config.py"
    source = config.read_text()
    assert source.count('    "round_trip": "round-trip",\n') == 1
    config.write_text(source.replace('    "round_trip": "round-trip",\n', ""))
    match = (
        r"^unknown setting 'round_trip'; expected one of .* "
        rf"\(the scheduler runs dask_mlsched 0\.0\.9, this client {re.escape(VERSION)}\)$"
    )
    on_scheduler(python, tmp_path, match, ConfigError, round_trip="1ms")


def test_another_version_of_the_same_protocol_serves_and_says_what_it_does_not_know(
    tmp_path: Path,
) -> None:
    python = with_other_version(tmp_path, protocol=PROTOCOL, version="0.0.9")
    remote = tmp_path / "packages" / "dask_mlsched" / "extension" / "remote.py"
    source = remote.read_text()
    assert source.count("        mlsched_explain,\n") == 1
    remote.write_text(source.replace("        mlsched_explain,\n", ""))
    with (
        scheduler(python, tmp_path) as (address, process),
        worker(with_package(), tmp_path, address, "ours", "--memory-limit", "1GB"),
        Client(address) as client,
    ):
        handle = dask_mlsched.install(client, policy="greedy", scope="all")
        computes(client)
        status = handle.status()
        assert (status["version"], status["managing"]) == ("0.0.9", True)
        assert status["decisions"] > 0
        assert not process.trouble
        match = (
            r"^dask_mlsched on the scheduler \(0\.0\.9\) does not know 'mlsched_explain', which "
            rf"this client \({re.escape(VERSION)}\) asks for: install the same version on both$"
        )
        with pytest.raises(OtherVersionError, match=match):
            handle.explain("x")
        handle.uninstall()
