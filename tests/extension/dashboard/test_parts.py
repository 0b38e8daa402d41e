"""Each part by itself, on states that no short run has: many devices, models, failures."""

from __future__ import annotations

from collections import Counter
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from bokeh.models import DataTable, Div
from bokeh.models.widgets import Select

from core.networks import random_network
from dask_mlsched.core.model_choice import BASELINE, Belief, Catalogue, Choice, KnownFamily, Origin
from dask_mlsched.extension.dashboard.decisions_part import KINDS, DecisionsPart
from dask_mlsched.extension.dashboard.models_part import ModelsPart
from dask_mlsched.extension.dashboard.residency_part import SHOWN, ResidencyPart
from dask_mlsched.extension.dashboard.transfers_part import TransfersPart
from dask_mlsched.extension.explanation import REASONS
from dask_mlsched.extension.history import DeviceSample, Sample
from dask_mlsched.extension.observation import Observation
from dask_mlsched.extension.run_comparison import RunComparison, RunFigures
from dask_mlsched.extension.run_watch import WatchedRun

EVIL = "<img src=x onerror=alert(1)>"


def sample(number: int, devices: int = 1, **fields: Any) -> Sample:
    each = DeviceSample(100, 50 + number, 10, 7, 1000 * number, 500 * number)
    return Sample(
        number,
        1e9 + number,
        fields.pop("parked", 3),
        fields.pop("reasons", {}),
        fields.pop("holds", 0),
        0.001,
        0.01,
        1000 * number,
        500 * number,
        {f"tcp://h:{place}": each for place in range(devices)},
    )


def observed(*samples: Sample) -> Observation:
    observation = Observation(0.5)
    observation.history.samples.extend(samples)
    return observation


def figures(seconds: float, nbytes: int) -> RunFigures:
    return RunFigures(seconds, nbytes, nbytes // 2)


def compared(taken: float = 2.0, dask: float = 3.0) -> RunComparison:
    return RunComparison(
        measured=figures(2.1, 100),
        taken=figures(taken, 100),
        dask=figures(dask, 300),
        rivals={"greedy-hold": figures(2.5, 200)},
        bound=figures(1.0, 10),
    )


def texts(part: Any) -> str:
    return " ".join(div.text for div in part.root.select({"type": Div}))


# Residency


def test_eight_devices_are_shown_and_the_others_can_be_chosen():
    observation = observed(*(sample(number, devices=20) for number in (1, 2)))
    part = ResidencyPart(observation)
    part.update()
    (select,) = part.root.select({"type": Select})
    assert select.visible
    assert select.options == ["from 1 on", "from 9 on", "from 17 on"]
    assert [each.root.visible for each in part._panels] == [True] * SHOWN
    first = part._panels[0].root.title.text
    select.value = select.options[2]
    part.update()
    assert [each.root.visible for each in part._panels] == [True] * 4 + [False] * 4
    assert part._panels[0].root.title.text != first
    observation.history.samples.append(sample(3, devices=21))  # another one joined
    part.update()
    assert select.value == "from 17 on"
    assert [each.root.visible for each in part._panels] == [True] * 5 + [False] * 3


def test_only_what_is_new_is_sent():
    observation = observed(sample(1), sample(2))
    part = ResidencyPart(observation)
    part.update()
    source = part._source
    assert list(source.data["resident 0"]) == [51, 52]
    assert np.isnan(source.data["resident 7"]).all()
    part.update()
    assert list(source.data["resident 0"]) == [51, 52]
    observation.history.samples.append(sample(3))
    part.update()
    assert list(source.data["resident 0"]) == [51, 52, 53]


def test_before_there_is_a_device_the_page_says_so():
    part = ResidencyPart(observed())
    part.update()
    assert "No device yet" in texts(part)
    assert not any(each.root.visible for each in part._panels)


# Transfers


def test_speeds_are_differences_of_samples():
    observation = observed(sample(1), sample(2), sample(4))
    part = TransfersPart(observation)
    part.update()
    speeds = part._speeds
    assert list(speeds.data["loaded"]) == [1000, 1000]
    assert list(speeds.data["evicted"]) == [-500, -500]
    observation.history.samples.append(sample(5))
    part.update()
    assert list(speeds.data["loaded"]) == [1000, 1000, 1000]


def test_a_run_stands_beside_dask_alone_or_says_why_not():
    observation = observed(sample(1))
    observation.runs.runs += [
        WatchedRun(1, 0.0, 100, "learned", None, compared()),
        WatchedRun(2, 0.0, 200, "learned", None, problem="it has more than 5 events"),
        WatchedRun(3, 0.0, 300, "learned", None),
    ]
    part = TransfersPart(observation)
    part.update()
    assert part._rows.data["run"] == ["3", "2", "1"]
    assert part._rows.data["note"] == [
        "not simulated: nobody looked when it ended",
        "it has more than 5 events",
        "",
    ]
    assert part._rows.data["error"][2] == "-5%"
    assert list(part._bars.data["nbytes"]) == [100, 300, 10, 50, 150, 5]
    assert "Run 1 moved <b>0.33</b> of what Dask alone would have moved" in texts(part)


def test_where_nobody_moves_anything_no_ratio_is_told():
    observation = observed(sample(1))
    nothing = figures(1.0, 0)
    still = RunComparison(nothing, nothing, nothing, {}, nothing)
    observation.runs.runs.append(WatchedRun(1, 0.0, 9, "learned", None, still))
    part = TransfersPart(observation)
    part.update()
    assert "neither we nor Dask alone" in texts(part)


# Decisions


def deciding(observation: Observation, **guard: Any) -> Any:
    chooser = SimpleNamespace(
        reasons=Counter(policy=5, fits=2),
        total_seconds=0.25,
        guard=SimpleNamespace(off=guard.get("off", False)),
        policy_failures=guard.get("failures", 0),
        last_policy_failure=guard.get("last_failure"),
    )
    return SimpleNamespace(
        observation=observation,
        controller=SimpleNamespace(chooser=chooser, holds=3, hold_seconds=0.5),
        config=SimpleNamespace(time_budget=0.05),
        dispatcher=SimpleNamespace(decided={}, held=[]),
    )


def test_every_reason_is_of_one_kind():
    assert sorted(each for reasons, _ in KINDS.values() for each in reasons) == sorted(REASONS)


def test_rates_are_differences_and_never_below_0():
    observation = observed(
        sample(1, reasons={"policy": 5, "fits": 1}, holds=1),
        sample(2, reasons={"policy": 9, "fits": 1}, holds=2),
        sample(3, reasons={"policy": 2}),  # counted by a new controller
    )
    part = DecisionsPart(deciding(observation))
    part.update()
    rates = part._figures.data
    assert list(rates["RUN, as the policy chose"]) == [4, 0]
    assert list(rates["HOLD"]) == [1, 0]
    assert list(rates["all"]) == [5, 0]


def test_a_policy_that_fails_is_shown_as_text():
    plugin = deciding(observed(), failures=10, off=True, last_failure=EVIL)
    part = DecisionsPart(plugin)
    part.update()
    shown = texts(part)
    assert "Failures of the policy: 10; it is switched off" in shown
    assert EVIL not in shown
    assert "&lt;img" in shown


def test_without_a_controller_nothing_is_decided():
    plugin = deciding(observed())
    plugin.controller = None
    part = DecisionsPart(plugin)
    part.update()
    assert "nothing is decided" in texts(part)


# Models


def training(observation: Observation, **fields: Any) -> Any:
    ref, parent = "generalist/v0002", "generalist/v0001"
    catalogue = Catalogue(
        1,
        ref,
        (Belief(BASELINE, 0.0, 0.0), Belief(ref, np.log(2), 0.1, 4)),
        (KnownFamily(EVIL, {}, (Belief(ref, 0.0, 0.0, 9),), "slower"),),
        {ref: random_network(np.random.default_rng(0), 3, (2, 2))},
        lineage={
            ref: Origin("merge", (parent,), "2026-01-02T03:04:05.000Z", EVIL),
            parent: Origin("shipped", (), "2026-01-01T00:00:00.000Z", "it ships"),
        },
    )
    choice = Choice(ref, None, None, 0.5, None, "it is believed to be best", ())
    events = [(0.0, {"event": "chosen", "model": ref, "why": "so"}), (1.0, "no dictionary")]
    values = {
        "observation": observation,
        "mode": "manage",
        "policy_name": "learned",
        "manages": True,
        "networks": SimpleNamespace(
            models=SimpleNamespace(catalogue=catalogue, choice=choice), model=ref
        ),
        "specialising": None,
        "scheduler": SimpleNamespace(get_events=lambda topic: events),
        **fields,
    }
    return SimpleNamespace(**values)


def test_beliefs_lineage_and_events_are_tables_of_text():
    part = ModelsPart(training(observed()))
    part.update()
    assert part._library.visible
    assert part._beliefs.data["gain"] == ["1.00", "0.50 (0.45–0.55)", "1.00"]
    assert part._beliefs.data["note"] == ["", "", "left to Dask: slower"]
    assert part._lineage.data["parents"] == ["generalist/v0001", "nothing"]
    assert part._lineage.data["date"][0] == "2026-01-02 03:04:05"
    assert part._events.data["event"] == ["", "chosen"]
    shown = texts(part)
    assert "generalist/v0002" in shown
    assert "it is believed to be best" in shown
    # What is of a user stands in tables, which Bokeh escapes, and nowhere else.
    assert EVIL not in shown
    assert len(list(part.root.select({"type": DataTable}))) == 3


@pytest.mark.parametrize("changes", [{"mode": "observe"}, {"policy_name": "stock"}])
def test_where_dask_decides_no_model_does(changes: dict[str, str]):
    networks = SimpleNamespace(models=None, model=None)
    part = ModelsPart(training(observed(), networks=networks, manages=False, **changes))
    part.update()
    assert "No model decides now." in texts(part)


@pytest.mark.parametrize(
    ("policy", "words"),
    [("learned", "The network that ships"), ("greedy", "hand-written"), ("specialised", "fitted")],
)
def test_without_training_there_is_no_library(policy: str, words: str):
    networks = SimpleNamespace(models=None, model=None)
    part = ModelsPart(training(observed(), networks=networks, policy_name=policy))
    part.update()
    assert not part._library.visible
    assert words in texts(part)


@pytest.mark.parametrize(
    ("told", "words"),
    [
        ({"ready": False}, "still starting"),
        ({"ready": True, "arm": None}, "No graph"),
        (
            {"ready": True, "arm": "own", "evaluations": 1234, "foretold_makespan": 0.5},
            "<b>own</b> was the best of 1,234 simulated runs, foretold to take 0.50",
        ),
    ],
)
def test_what_specialising_has_found(told: dict[str, Any], words: str):
    specialising = SimpleNamespace(snapshot=lambda: told)
    part = ModelsPart(training(observed(), specialising=specialising))
    part.update()
    assert words in texts(part)


def test_the_regret_of_each_run_that_was_simulated():
    observation = observed()
    observation.runs.runs += [
        WatchedRun(1, 0.0, 100, "learned", "m/v1", compared()),
        WatchedRun(2, 0.0, 100, "stock", None, compared(taken=3.5)),
        WatchedRun(3, 0.0, 100, "learned", None),
    ]
    part = ModelsPart(training(observation))
    part.update()
    assert part._bars.data["x"] == ["run 1", "run 2"]
    assert part._bars.data["regret"] == [0.0, 1.0]
    assert part._bars.data["best"] == ["as it ran", "greedy-hold"]
    assert part._bars.data["policy"] == ["learned, m/v1", "stock"]
    assert part._bars.data["share"][1] == pytest.approx(1 / 3.5)
