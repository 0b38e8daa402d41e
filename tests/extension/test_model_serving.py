"""Models are chosen for the graphs of a run, and the scheduler obeys; without a cluster."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from core.networks import random_network
from dask_mlsched.core.model_choice import BASELINE, ArrivingTask
from dask_mlsched.core.network import Network
from dask_mlsched.core.training_message import Happened
from dask_mlsched.extension import model_serving
from dask_mlsched.extension.model_events import TOPIC, ModelEvents
from dask_mlsched.extension.model_serving import ModelServing, collect, load_chooser
from dask_mlsched.extension.problems import Problems
from fake_chooser import (
    GENERALIST,
    SPECIALIST,
    FakeChooser,
    catalogue,
    family,
    network_of_model,
)


@dataclass
class Prefix:
    name: str


@dataclass(eq=False)
class Task:
    """What is read of a scheduler's task."""

    key: str
    dependencies: set[Task] = field(default_factory=set)
    state: str = "released"
    run_spec: object = True

    @property
    def prefix(self) -> Prefix:
        return Prefix(self.key.partition("-")[0])


class Policy:
    """What is told a policy."""

    def __init__(self) -> None:
        self.served: list[Network] = []

    def serve(self, network: Network, *, may_hold: bool) -> None:
        assert may_hold
        self.served.append(network)


class Serving(ModelServing):
    """With a fake chooser, a fake policy, and all that it says."""

    def __init__(self, *, chooser: bool = True) -> None:
        self.fake = FakeChooser(0)
        self.said: list[tuple[str, Any]] = []
        self.problems = Problems()
        self.told = Policy()
        events = ModelEvents(lambda topic, msg: self.said.append((topic, msg)))
        super().__init__(self.fake if chooser else None, self.problems, events)
        self.serve(self.told)  # type: ignore[arg-type]  # what is called of it is there

    def arrives(self, *keys: str, begun: bool = False) -> bool:
        tasks: Any = [Task(key) for key in keys]
        return self.graph_arrived(tasks, begun=begun)

    @property
    def model(self) -> str | None:
        return None if self.choice is None else self.choice.model


def numbered(prefix: str, *numbers: int) -> list[str]:
    return [f"{prefix}-{number}" for number in range(*numbers)]


BLOCKS = family("blocks", SPECIALIST)


def assert_served(policy: Policy, *models: str) -> None:
    assert len(policy.served) == len(models)
    for network, model in zip(policy.served, models, strict=True):
        np.testing.assert_array_equal(network.skip, network_of_model(model).skip)


# Choosing


def test_before_any_catalogue_nothing_is_chosen() -> None:
    serving = Serving()
    assert not serving.arrives(*numbered("blocks", 20))
    assert serving.snapshot()["choice"] is None
    assert serving.snapshot()["catalogue"] is None
    assert not serving.left_to_dask
    assert_served(serving.told)


def test_a_catalogue_counts_from_the_next_choice_on() -> None:
    serving = Serving()
    serving.arrives(*numbered("blocks", 20))
    serving.take(catalogue(1, BLOCKS))
    assert serving.choice is None
    # The first one, for what is there already.
    assert serving.arrives(begun=True)
    assert serving.model == SPECIALIST
    serving.take(catalogue(2, family("blocks", GENERALIST)))
    assert not serving.arrives(*numbered("blocks", 20, 60), begun=True)
    assert serving.model == SPECIALIST
    serving.begin_run()
    assert serving.arrives(*numbered("blocks", 20))
    assert serving.model == GENERALIST
    assert_served(serving.told, SPECIALIST, GENERALIST)


def test_each_run_is_chosen_for_anew_and_the_choice_stays_until_then() -> None:
    serving = Serving()
    serving.take(catalogue(1, BLOCKS))
    assert serving.arrives(*numbered("other", 20))
    assert serving.model == GENERALIST
    serving.begin_run()
    assert serving.model == GENERALIST
    assert serving.arrives(*numbered("blocks", 20))
    assert serving.model == SPECIALIST
    assert serving.choices == {GENERALIST: 1, SPECIALIST: 1}
    assert_served(serving.told, GENERALIST, SPECIALIST)


def test_in_the_middle_of_a_run_only_another_family_is_chosen_for() -> None:
    serving = Serving()
    serving.take(catalogue(1, BLOCKS))
    serving.arrives(*numbered("other", 20))
    assert not serving.arrives(*numbered("other", 20, 100), begun=True)
    # Too few to be another graph.
    assert not serving.arrives(*numbered("blocks", 20), begun=True)
    assert serving.model == GENERALIST
    assert serving.arrives(*numbered("blocks", 20, 100), begun=True)
    assert serving.model == SPECIALIST
    assert not serving.arrives(*numbered("blocks", 100, 1000), begun=True)
    assert serving.choices.total() == 2


def test_before_anything_has_begun_a_little_more_is_enough() -> None:
    serving = Serving()
    serving.take(catalogue(1, BLOCKS))
    serving.arrives(*numbered("other", 20))
    assert serving.arrives(*numbered("blocks", 3))
    assert serving.model == SPECIALIST


def test_one_task_after_the_other_is_chosen_for_a_few_times(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    serving = Serving()
    serving.take(catalogue(1))
    asked: list[int] = []
    choose = serving.fake.choose
    monkeypatch.setattr(serving.fake, "choose", lambda: (asked.append(1), choose())[1])
    for number in range(2000):
        serving.arrives(f"inc-{number}", begun=True)
    assert len(asked) < 22
    assert serving.choices == {GENERALIST: 1}


def test_the_same_tasks_again_are_no_other_graph() -> None:
    serving = Serving()
    serving.take(catalogue(1, BLOCKS))
    serving.arrives(*numbered("blocks", 20))
    assert not serving.arrives(*numbered("blocks", 20))
    assert len(serving.fake.tasks) == 20


def test_of_a_run_that_never_rests_not_all_is_followed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model_serving, "MOST_TASKS", 100)
    serving = Serving()
    for number in range(0, 1000, 50):
        serving.arrives(*numbered("inc", number, number + 50), begun=True)
    assert len(serving.fake.tasks) == 150
    serving.begin_run()
    serving.arrives(*numbered("inc", 50))
    assert len(serving.fake.tasks) == 50


# Dask alone


def test_dask_alone_has_no_network() -> None:
    serving = Serving()
    serving.take(catalogue(1, family("blocks", SPECIALIST, "clearly slower")))
    assert serving.arrives(*numbered("blocks", 20))
    assert serving.left_to_dask
    assert serving.model == BASELINE
    assert_served(serving.told)
    serving.begin_run()
    assert serving.left_to_dask
    assert serving.arrives(*numbered("other", 20))
    assert not serving.left_to_dask


def test_a_policy_that_brings_its_own_network_is_not_chosen_for() -> None:
    serving = Serving()
    serving.take(catalogue(1, family("blocks", SPECIALIST, "clearly slower")))
    serving.arrives(*numbered("blocks", 20))
    serving.serve(None)
    assert (serving.choice, serving.left_to_dask) == (None, False)
    assert not serving.arrives(*numbered("more", 100))
    serving.serve(serving.told)  # type: ignore[arg-type]
    serving.begin_run()
    assert serving.arrives(*numbered("other", 20))


def test_what_is_in_force_is_served_to_a_policy_that_takes_the_others_place() -> None:
    serving = Serving()
    serving.take(catalogue(1, BLOCKS))
    serving.arrives(*numbered("blocks", 20))
    other = Policy()
    serving.serve(other)  # type: ignore[arg-type]
    assert_served(other, SPECIALIST)


# What goes wrong


def test_a_model_that_failed_is_never_asked_again() -> None:
    serving = Serving()
    serving.take(catalogue(1, BLOCKS))
    serving.arrives(*numbered("blocks", 20))
    assert serving.switched_off("it raised")
    assert serving.left_to_dask
    assert not serving.switched_off("it raised")
    serving.begin_run()
    serving.arrives(*numbered("blocks", 20))
    assert serving.left_to_dask
    assert "failed so often that it is not asked" in serving.snapshot()["choice"]["why"]
    serving.begin_run()
    serving.arrives(*numbered("other", 20))
    assert serving.model == GENERALIST
    assert serving.snapshot()["switched_off"] == [SPECIALIST]
    assert ("switched off", SPECIALIST) in [(msg["event"], msg["model"]) for _, msg in serving.said]


def test_a_chooser_that_raises_is_a_problem_and_what_decides_goes_on() -> None:
    serving = Serving()
    serving.take(catalogue(1, BLOCKS))
    serving.arrives(*numbered("blocks", 20))
    serving.begin_run()
    serving.fake.error = ZeroDivisionError("odd")
    assert not serving.arrives(*numbered("other", 20))
    assert serving.problems.last == "no model can be chosen: ZeroDivisionError: odd"
    assert serving.model == SPECIALIST


def test_a_network_of_other_features_is_refused_and_the_catalogue_before_stays() -> None:
    serving = Serving()
    serving.take(catalogue(1))
    wrong = catalogue(2)
    wrong.networks[GENERALIST] = random_network(np.random.default_rng(0), 5, (0, 0))  # type: ignore[index]
    with pytest.raises(ValueError, match=f"{GENERALIST}, a network of 5 features; expected"):
        serving.take(wrong)
    assert serving.catalogue is serving.fake.catalogue
    assert serving.snapshot()["catalogue"]["number"] == 1


def test_a_family_that_the_chooser_refuses_leaves_the_catalogue_before() -> None:
    serving = Serving()
    serving.take(catalogue(1))
    wrong = catalogue(2, BLOCKS)
    wrong.families[0].fingerprint.clear()  # type: ignore[attr-defined]
    try:
        with pytest.raises(ValueError, match="without a prefix"):
            serving.take(wrong)
    finally:
        wrong.families[0].fingerprint["prefix"] = "blocks"  # type: ignore[index]
    assert serving.snapshot()["catalogue"]["number"] == 1


def test_without_a_chooser_nothing_is_ever_chosen() -> None:
    serving = Serving(chooser=False)
    serving.take(catalogue(1, BLOCKS))
    serving.begin_run()
    assert not serving.arrives(*numbered("blocks", 20))
    assert serving.snapshot()["catalogue"]["families"] == ["blocks"]


def test_the_chooser_is_made_by_its_name_and_has_chosen_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(model_serving, "CHOOSER", "fake_chooser.FakeChooser")
    chooser: Any = asyncio.run(load_chooser(7))
    assert isinstance(chooser, FakeChooser)
    assert (chooser.seed, chooser.runs, chooser.tasks) == (7, 1, [])


# What the chooser is told


def collected(tasks: list[Task], told: set[Any]) -> dict[Any, ArrivingTask]:
    found = collect(tasks, told)  # type: ignore[arg-type]
    by_key = {task[0]: task for task in found}
    assert len(by_key) == len(found)
    return by_key


def test_arrays_of_an_earlier_run_are_given_and_what_made_them_is_not_told() -> None:
    forgotten = Task("load-0")
    kept = Task("chunk-0", {forgotten}, "memory")
    data = Task("data-0", run_spec=None)
    product = Task("product-0", {kept, data})
    told: set[Any] = set()
    found = collected([product], told)
    assert found["chunk-0"] == ("chunk-0", "chunk", (), True)
    assert found["data-0"] == ("data-0", "data", (), True)
    assert found["product-0"][1] == "product"
    assert set(found["product-0"][2]) == {"chunk-0", "data-0"}
    assert not found["product-0"][3]
    assert told == set(found) == {"chunk-0", "data-0", "product-0"}
    # The next graph of the run: what is known is passed over, but as a dependency.
    assert collected([product, kept, Task("sum-0", {product})], told) == {
        "sum-0": ("sum-0", "sum", ["product-0"], False)
    }


def test_what_has_to_be_computed_first_is_told_as_well() -> None:
    first = Task("load-0", state="waiting")
    second = Task("chunk-0", {first}, "released")
    found = collected([Task("sum-0", {second})], set())
    assert {key: (task[2], task[3]) for key, task in found.items()} == {
        "load-0": ([], False),
        "chunk-0": (["load-0"], False),
        "sum-0": (["chunk-0"], False),
    }


# What users are told


def test_what_happens_is_counted_and_logged_in_one_line(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "dask_mlsched")
    said: list[tuple[str, Any]] = []
    events = ModelEvents(lambda topic, msg: said.append((topic, msg)))
    events.happened(Happened("created", "0.90\nof before", SPECIALIST, "blocks", {"overall": 0.9}))
    events.happened(Happened("sent back", "slower", BASELINE, "blocks", {}))
    events.happened(Happened("rolled back", "worse", None, None, {}))
    assert [record.levelname for record in caplog.records] == ["INFO", "WARNING", "WARNING"]
    assert [record.getMessage() for record in caplog.records] == [
        f"mlsched: created: {SPECIALIST}, family blocks: 0.90 of before",
        "mlsched: sent back: Dask alone, family blocks: slower",
        "mlsched: rolled back: no model: worse",
    ]
    assert {topic for topic, _ in said} == {TOPIC}
    assert events.snapshot()["events"] == {"created": 1, "sent back": 1, "rolled back": 1}
    assert events.snapshot()["last_event"] == said[-1][1]
    assert said[0][1] == {
        "event": "created",
        "model": SPECIALIST,
        "family": "blocks",
        "reason": "0.90\nof before",
        "figures": {"overall": 0.9},
    }
