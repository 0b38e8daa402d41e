"""Fit a scoring network to labelled decisions.

AdamW on the loss of `dask_mlsched.learning.loss`: its first fifth of the steps on the weighted
cross entropy, then on the expected cost. What comes out is the network of the epoch whose loss is
least on decisions that were held out; once that has not become better for a while, it ends.
Everything random comes from the seed, and after each epoch all that there is may be written to a
state file, so that a fit that was killed goes on and ends with the very same weights.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import torch

from dask_mlsched.core.network import Network
from dask_mlsched.learning import loss
from dask_mlsched.learning.decisions import Decisions, InvalidDecisionsError
from dask_mlsched.learning.fit_state import load_state, save_state
from dask_mlsched.learning.holdout import Figures, judge, split
from dask_mlsched.learning.network import HIDDEN, ScoringNetwork

#: Gradients are cut to this length: one decision with a huge cost must not undo the others.
_GRADIENT_LIMIT = 1.0


@dataclass(frozen=True)
class FitSettings:
    """How a network is fitted."""

    hidden: tuple[int, int] = HIDDEN
    #: Times that all decisions are gone through, at most.
    epochs: int = 100
    #: Decisions of one step.
    batch: int = 64
    learning_rate: float = 3e-3
    weight_decay: float = 1e-3
    #: Share of the decisions that are held out.
    holdout: float = 0.2
    #: Epochs without a better network after which it ends, counted behind the warm-up.
    patience: int = 40
    #: Share of the steps on the weighted cross entropy.
    warm_up: float = 0.2
    seed: int = 0
    #: "cpu", or "cuda" where there is one.
    device: str = "cpu"


@dataclass(frozen=True)
class Epoch:
    """How a fit stands after an epoch."""

    #: From 1 on, and how many there will be at most.
    number: int
    epochs: int
    warming_up: bool
    #: Means over the decisions learnt from, as learnt, and those held out, of the expected cost.
    loss: float
    holdout_loss: float
    #: Of those held out.
    figures: Figures
    #: Whether it is the best so far.
    best: bool


@dataclass(frozen=True)
class Fit:
    """A network, and how it came about."""

    network: Network
    epochs: tuple[Epoch, ...]

    @property
    def best(self) -> Epoch:
        """The epoch that the network is of."""
        return next(epoch for epoch in reversed(self.epochs) if epoch.best)


OnEpoch: TypeAlias = Callable[[Epoch], None]
_Tensors: TypeAlias = tuple[torch.Tensor, torch.Tensor, torch.Tensor]


def fit(
    decisions: Decisions,
    settings: FitSettings | None = None,
    *,
    start: Network | None = None,
    baseline: npt.NDArray[np.intp] | None = None,
    on_epoch: OnEpoch | None = None,
    state: Path | None = None,
) -> Fit:
    """Fit a network.

    Parameters
    ----------
    decisions
        N of them; those in which fewer than two actions have a cost are left out.
    settings
        How.
    start
        A network to go on from, whose mean and scale are kept; otherwise those of `decisions`.
    baseline
        [N] the actions of another policy, to compare with.
    on_epoch
        Called after each epoch. What it raises ends the fit; the state file is written by then.
    state
        A file to go on from if it is there, and to write after each epoch.

    Raises
    ------
    InvalidDecisionsError
        If fewer than two decisions are left.
    ValueError
        If `start` takes other features or has other hidden layers.
    dask_mlsched.learning.fit_state.FitStateError
        If the state is of another fit, or damaged.
    dask_mlsched.core.network.InvalidNetworkError
        If it did not converge.
    """
    settings = settings or FitSettings()
    useful = np.flatnonzero(decisions.labelled.sum(1) >= 2)
    if len(useful) < 2:
        msg = (
            f"{len(useful)} of {len(decisions)} decisions have costs for two actions or more; "
            "expected two such decisions at least: label more"
        )
        raise InvalidDecisionsError(msg)
    if baseline is not None:
        baseline = baseline[useful]
    run = _Run(decisions.take(useful), baseline, settings, start)
    if state is not None:
        run.restore(load_state(state, run.identity))
    while not run.over:
        epoch = run.step()
        if state is not None:
            save_state(state, run.identity, run.state())
        if on_epoch is not None:
            on_epoch(epoch)
    return Fit(run.network(), tuple(run.epochs))


class _Run:
    """A fit under way."""

    def __init__(
        self,
        decisions: Decisions,
        baseline: npt.NDArray[np.intp] | None,
        settings: FitSettings,
        start: Network | None,
    ) -> None:
        self._settings = settings
        self.identity = _identity(decisions, settings, start)
        self.epochs: list[Epoch] = []
        learnt, held = split(decisions, settings.holdout, np.random.default_rng(settings.seed))
        self._held = decisions.take(held)
        self._baseline = None if baseline is None else baseline[held]
        self._generator = torch.Generator().manual_seed(settings.seed)
        self._model = self._begun(decisions.take(learnt), start)
        self._optimizer = torch.optim.AdamW(
            self._model.parameters(),
            lr=settings.learning_rate,
            weight_decay=settings.weight_decay,
            # One call a step instead of one for each tensor.
            fused=True,
        )
        self._data = _tensors(decisions.take(learnt), settings.device)
        self._held_data = _tensors(self._held, settings.device)
        self._best = {name: value.clone() for name, value in self._model.state_dict().items()}

    def _begun(self, decisions: Decisions, start: Network | None) -> ScoringNetwork:
        hidden, generator = self._settings.hidden, self._generator
        if start is None:
            mean, scale = decisions.standard()
            model = ScoringNetwork(mean, scale, hidden, generator=generator)
        else:
            found, expected = start.mean.size, decisions.features.shape[2]
            if found != expected:
                msg = (
                    f"start takes {found} features; expected the {expected} of the decisions: "
                    "start from a network that was fitted to the same features"
                )
                raise ValueError(msg)
            model = ScoringNetwork.from_network(start, hidden, generator=generator)
        return model.to(self._settings.device)

    @property
    def over(self) -> bool:
        """Whether there is no epoch left, or no hope."""
        done = len(self.epochs)
        if done >= self._settings.epochs:
            return True
        best = max((epoch.number for epoch in self.epochs if epoch.best), default=0)
        warm = math.ceil(self._settings.warm_up * self._settings.epochs)
        return done - max(best, warm) >= self._settings.patience

    def step(self) -> Epoch:
        """Go through all decisions once."""
        count, settings = len(self._data[0]), self._settings
        steps = math.ceil(count / settings.batch)
        done = len(self.epochs) * steps
        warm = settings.warm_up * settings.epochs * steps
        order = torch.randperm(count, generator=self._generator).to(settings.device)
        total = torch.zeros((), device=settings.device)
        for number, batch in enumerate(order.split(settings.batch)):
            features, costs, legal = (tensor[batch] for tensor in self._data)
            lost = loss.weighted_cross_entropy if done + number < warm else loss.expected_cost
            value = lost(self._model(features), costs, legal)
            self._optimizer.zero_grad()
            value.backward()
            torch.nn.utils.clip_grad_norm_(self._model.parameters(), _GRADIENT_LIMIT)
            self._optimizer.step()
            total += value.detach() * len(batch)
        epoch = self._judged(float(total) / count, warming_up=done < warm)
        if epoch.best:
            self._best = {name: value.clone() for name, value in self._model.state_dict().items()}
        self.epochs.append(epoch)
        return epoch

    def _judged(self, learnt: float, *, warming_up: bool) -> Epoch:
        features, costs, legal = self._held_data
        with torch.no_grad():
            scores = self._model(features)
            lost = float(loss.expected_cost(scores, costs, legal))
        figures = judge(scores[..., 0].cpu().numpy(), self._held, self._baseline)
        # Not by the regret of the choices: one decision with a huge cost would choose the epoch.
        best = lost < min((epoch.holdout_loss for epoch in self.epochs), default=math.inf)
        number = len(self.epochs) + 1
        return Epoch(number, self._settings.epochs, warming_up, learnt, lost, figures, best)

    def network(self) -> Network:
        """Return the best network."""
        self._model.load_state_dict(self._best)
        return self._model.export()

    def state(self) -> dict[str, Any]:
        """Return all that `restore` needs."""
        return {
            "model": self._model.state_dict(),
            "best": self._best,
            "optimizer": self._optimizer.state_dict(),
            "generator": self._generator.get_state(),
            "epochs": [asdict(epoch) for epoch in self.epochs],
        }

    def restore(self, state: dict[str, Any] | None) -> None:
        """Go on from a state, if there is one."""
        if state is None:
            return
        self._model.load_state_dict(state["model"])
        self._best = {name: v.to(self._settings.device) for name, v in state["best"].items()}
        self._optimizer.load_state_dict(state["optimizer"])
        self._generator.set_state(state["generator"])
        self.epochs = [
            Epoch(**(epoch | {"figures": Figures(**epoch["figures"])})) for epoch in state["epochs"]
        ]


def _tensors(decisions: Decisions, device: str) -> _Tensors:
    # What is behind the last action may be anything, but not what makes gradients NaN.
    features = np.where(decisions.legal[..., None], decisions.features, 0)
    arrays = (features, decisions.costs, decisions.legal)
    first, second, third = (torch.from_numpy(np.ascontiguousarray(a)).to(device) for a in arrays)
    return first, second, third


def _identity(decisions: Decisions, settings: FitSettings, start: Network | None) -> dict[str, str]:
    """Tell fits apart whose states are not each other's."""
    crc = 0
    for array in () if start is None else start:
        crc = zlib.crc32(array.data, crc)
    return {name: str(value) for name, value in asdict(settings).items()} | {
        "decisions": f"{len(decisions)} (checksum {decisions.checksum():08x})",
        "start": f"(checksum {crc:08x})",
    }
