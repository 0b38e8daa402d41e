"""A fit finds what costs little, tells how it stands, and goes on where it was killed."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from core.networks import random_network
from dask_mlsched.core.network import Network, forward, hidden_of, linear
from dask_mlsched.learning.decisions import Decisions, InvalidDecisionsError
from dask_mlsched.learning.fit import Epoch, Fit, FitSettings, fit
from dask_mlsched.learning.fit_state import FitStateError
from dask_mlsched.learning.network import ScoringNetwork
from learning.synthetic import FEATURES, HOLD, run_or_hold

QUICK = FitSettings(hidden=(8, 8), epochs=5)
TESTS = Path(__file__).resolve().parent.parent


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Two threads on a busy machine are slower than one for networks so small."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def unseen() -> Decisions:
    return run_or_hold(4_000, seed=99)


def mean_cost(network: Network, decisions: Decisions) -> float:
    """Return what the served network's choices cost."""
    out = np.empty((2, 2), np.float32)
    total = 0.0
    for x, costs in zip(decisions.features, decisions.costs, strict=True):
        forward(network, x, out)
        total += costs[out[:, 0].argmax()]
    return total / len(decisions)


def regression(decisions: Decisions, steps: int = 1_000) -> Network:
    """Fit the same network to differences of costs by least squares, as others would."""
    generator = torch.Generator().manual_seed(0)
    model = ScoringNetwork(*decisions.standard(), generator=generator)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, fused=True)
    x, y = torch.tensor(decisions.features), -torch.tensor(decisions.costs)
    for _ in range(steps):
        batch = torch.randint(len(x), (64,), generator=generator)
        f = model(x[batch])[..., 0]
        optimizer.zero_grad()
        ((f[:, 0] - f[:, 1]) - (y[batch, 0] - y[batch, 1])).square().mean().backward()
        optimizer.step()
    return model.export()


def same(a: Network, b: Network) -> bool:
    return all(np.array_equal(x, y) for x, y in zip(a, b, strict=True))


def test_expected_cost_beats_regression_and_always_running(unseen: Decisions):
    decisions = run_or_hold(2_000, seed=1)
    cost = mean_cost(fit(decisions, FitSettings(epochs=40)).network, unseen)
    assert cost < 0.2 * unseen.costs[:, 0].mean()
    assert cost < 0.2 * unseen.costs[:, HOLD].mean()
    assert cost < 0.5 * mean_cost(regression(decisions), unseen)


def test_the_regret_head_tells_how_much_is_at_stake(unseen: Decisions):
    network = fit(run_or_hold(1_000, seed=0), FitSettings(epochs=30)).network
    out = np.empty((2, 2), np.float32)
    told = []
    for x in unseen.features[:1_000]:
        forward(network, x, out)
        told.append(out[:, 1].max())
    assert np.corrcoef(told, np.log1p(unseen.costs[:1_000].max(1)))[0, 1] > 0.5


def test_the_seed_decides_everything():
    decisions = run_or_hold(200, seed=0)
    one, two = fit(decisions, QUICK), fit(decisions, QUICK)
    assert one.epochs == two.epochs
    assert same(one.network, two.network)
    assert not same(one.network, fit(decisions, replace(QUICK, seed=1)).network)


def test_figures_are_of_what_was_held_out():
    decisions = run_or_hold(300, seed=0)
    oracle = decisions.costs.argmin(1)
    heard: list[Epoch] = []
    done = fit(decisions, QUICK, baseline=oracle, on_epoch=heard.append)
    assert heard == list(done.epochs)
    assert [epoch.number for epoch in heard] == [1, 2, 3, 4, 5]
    assert [epoch.warming_up for epoch in heard] == [True, False, False, False, False]
    for epoch in heard:
        assert epoch.epochs == 5
        assert epoch.figures.baseline == 0
        assert epoch.figures.first > 0
        assert np.isfinite([epoch.loss, epoch.holdout_loss, epoch.figures.regret]).all()
    assert fit(decisions, QUICK).epochs[0].figures.baseline is None


def test_the_network_is_that_of_the_best_epoch():
    decisions = run_or_hold(300, seed=0)
    settings = replace(QUICK, epochs=30, learning_rate=0.1)
    done = fit(decisions, settings)
    assert done.best.holdout_loss == min(epoch.holdout_loss for epoch in done.epochs)
    assert done.best.number < len(done.epochs)
    assert not done.epochs[-1].best


def test_it_ends_when_it_gets_no_better():
    decisions = run_or_hold(100, seed=0)
    settings = replace(QUICK, epochs=400, patience=3, learning_rate=0.05, warm_up=0.02)
    done = fit(decisions, settings)
    assert len(done.epochs) == max(done.best.number, 8) + 3


def test_a_network_can_be_gone_on_from(unseen: Decisions):
    decisions = run_or_hold(500, seed=0)
    first = fit(decisions, FitSettings(epochs=20)).network
    second = fit(decisions, FitSettings(epochs=1, learning_rate=1e-6), start=first).network
    np.testing.assert_allclose(second.skip, first.skip, atol=1e-4)
    assert np.array_equal(second.mean, first.mean)


def test_a_linear_score_can_be_gone_on_from():
    start = linear(np.arange(FEATURES), mean=np.ones(FEATURES))
    done = fit(run_or_hold(100, seed=0), replace(QUICK, epochs=1, learning_rate=1e-6), start=start)
    assert hidden_of(done.network) == (8, 8)
    np.testing.assert_allclose(done.network.skip, start.skip, atol=1e-3)


def test_a_start_that_does_not_fit_is_refused():
    decisions = run_or_hold(100, seed=0)
    with pytest.raises(ValueError, match=f"takes 3 features; expected the {FEATURES}"):
        fit(decisions, QUICK, start=linear([1.0, 2.0, 3.0]))
    start = random_network(np.random.default_rng(0), FEATURES, (4, 4))
    with pytest.raises(ValueError, match=r"\(4, 4\) units, not \(8, 8\)"):
        fit(decisions, QUICK, start=start)


def test_decisions_without_a_choice_are_left_out():
    decisions = run_or_hold(100, seed=0)
    decisions.costs[60:, 1] = np.nan
    baseline = np.zeros(100, np.intp)
    cut = Decisions.from_arrays(decisions.features[:60], decisions.costs[:60])
    assert same(fit(decisions, QUICK, baseline=baseline).network, fit(cut, QUICK).network)
    decisions.costs[1:, 1] = np.nan
    with pytest.raises(InvalidDecisionsError, match=r"1 of 100 decisions .* label more"):
        fit(decisions, QUICK)


def test_what_is_behind_the_last_action_does_not_matter():
    decisions = run_or_hold(100, seed=0)
    features = np.concatenate([decisions.features, np.full((100, 1, FEATURES), np.nan)], axis=1)
    costs = np.concatenate([decisions.costs, np.full((100, 1), 5.0)], axis=1)
    wider = Decisions.from_arrays(features, costs, np.array([[True, True, False]] * 100))
    one, two = fit(decisions, QUICK).epochs, fit(wider, QUICK).epochs
    assert [e.loss for e in one] == pytest.approx([e.loss for e in two], rel=1e-4)
    assert [e.holdout_loss for e in one] == pytest.approx([e.holdout_loss for e in two], rel=1e-4)


CHILD = """
import os, signal, sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
import torch
from dask_mlsched.learning.fit import FitSettings, fit
from learning.synthetic import run_or_hold

torch.set_num_threads(1)

def on_epoch(epoch):
    if epoch.number == 4:
        os.kill(os.getpid(), signal.SIGKILL)

settings = FitSettings(hidden=(8, 8), epochs=9)
fit(run_or_hold(200, 0), settings, state=Path(sys.argv[1]), on_epoch=on_epoch)
"""


@pytest.mark.slow
def test_a_fit_that_was_killed_goes_on_to_the_same_weights(tmp_path: Path):
    state = tmp_path / "state.pt"
    arguments = [sys.executable, "-c", CHILD, str(state), str(TESTS)]
    assert subprocess.run(arguments, check=False, timeout=60).returncode == -signal.SIGKILL
    decisions, settings = run_or_hold(200, seed=0), replace(QUICK, epochs=9)
    heard: list[int] = []
    resumed = fit(decisions, settings, state=state, on_epoch=lambda e: heard.append(e.number))
    assert heard == [5, 6, 7, 8, 9]
    whole = fit(decisions, settings)
    assert resumed.epochs == whole.epochs
    assert same(resumed.network, whole.network)
    # Called once more, there is nothing left to do.
    assert same(fit(decisions, settings, state=state).network, whole.network)
    assert list(tmp_path.iterdir()) == [state]


@pytest.fixture
def state(tmp_path: Path) -> Path:
    path = tmp_path / "state.pt"
    fit(run_or_hold(50, seed=0), QUICK, state=path)
    return path


def refused(state: Path, **given: Any) -> str:
    arguments = {"decisions": run_or_hold(50, seed=0), "settings": QUICK, "state": state}
    with pytest.raises(FitStateError) as error:
        fit(**arguments | given)
    message = str(error.value)
    assert "\n" not in message
    assert repr(str(state)) in message
    assert "remove the file to begin anew" in message
    return message


def test_the_state_of_another_fit_is_refused(state: Path):
    other = refused(state, settings=replace(QUICK, seed=7))
    assert "of a fit with seed 0; expected seed 7" in other
    assert "decisions 50 (checksum" in refused(state, decisions=run_or_hold(50, seed=1))
    assert "start (checksum" in refused(state, start=linear(np.ones(FEATURES)))


@pytest.mark.parametrize("size", [0, 1, 100, -1])
def test_a_damaged_state_is_refused(state: Path, size: int):
    state.write_bytes(state.read_bytes()[:size])
    assert "damaged, or no state file" in refused(state)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ([1], "no state of a fit"),
        ({"format": "other"}, "no state of a fit"),
        ({"format": "mlsched-fit", "version": 2}, "version 2; expected 1"),
        ({"format": "mlsched-fit", "version": 1, "identity": {}}, "hidden None"),
    ],
)
def test_a_state_of_another_kind_is_refused(state: Path, content: Any, words: str):
    torch.save(content, state)
    assert words in refused(state)


def test_a_state_runs_no_code(state: Path):
    torch.save({"format": Fit}, state)
    assert "damaged, or no state file" in refused(state)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
def test_a_gpu_can_be_used(unseen: Decisions, tmp_path: Path):
    settings = FitSettings(epochs=20, device="cuda")
    state = tmp_path / "state.pt"
    done = fit(run_or_hold(2_000, seed=0), settings, state=state)
    assert mean_cost(done.network, unseen) < 0.4 * unseen.costs[:, 0].mean()
    assert same(fit(run_or_hold(2_000, seed=0), settings, state=state).network, done.network)
