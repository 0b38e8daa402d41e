from __future__ import annotations

import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dask_mlsched.core.network import Network, check
from dask_mlsched.learning import trainer
from dask_mlsched.learning.decisions import Decisions
from dask_mlsched.learning.fit import FitSettings
from dask_mlsched.learning.fit_state import FitStateError
from dask_mlsched.learning.labelled_rounds import LabelledRounds
from dask_mlsched.learning.labelling import LabelSettings
from dask_mlsched.learning.search import SearchSettings
from dask_mlsched.learning.trainer import STATE, train
from dask_mlsched.learning.training import Trained, TrainingError, TrainSettings
from dask_mlsched.learning.verdict import Verdict
from learning.instances import few

TESTS = Path(__file__).resolve().parent.parent

SEARCH = SearchSettings(population=6, elites=3, rounds=3)
SETTINGS = TrainSettings(
    search=SEARCH,
    judge_every=2,
    rounds=2,
    label=LabelSettings(decisions=4, by_score=1, random=1),
    fit=FitSettings(hidden=(4, 4), epochs=2, warm_up=0.0),
    refine=replace(SEARCH, rounds=2, sigma=0.1),
)


def trained(folder: Path, settings: TrainSettings = SETTINGS, **options: Any) -> Trained:
    return train(few(), settings, folder, **options)


def weights(network: Network) -> list[list[float]]:
    return [array.ravel().tolist() for array in network]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    return trained(tmp_path_factory.mktemp("whole"))


def test_all_stages_are_gone_through_and_the_best_network_is_kept(whole: Trained):
    check(whole.network)
    assert whole.network is whole.best or whole.network is whole.linear
    assert [(point.stage, point.fits, point.number) for point in whole.curve] == [
        *(("search", 0, 2), ("search", 0, 3), ("learn", 1, 0), ("refine", 1, 2)),
        *(("learn", 2, 0), ("refine", 2, 2)),
    ]
    instances = few()
    held = Verdict(tuple(instances[place].run(whole.best) for place in (1, 3)))
    assert held.cost == min(point.cost for point in whole.curve)
    assert [p.best for p in whole.curve][-1] == (held.cost == whole.curve[-1].cost)
    assert whole.ended == "rounds"
    assert whole.linear.w3.size == 0
    assert [point.decisions for point in whole.curve] == [0, 0, 8, 8, 16, 16]


def test_a_network_has_to_be_better_than_the_linear_score_by_a_margin(
    whole: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(trainer, "MARGIN", 1.0)
    assert trained(tmp_path).network.w3.size == 0
    monkeypatch.setattr(trainer, "MARGIN", -1.0)
    assert weights(trained(tmp_path).network) == weights(whole.best)


@pytest.mark.parametrize("processes", [1, 2])
def test_the_same_seed_gives_the_same_network(whole: Trained, tmp_path: Path, processes: int):
    again = trained(tmp_path, processes=processes)
    assert weights(again.best) == weights(whole.best)
    assert [replace(p, seconds=0) for p in again.curve] == [
        replace(p, seconds=0) for p in whole.curve
    ]


def test_another_seed_gives_another_network(whole: Trained, tmp_path: Path):
    other = trained(tmp_path, replace(SETTINGS, seed=1, rounds=0))
    assert weights(other.linear) != weights(whole.linear)


DEADLY = """
import os, signal, sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from dask_mlsched.learning import trainer
from learning.instances import few
from learning.test_trainer import SETTINGS

left = int(sys.argv[3])

def save_and_die(*arguments, save=trainer.save_state):
    global left
    save(*arguments)
    left -= 1
    if left == 0:
        os.kill(os.getpid(), signal.SIGKILL)

trainer.save_state = save_and_die
trainer.train(few(), SETTINGS, Path(sys.argv[1]))
"""


# In the search, before a fit, in a refinement.
@pytest.mark.parametrize(
    "saves", [2, *(pytest.param(saves, marks=pytest.mark.slow) for saves in (4, 6))]
)
def test_a_training_that_was_killed_goes_on_to_the_same_network(
    whole: Trained, tmp_path: Path, saves: int
):
    arguments = [sys.executable, "-c", DEADLY, str(tmp_path), str(TESTS), str(saves)]
    killed = subprocess.run(arguments, check=False, env=os.environ)
    assert killed.returncode == -signal.SIGKILL
    # As if it had been killed while it was writing the decisions of the next round.
    LabelledRounds(tmp_path).path(2).write_bytes(b"torn")
    told = []
    after = trained(tmp_path, on_progress=lambda text, share, point: told.append(text))
    assert "looking at decisions" not in told
    assert weights(after.best) == weights(whole.best)
    assert [replace(p, seconds=0) for p in after.curve] == [
        replace(p, seconds=0) for p in whole.curve
    ]


def test_a_training_that_is_over_stays_as_it_is(whole: Trained, tmp_path: Path):
    first = trained(tmp_path)
    again = trained(tmp_path)
    assert weights(again.best) == weights(first.best) == weights(whole.best)
    assert again.curve == first.curve


def test_it_goes_on_only_with_what_it_began_with(tmp_path: Path):
    settings = replace(SETTINGS, rounds=0)
    trained(tmp_path, settings)
    with pytest.raises(FitStateError, match=r"with seed 0; expected seed 1; remove the file"):
        trained(tmp_path, replace(settings, seed=1))
    state = (tmp_path / STATE).read_bytes()
    (tmp_path / STATE).write_bytes(state[: len(state) // 2])
    with pytest.raises(FitStateError, match="damaged"):
        trained(tmp_path, settings)


def test_a_budget_ends_it_and_more_lets_it_go_on(whole: Trained, tmp_path: Path):
    seconds = iter(range(10_000))
    short = replace(SETTINGS, budget=5.0)
    first = trained(tmp_path, short, clock=lambda: float(next(seconds)))
    assert first.ended == "budget"
    assert len(first.curve) < len(whole.curve)
    after = trained(tmp_path)
    assert after.ended == "rounds"
    assert weights(after.best) == weights(whole.best)


def test_decisions_of_other_runs_are_learnt_from_besides(whole: Trained, tmp_path: Path):
    rng = np.random.default_rng(0)
    more = Decisions.from_arrays(rng.random((5, 3, 32)), rng.random((5, 3)))
    settings = replace(SETTINGS, rounds=1)
    assert trained(tmp_path, settings, more=more).curve[-1].decisions == 13


def test_there_has_to_be_something_to_train_on(tmp_path: Path):
    with pytest.raises(TrainingError, match="no instances to train on"):
        train([], SETTINGS, tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"holdout": 0}, "holdout is 0; expected at least 1"),
        ({"budget": 0.0}, r"a budget of 0\.0 seconds; expected more than 0"),
    ],
)
def test_settings_that_make_no_sense_are_refused(change, message: str):
    with pytest.raises(TrainingError, match=message):
        replace(SETTINGS, **change)
