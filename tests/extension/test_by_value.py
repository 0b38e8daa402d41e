from __future__ import annotations

import asyncio
import pickle
import sys

import pytest
from distributed.diagnostics.plugin import SchedulerPlugin, WorkerPlugin
from distributed.protocol.pickle import dumps, loads

from dask_mlsched.config import ConfigError
from dask_mlsched.extension import bootstrap_scheduler, bootstrap_worker
from dask_mlsched.extension.scheduler_plugin import MLSchedulerPlugin
from dask_mlsched.extension.versions import PROTOCOL, VERSION
from dask_mlsched.extension.worker_plugin import MLWorkerPlugin


class Derived(MLSchedulerPlugin):
    """What somebody makes of ours."""

    def __init__(self, mark: int, **overrides: object) -> None:
        super().__init__(**overrides)
        self.mark = mark


class DerivedWorker(MLWorkerPlugin):
    pass


class NotFound:
    """Finds that the package is not installed."""

    @staticmethod
    def find_spec(name: str, *_: object) -> None:
        if name.partition(".")[0] == "dask_mlsched":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


def hide_package(monkeypatch):
    for name in [name for name in sys.modules if name.startswith("dask_mlsched")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "meta_path", [NotFound, *sys.meta_path])


@pytest.mark.parametrize("module", [bootstrap_scheduler, bootstrap_worker])
def test_what_travels_needs_nothing_of_the_package(module, monkeypatch):
    plugin = {
        bootstrap_scheduler: MLSchedulerPlugin(policy="fifo"),
        bootstrap_worker: MLWorkerPlugin(0.5),
    }[module]
    sent = dumps(plugin)
    hide_package(monkeypatch)
    stand_in = loads(sent)
    assert isinstance(stand_in, (SchedulerPlugin, WorkerPlugin))
    assert (stand_in.name, stand_in.idempotent) == (plugin.name, plugin.idempotent)
    assert type(stand_in).__module__ == "mlsched_bootstrap"


def test_the_scheduler_s_half_comes_as_it_was_made():
    copy = pickle.loads(pickle.dumps(MLSchedulerPlugin(policy="fifo", lookahead=2)))
    assert type(copy) is MLSchedulerPlugin
    assert copy._overrides == {"policy": "fifo", "lookahead": 2}


def test_classes_derived_from_ours_travel_by_name():
    copy = pickle.loads(pickle.dumps(Derived(7, policy="fifo")))
    assert type(copy) is Derived
    assert (copy.mark, copy._overrides) == (7, {"policy": "fifo"})
    worker = pickle.loads(pickle.dumps(DerivedWorker(0.5)))
    assert type(worker) is DerivedWorker
    assert worker.snapshot_interval == 0.5


def test_a_worker_without_the_package_says_so_once(monkeypatch):
    hide_package(monkeypatch)
    stand_in = bootstrap_worker.make({}, PROTOCOL, VERSION)
    told = []

    class Worker:
        address = "tcp://a:1"

        def log_event(self, topic, message):
            told.append((topic, message))

    stand_in.setup(Worker())
    reason = "dask_mlsched is not installed"
    assert told == [("mlsched", {"op": "absent", "worker": "tcp://a:1", "reason": reason})]


def test_a_worker_whose_package_is_broken_says_how(monkeypatch):
    monkeypatch.setitem(sys.modules, "dask_mlsched.extension.worker_plugin", None)
    stand_in = bootstrap_worker.make({}, PROTOCOL, VERSION)
    assert stand_in.reason.startswith("dask_mlsched cannot be used (ModuleNotFoundError: ")


def test_a_worker_that_does_not_know_a_setting_says_so():
    stand_in = bootstrap_worker.make({"of_the_future": 1}, PROTOCOL, VERSION)
    assert "of_the_future" in stand_in.reason


def test_a_scheduler_s_half_that_is_refused_says_why_when_it_is_to_start():
    for settings, protocol, error, words in (
        ({}, PROTOCOL + 1, RuntimeError, "^mlsched: dask_mlsched is .* install the same version"),
        ({"nonsense": 1}, PROTOCOL, ConfigError, "^unknown setting 'nonsense'"),
    ):
        refused = bootstrap_scheduler.make(settings, protocol, VERSION)
        with pytest.raises(error, match=words):
            asyncio.run(refused.start(None))
