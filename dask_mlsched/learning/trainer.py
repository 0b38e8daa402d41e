"""Training a network on simulated runs: search, then rounds of roll out, label, fit, refine.

1. *Search*: the cross-entropy method for a linear score, each round on one instance of every
   family, drawn at random.
2. *Learn*: run the best network so far on all instances, label decisions by hindsight, keep them
   in a replay buffer, and fit a network that starts as the best one to all labels so far
   (DAgger: Ross et al. 2011; LOLS: Chang et al. 2015).
3. *Refine*: search again, now also over what follows the hidden layers. The labels tell what one
   choice costs if all others stay, the search what all choices cost together.

After each step the network is judged on instances that were held out, and the best one is kept; a
linear score, where a network is hardly better.
All that is random comes from the seed, the stage and the round, so that a training that was killed
goes on from the last round and ends with the same weights.
"""

from __future__ import annotations

import math
import time
import zlib
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from dask_mlsched.core import features
from dask_mlsched.core.network import Network, linear
from dask_mlsched.learning import states
from dask_mlsched.learning.decisions import Decisions
from dask_mlsched.learning.fit import fit
from dask_mlsched.learning.fit_state import load_state, save_state
from dask_mlsched.learning.instance import Instance
from dask_mlsched.learning.labelled_rounds import LabelledRounds, evened, joined, legal_rows
from dask_mlsched.learning.labelling import labelled
from dask_mlsched.learning.processes import Processes
from dask_mlsched.learning.search import CrossEntropy, SearchSettings, Weights
from dask_mlsched.learning.split import Places, split
from dask_mlsched.learning.training import (
    Ended,
    OnProgress,
    Point,
    Stage,
    Trained,
    TrainingError,
    TrainSettings,
)
from dask_mlsched.learning.training_state import as_arrays, as_network, as_tensors, identity
from dask_mlsched.learning.verdict import judge, mean_costs

#: What the state is kept in, in the folder of a training.
STATE: Final = "training.state"

#: A network has to cost so much less than the linear score: that is simpler, is served in half of
#: the time, and less than this is within what held-out instances differ by from look to look.
MARGIN: Final = 0.02


def train(
    instances: Sequence[Instance],
    settings: TrainSettings,
    folder: Path,
    *,
    processes: int = 1,
    more: Decisions | None = None,
    on_progress: OnProgress = lambda _text, _share, _point: None,
    clock: Callable[[], float] = time.monotonic,
) -> Trained:
    """Train a network.

    Parameters
    ----------
    instances
        What to train on; of each family some are held out.
    settings
        How.
    folder
        Where the state and the labelled decisions are kept. If there is a state, it goes on from
        there.
    processes
        Instances are run in so many; the result does not depend on it.
    more
        Labelled decisions of other runs to fit to, besides.
    on_progress
        Called often. What it raises ends the training, which can go on later.
    clock
        Seconds, for the budget.

    Raises
    ------
    TrainingError
        If there are no instances.
    dask_mlsched.learning.fit_state.FitStateError
        If the state in the folder is of another training, or damaged.
    """
    if not instances:
        msg = "there are no instances to train on; expected one at least: give a workload or graph"
        raise TrainingError(msg)
    folder.mkdir(parents=True, exist_ok=True)
    with Processes(instances, processes) as started:
        training = _Training(started, settings, folder, more, on_progress, clock)
        return training.run()


class _Training:
    """A training under way."""

    def __init__(
        self,
        processes: Processes,
        settings: TrainSettings,
        folder: Path,
        more: Decisions | None,
        on_progress: OnProgress,
        clock: Callable[[], float],
    ) -> None:
        self._processes = processes
        self._settings = settings
        self._path = folder / STATE
        self._labels = LabelledRounds(folder)
        self._more = more
        self._on_progress = on_progress
        self._clock = clock
        self._places: Places = split(processes.instances, settings.holdout)
        self._identity = identity(processes.instances, settings, more)
        self._began = clock()
        self._curve: list[Point] = []
        #: Steps that are over: search, learn 1, refine 1, learn 2, …
        self._steps = 0
        #: Of the search under way: rounds that are done, and its distribution.
        self._round = 0
        self._distribution: dict[str, Weights] | None = None
        #: Decisions of the last fit.
        self._labelled = 0
        self._start = self._best = self._linear = linear(np.zeros(features.COUNT))
        self._least = math.inf

    def run(self) -> Trained:
        """Go through all steps that are left."""
        state = load_state(self._path, self._identity)
        if state is None:
            self._start = self._best = self._linear = self._measured()
        else:
            self._restore(state)
        steps = 1 + 2 * self._settings.rounds
        while self._steps < steps and not self._expired():
            fits, is_refinement = divmod(self._steps + 1, 2)
            if self._steps == 0:
                self._search("search", 0, self._settings.search, None)
                self._linear = self._best
            elif is_refinement:
                self._search("refine", fits, self._settings.refine, self._spread(fits))
            else:
                self._learn(fits)
            if self._expired():
                break
            self._steps += 1
            self._round, self._distribution = 0, None
            self._save()
        ended: Ended = "rounds" if self._steps == steps else "budget"
        if self._steps == 0:
            self._linear = self._best
        return Trained(self._chosen(), self._linear, self._best, tuple(self._curve), ended)

    def _chosen(self) -> Network:
        """Return the best network, or the linear score if that is hardly worse."""
        searched = [point.cost for point in self._curve if point.stage == "search"]
        is_better = self._least < min(searched, default=math.inf) - MARGIN
        return self._best if is_better else self._linear

    def _measured(self) -> Network:
        """Return the score that asks for few missing bytes, standardised as its states are."""
        score = np.zeros(features.COUNT)
        score[features.NAMES.index("missing")] = -1.0
        self._on_progress("looking at decisions", 0.0, None)
        calls = [(place, linear(score)) for place in self._places.learnt]
        rows = np.concatenate(self._processes.call(states.visited, calls))
        mean, scale = states.standard(rows)
        return linear(score, mean, scale)

    def _search(
        self, stage: Stage, fits: int, settings: SearchSettings, spread: Weights | None
    ) -> None:
        distribution = CrossEntropy(self._start, settings, spread)
        if self._distribution is not None:
            distribution.state.update(self._distribution)
        patience = self._settings.patience
        while self._round < settings.rounds and self._since_best(stage, fits) < patience:
            if self._expired():
                return
            rng = np.random.default_rng((self._settings.seed, self._steps, self._round))
            drawn = self._places.one_of_each_family(rng)
            costs = mean_costs(self._processes, distribution.ask(rng), drawn)
            made = distribution.tell(costs)
            self._round += 1
            if self._round % self._settings.judge_every == 0 or self._round == settings.rounds:
                self._judge(stage, fits, made.elites, distribution.network)
            self._distribution = distribution.state
            self._save()
            share = self._round / settings.rounds
            self._on_progress(stage, share, self._curve[-1] if self._curve else None)

    def _learn(self, fits: int) -> None:
        """Label decisions of the best network, and fit to all labels."""
        settings = self._settings
        instances = self._processes.instances
        self._on_progress("label", 0.0, self._curve[-1])
        calls = [
            (
                place,
                self._best,
                fits * len(instances) + place,
                _family(instances[place]),
                (settings.seed, self._steps, place),
                settings.label,
            )
            for place in self._places.learnt
        ]
        made = [each for run in self._processes.call(labelled, calls) for each in run]
        self._labels.write(fits, made)
        decisions = joined(evened(self._labels.read(fits)), self._more)
        self._labelled = len(decisions)
        result = fit(
            decisions,
            replace(settings.fit, seed=settings.seed + fits),
            start=self._best,
            on_epoch=lambda epoch: self._on_progress(
                "fit", epoch.number / epoch.epochs, self._curve[-1]
            ),
        )
        self._start = result.network
        self._judge("learn", fits, result.best.holdout_loss, result.network)

    def _spread(self, fits: int) -> Weights:
        """Return what the refinement multiplies its deviations by: units as large as features."""
        rows = legal_rows(self._labels.read(fits))
        return np.concatenate(
            [np.ones(len(self._start.skip)), 1.0 / states.hidden_deviation(self._start, rows)]
        )

    def _judge(self, stage: Stage, fits: int, learnt: float, network: Network) -> None:
        verdict = judge(self._processes, network, self._places.held)
        best = verdict.cost < self._least
        if best:
            self._best, self._least = network, verdict.cost
        self._curve.append(
            Point.of(
                stage,
                self._round,
                fits,
                self._clock() - self._began,
                learnt,
                verdict,
                self._labelled,
                best=best,
            )
        )

    def _since_best(self, stage: Stage, fits: int) -> int:
        """Count the looks of this stage since the last one that was the best so far."""
        looks = [p.best for p in self._curve if (p.stage, p.fits) == (stage, fits)]
        return looks[::-1].index(True) if True in looks else len(looks)

    def _expired(self) -> bool:
        budget = self._settings.budget
        return budget is not None and self._clock() - self._began >= budget

    def _save(self) -> None:
        distribution = self._distribution
        state = {
            "steps": self._steps,
            "round": self._round,
            "seconds": self._clock() - self._began,
            "least": self._least,
            "start": as_tensors(self._start._asdict()),
            "best": as_tensors(self._best._asdict()),
            "linear": as_tensors(self._linear._asdict()),
            "distribution": None if distribution is None else as_tensors(distribution),
            "curve": [asdict(point) for point in self._curve],
        }
        save_state(self._path, self._identity, state)

    def _restore(self, state: dict[str, Any]) -> None:
        self._steps, self._round = state["steps"], state["round"]
        self._began -= state["seconds"]
        self._least = state["least"]
        self._start, self._best, self._linear = (
            as_network(state[name]) for name in ("start", "best", "linear")
        )
        if state["distribution"] is not None:
            self._distribution = as_arrays(state["distribution"])
        self._curve = [Point(**point) for point in state["curve"]]
        self._labelled = self._curve[-1].decisions if self._curve else 0


def _family(instance: Instance) -> int:
    return zlib.crc32(instance.family.encode())
