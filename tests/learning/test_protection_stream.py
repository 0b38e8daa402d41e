"""Models made bad on purpose: what they may cost before Dask alone, or the one before, serves.

The bound that `protection` promises: a bad version costs a family one bad run, and a generalist
with one before it two families in all. It holds even where no simulation foresees anything; where
one does, a bad model is hardly asked at all.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load as load_arrays
from safetensors.numpy import save as save_arrays

from dask_mlsched.core import features
from dask_mlsched.core.model_choice import BASELINE
from dask_mlsched.core.network import Network, forward
from dask_mlsched.learning.choosing import Chooser
from dask_mlsched.learning.default_model import default_network
from dask_mlsched.learning.ended_run import EndedRun
from dask_mlsched.learning.instance import Instance
from dask_mlsched.learning.instance import Outcome as SimulatedOutcome
from dask_mlsched.learning.library import Library
from dask_mlsched.learning.lifelong import SENT_BACK, Lifelong
from dask_mlsched.learning.model_card import network_digest
from dask_mlsched.learning.model_file import Model, ModelFileError, load, save
from dask_mlsched.learning.model_ref import LibraryError
from dask_mlsched.learning.models_in_use import GENERALIST
from dask_mlsched.learning.outcome import ROLLED_BACK, Outcome
from dask_mlsched.learning.protection import FAILURES
from learning.instances import scored_by
from learning.lives import add, ended, give, known_family, lifelong, open_library, run_of

GOOD = "generalist/v0001"
RUNS = [
    run_of(k, n)
    for k, ns in (("gemm", (4, 5)), ("stencil", (5, 6)), ("matvec", (5, 6)))
    for n in ns
]
#: A run is bad if it takes so many times as long as Dask alone: it lost more than the budget.
BAD = 1.1
#: Scatter of real runs.
SCATTER = 0.02


def inverted() -> Network:
    good = default_network()
    return good._replace(skip=-good.skip, w3=-good.w3, b3=-good.b3)


def overflowing() -> Network:
    """Make one of finite weights whose scores are infinity less infinity."""
    made = scored_by(parked=3e38, pressure=-3e38, missing=3e38)
    return made._replace(scale=np.full_like(made.scale, 1e-30))


@dataclass(frozen=True)
class BadModel:
    network: Network
    #: What it costs in reality beside the simulated makespan, over Dask's time: slots that stand
    #: idle longer than anybody foretold.
    idle: float = 0.0
    held_share: float = 0.0


BAD_MODELS = {
    "inverted": BadModel(inverted()),
    # Rules of safety keep it from doing harm in a simulation.
    "always holds": BadModel(scored_by(hold=1e4), idle=0.3, held_share=0.5),
    "overflows": BadModel(overflowing()),
    # Good for products, 1.2 to 1.4 of Dask's time for the other two.
    "for one family only": BadModel(scored_by(dependents=-2.0, last_use=-0.4, level=-0.3)),
}


def failures(network: Network, run: Instance) -> int:
    """Count decisions without a score, as the guard of a policy does; enough of them will do."""
    found, number = 0, 0
    going = run.rollout(network)
    while found < FAILURES and (decision := going.until(number)) is not None:
        scores = np.empty((len(decision.features), 2), np.float32)
        forward(network, np.ascontiguousarray(decision.features), scores)
        found += not np.isfinite(scores).all()
        going.take(decision.preferred)
        number = decision.number + 1
    return found


#: Digest of a network, run -> what it comes to there.
_CAME_TO: dict[tuple[str, str], tuple[SimulatedOutcome, int]] = {}


def came_to(network: Network, run: Instance) -> tuple[SimulatedOutcome, int]:
    """Return what a network comes to, and how often it fails."""
    key = network_digest(network), run.name
    if key not in _CAME_TO:
        _CAME_TO[key] = run.run(network), failures(network, run)
    return _CAME_TO[key]


@dataclass
class Stream:
    """Runs of three families, one after the other, with a library that serves them."""

    folder: Path
    seed: int
    #: Whether runs can be simulated afterwards: if not, only real runs say what models are worth.
    foreseen: bool = False
    happened: list[Outcome] = field(default_factory=list)
    #: Of each run: its family, which model decided, and what it took over Dask alone.
    played: list[tuple[str, str, float]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.life = lifelong(self.folder, tell=self.happened.append)
        self._chooser = Chooser(self.seed)
        self._rng = np.random.default_rng(self.seed)
        self._bad: dict[str, BadModel] = {}

    def promote(self, bad: BadModel) -> str:
        """Make a model the champion, around all gates."""
        operations = self.life.operations
        ref = add(operations, GENERALIST, bad.network)
        self._bad[ref] = bad
        operations.promote(ref, "made bad on purpose")
        return ref

    def give(self, kind: str, bad: BadModel) -> str:
        """Make a model a family's own."""
        family = next(each for each in self.life.families if each.name.startswith(kind))
        ref = give(self.life.operations, family, bad.network)
        self._bad[ref] = bad
        return ref

    def play(self, count: int, runs: Sequence[Instance] = RUNS) -> None:
        for _ in range(count):
            self._play(runs[self._rng.integers(len(runs))])

    def _play(self, run: Instance) -> None:
        self._chooser.take(self.life.catalogue(len(self.played) + 1))
        self._chooser.begin_run()
        self._chooser.graph_arrived(
            (task.key, task.prefix, list(task.dependencies), bool(given))
            for task, given in zip(run.dag.tasks(), run.dag.given, strict=True)
        )
        choice = self._chooser.choose()
        assert choice is not None
        ran, ratio = self._ran(run, choice.model, choice.network)
        self.life.ran(ran)
        self.played.append((run.family, choice.model, ratio))

    def _ran(self, run: Instance, model: str, network: Network | None) -> tuple[EndedRun, float]:
        over = ended(run, model, offered=self.foreseen)
        ratio = float(np.exp(self._rng.normal(0, SCATTER)))
        if network is None:
            return replace(over, seconds=ratio * run.stock_makespan), ratio
        bad, (outcome, failed) = self._bad.get(model), came_to(network, run)
        ratio *= outcome.makespan + (bad.idle if bad else 0.0)
        made = replace(
            over,
            seconds=ratio * run.stock_makespan,
            bytes_moved=round(outcome.bytes_moved * run.stock_bytes),
            baseline_bytes=run.stock_bytes,
            held_share=bad.held_share if bad else 0.0,
            failures=failed,
        )
        return made, ratio

    def runs_of(self, model: str) -> Counter[str]:
        return Counter(family for family, by, _ in self.played if by == model)

    @property
    def bad_runs(self) -> Counter[str]:
        """Runs that a model made bad, by family: what Dask alone takes scatters, too."""
        return Counter(
            family for family, by, ratio in self.played if ratio > BAD and by != BASELINE
        )

    @property
    def damage(self) -> float:
        """What bad runs took beyond Dask alone, in units of its time."""
        return sum(ratio - 1 for _, by, ratio in self.played if ratio > BAD and by != BASELINE)

    def told(self, event: str) -> list[Outcome]:
        return [each for each in self.happened if each.event == event]


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("kind", BAD_MODELS)
def test_a_bad_generalist_costs_two_families_one_run_each(
    tmp_path: Path, kind: str, seed: int
) -> None:
    stream = Stream(tmp_path, seed)
    bad = stream.promote(BAD_MODELS[kind])
    stream.play(30)
    assert max(stream.bad_runs.values(), default=0) <= 1
    assert stream.bad_runs.total() <= 2
    # At worst two runs of the worst that there is.
    assert stream.damage <= 2 * 0.85
    # Whatever was wrong with it, it decided once where it was bad, and never after the way back.
    families = [each for each in stream.life.families if bad in each.banned]
    assert len(families) <= 2
    for each in families:
        assert sum(run.model == bad for run in each.runs if run.gain < 0 or run.failures) == 1
    assert len(stream.told(SENT_BACK)) >= 2
    (back,) = stream.told(ROLLED_BACK)
    assert back.model == bad
    assert "bad runs of " in back.reason
    assert stream.life.operations.champion == GOOD
    # From then on, the good one serves.
    (last,) = [n for n, (_, by, _) in enumerate(stream.played) if by == bad][-1:]
    after = [(by, ratio) for _, by, ratio in stream.played[last + 1 :]]
    assert {by for by, _ in after} <= {GOOD, BASELINE}
    assert [by for by, _ in after[-6:]].count(GOOD) >= 4
    assert max(ratio for by, ratio in after if by == GOOD) < 1


@pytest.mark.parametrize("seed", range(4))
def test_one_that_holds_for_nothing_is_sent_back_though_it_loses_little(
    tmp_path: Path, seed: int
) -> None:
    stream = Stream(tmp_path, seed)
    bad = stream.promote(BadModel(scored_by(hold=1e4), idle=0.05, held_share=0.5))
    stream.play(30)
    assert stream.bad_runs.total() == 0
    sent = stream.told(SENT_BACK)
    assert sent
    assert {each.model for each in sent} == {bad}
    assert all("of the workers' time was held" in each.reason for each in sent)
    assert all(stream.runs_of(bad)[family] <= 1 for family in ("gemm", "matvec"))


@pytest.mark.parametrize("kind", ["inverted", "for one family only"])
def test_what_a_simulation_foresees_is_hardly_asked(tmp_path: Path, kind: str) -> None:
    stream = Stream(tmp_path, 0, foreseen=True)
    bad = stream.promote(BAD_MODELS[kind])
    stream.play(15)
    assert max(stream.bad_runs.values(), default=0) <= 1
    assert stream.bad_runs.total() <= 2
    # Only as the first run of a family is, before there is anything to simulate.
    assert max((stream.runs_of(bad) - Counter({"gemm": 30})).values(), default=0) <= 1


def test_a_generalist_with_none_before_it_costs_each_family_one_run(tmp_path: Path) -> None:
    stream = Stream(tmp_path, 1)
    bad = stream.promote(BAD_MODELS["inverted"])
    stream.life.operations.library.move({"champion": bad, "previous": None}, "by hand")
    for file in stream.life.operations.library.path.glob("generalist/v0001/model*"):
        file.write_bytes(b"damaged")
    stream.play(30)
    assert set(stream.bad_runs.values()) <= {1}
    assert stream.told(ROLLED_BACK) == []
    assert stream.life.operations.champion == bad
    assert Counter(by for _, by, _ in stream.played[6:]) == {BASELINE: 24}


@pytest.mark.parametrize("seed", range(3))
def test_each_bad_version_costs_as_little_as_the_first_one(tmp_path: Path, seed: int) -> None:
    stream = Stream(tmp_path, seed)
    versions = [stream.promote(BAD_MODELS["inverted"])]
    for _ in range(2):
        stream.play(10)
        versions.append(stream.promote(BAD_MODELS["always holds"]))
    stream.play(25)
    for version in versions:
        assert set(stream.runs_of(version).values()) <= {1}
        assert stream.runs_of(version).total() <= 2
    assert stream.life.operations.champion == GOOD


@pytest.mark.parametrize("seed", range(3))
def test_a_bad_model_of_a_familys_own_costs_it_one_run_and_no_other_family_any(
    tmp_path: Path, seed: int
) -> None:
    stream = Stream(tmp_path, seed)
    stream.play(8)
    bad = stream.give("gemm", BAD_MODELS["inverted"])
    stream.play(30)
    assert stream.runs_of(bad) in (Counter({"gemm": 1}), Counter())
    assert stream.bad_runs == stream.runs_of(bad)
    assert stream.told(ROLLED_BACK) == []
    assert stream.life.operations.champion == GOOD


def test_a_family_that_was_sent_back_is_with_dask_alone_and_then_served_again(
    tmp_path: Path,
) -> None:
    stream = Stream(tmp_path, 0)
    bad = stream.promote(BAD_MODELS["inverted"])
    stream.play(6, RUNS[:1])
    models = [by for _, by, _ in stream.played]
    first = models.index(bad)
    assert models[first + 1 : first + 3] == [BASELINE, BASELINE]
    # One family is not enough to roll it back, but it is banned there: the one before stands in.
    assert set(models[first + 3 :]) == {GOOD}
    assert [each.event for each in stream.happened] == ["new family", "sent back", "served again"]


def test_one_that_gets_bad_after_it_was_good_loses_less_than_it_had_won(tmp_path: Path) -> None:
    """Three runs of it at most are bad: what it won in the last four is more than two lose."""
    life = lifelong(tmp_path)
    family = known_family(life.families, "gemm", 4)
    ref, run = life.operations.champion, RUNS[0]
    ratios = [0.8, 0.8, 0.8, 0.8, 1.4, 1.4, 1.4, 1.4, 1.4]
    took = []
    for ratio in ratios:
        if not family.may_decide(ref):
            break
        life.ran(ended(run, ref, ratio, offered=False))
        took.append(ratio)
    assert took == [0.8] * 4 + [1.4] * 3
    # What it won in the last four, the budget, luck, and one run more.
    assert sum(took) <= len(took) + 0.4


def test_who_is_killed_before_a_bad_generalist_goes_back_lets_it_go_back_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = Stream(tmp_path, 0)
    bad = stream.promote(BAD_MODELS["inverted"])

    class KilledError(BaseException):
        pass

    def killed(*_: object, **__: object) -> Outcome:
        raise KilledError

    monkeypatch.setattr(stream.life.operations, "roll_back", killed)
    with pytest.raises(KilledError):
        stream.play(30)
    assert stream.life.operations.champion == bad
    again = lifelong(tmp_path)
    assert sum(bad in each.banned for each in again.families) == 2
    outcome = again.work(lambda: pytest.fail("nothing is searched for"))  # type: ignore[arg-type, return-value]
    assert outcome is not None
    assert (outcome.event, outcome.model) == (ROLLED_BACK, bad)
    assert again.operations.champion == GOOD


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("name", ["skip", "mean", "scale", "b3"])
def test_weights_that_are_no_numbers_are_refused_when_added_and_when_loaded(
    tmp_path: Path, name: str, value: float
) -> None:
    array = getattr(scored_by(missing=1.0), name).copy()
    array[0] = value
    broken = scored_by(missing=1.0)._replace(**{name: array})
    library: Library = open_library(tmp_path)
    with pytest.raises(LibraryError, match=f"{name} holds {value}"):
        library.add(GENERALIST, broken, made_by="test", reason="broken on purpose")
    assert library.versions(GENERALIST) == []
    path = tmp_path / "m.safetensors"
    names = features.NAMES
    with pytest.raises(ModelFileError, match=f"{name} holds {value}"):
        save(path, Model(broken, names, {}))
    # As somebody else may write it.
    save(path, Model(scored_by(missing=1.0), names, {}))
    arrays = load_arrays(path.read_bytes())
    arrays[name][0] = value
    with safe_open(path, "np") as file:
        metadata = file.metadata()
    path.write_bytes(save_arrays(arrays, metadata))
    with pytest.raises(ModelFileError, match=f"{name} holds {value}"):
        load(path, names)


def test_a_file_that_became_damaged_is_not_asked_and_the_champion_before_serves(
    tmp_path: Path,
) -> None:
    life: Lifelong = lifelong(tmp_path)
    ref = add(life.operations, GENERALIST, scored_by(missing=-1.0))
    life.operations.promote(ref, "by hand")
    (life.operations.library.path / ref / "model.safetensors").write_bytes(b"damaged")
    catalogue = life.catalogue(1)
    assert (catalogue.champion, list(catalogue.networks)) == (BASELINE, [])
    life.ran(ended(RUNS[0]))
    assert [each.model for each in life.catalogue(2).families[0].arms] == [BASELINE]
    outcome = life.work(lambda: pytest.fail("nothing is searched for"))  # type: ignore[arg-type, return-value]
    assert outcome is not None
    assert outcome.event == ROLLED_BACK
    assert outcome.reason == "it cannot be loaded"
    assert life.catalogue(3).champion == GOOD
