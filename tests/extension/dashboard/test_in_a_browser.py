"""The pages in a real browser, while everything spills: data arrives, nothing complains."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest
from distributed import Client

import dask_mlsched
from browser import Browser, browser, points
from dask_mlsched.extension.dashboard.paths import PAGE, PART, path_of

pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.timeout(300)]

#: A key that would be markup, a script, or the end of one, if nobody were careful.
EVIL = "</script><img src=x onerror=\"document.title='broken in'\"><b>evil</b>"

#: A column of data that each part has.
COLUMNS = {"residency": "resident 0", "transfers": "loaded", "decisions": "p50", "models": "regret"}


def made(n: int) -> np.ndarray:
    time.sleep(0.005)
    return np.full(10_000, float(n))


def added(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    time.sleep(0.005)
    return a + b


@contextmanager
def busy(client: Client, prefix: str) -> Iterator[None]:
    """Run reductions that are four times as large as the devices, one after the other."""
    stop = threading.Event()

    def work() -> None:
        run = 0
        while not stop.is_set():
            run += 1
            level = [
                client.submit(made, n, key=f"{prefix}-{run}-{n}", pure=False) for n in range(80)
            ]
            while len(level) > 1:
                run_level = f"{prefix}-{run}-sum-{len(level)}"
                level = [
                    client.submit(added, a, b, key=f"{run_level}-{n}")
                    for n, (a, b) in enumerate(zip(level[::2], level[1::2], strict=False))
                ] + ([level[-1]] if len(level) % 2 else [])
            level[0].result()
            del level
            stop.wait(1.0)  # so that the run is over

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(60)
        assert not thread.is_alive()


@pytest.fixture(scope="module")
def cluster() -> Iterator[tuple[Client, dask_mlsched.Handle, str]]:
    with (
        dask_mlsched.LocalDeviceCluster(
            2, device_memory_limit="800kB", bandwidth="50MB/s", dashboard_address=":0"
        ) as local,
        Client(local) as client,
    ):
        handle = dask_mlsched.install(client, dashboard_interval="200ms")
        with busy(client, EVIL):
            yield client, handle, client.dashboard_link.removesuffix("/status")


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with browser() as started:
        yield started


def test_residency_of_each_device_arrives(chromium: Browser, cluster):
    _, handle, url = cluster
    chromium.open(f"{url}/{PART}residency")
    chromium.wait(f"{points('resident 0').replace('return most', 'return most >= 10')}")
    text = chromium.text()
    assert "on 2 devices" in text
    assert "tasks are parked" in text
    chromium.screenshot("residency", height=500)
    assert chromium.complaints() == []
    workers = handle.status()["workers"]
    assert sum(worker["bytes_evicted"] for worker in workers.values()) > 0


def test_transfers_are_shown_beside_those_of_dask_alone(chromium: Browser, cluster):
    _, _, url = cluster
    chromium.open(f"{url}/{PART}transfers")
    chromium.wait(f"{points('evicted').replace('return most', 'return most >= 10')}")
    chromium.wait(f"{points('nbytes').replace('return most', 'return most >= 6')}", seconds=60)
    text = chromium.text()
    assert "of what Dask alone would have moved" in text
    chromium.screenshot("transfers", height=950)
    assert chromium.complaints() == []


def test_decisions_come_with_their_reasons_and_keys_are_text(chromium: Browser, cluster):
    _, _, url = cluster
    chromium.open(f"{url}/{PART}decisions")
    chromium.wait(f"{points('p99').replace('return most', 'return most >= 5')}")
    chromium.wait(f"{points('task').replace('return most', 'return most >= 20')}")
    text = chromium.text()
    assert "decisions to run a task" in text
    assert "the policy chose it" in text
    assert "onerror=" in text  # the key, as text
    assert chromium.driver.title == "Dask: mlsched Decisions"
    assert chromium.driver.execute_script("return document.querySelectorAll('img').length") == 0
    chromium.screenshot("decisions", height=850)
    assert chromium.complaints() == []


def test_the_model_that_decides_and_the_regret_of_runs(chromium: Browser, cluster):
    _, _, url = cluster
    chromium.open(f"{url}/{PART}models")
    chromium.wait(f"{points('regret').replace('return most', 'return most >= 1')}", seconds=60)
    assert "The network that ships decides" in chromium.text()
    chromium.screenshot("models", height=600)
    assert chromium.complaints() == []


def test_everything_is_under_dasks_menu_and_says_when_the_plugin_goes(chromium: Browser, cluster):
    client, handle, url = cluster
    chromium.open(f"{url}/status")
    chromium.follow(PAGE)
    chromium.wait("return document.title === 'Dask: mlsched Residency'")
    chromium.open(f"{url}/{PAGE}")
    for part in ("residency", "transfers", "decisions", "models"):
        if part != "residency":
            chromium.follow(path_of(part))
        chromium.wait(f"return document.title === 'Dask: mlsched {part.title()}'")
        chromium.wait(f"{points(COLUMNS[part]).replace('return most', 'return most >= 1')}")
        chromium.screenshot(f"page-{part}")
    chromium.follow(PAGE)
    chromium.wait(f"{points('resident 0').replace('return most', 'return most >= 5')}")
    assert chromium.complaints() == []
    assert handle.status()["dashboard"]["problems"] == 0
    handle.uninstall()
    chromium.wait("return document.body !== null")
    deadline = time.monotonic() + 20
    while "The plugin was uninstalled." not in chromium.text():
        assert time.monotonic() < deadline, chromium.text()
        time.sleep(0.2)
    assert chromium.complaints() == []
    again = dask_mlsched.install(client)
    assert again.status()["dashboard"]["why_none"] is None
