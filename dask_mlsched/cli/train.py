"""`dask mlsched train`: a network from simulated runs, from replay buffers, or from both."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import click

from dask_mlsched.benchmarks import graph_formats, training_report, training_set
from dask_mlsched.benchmarks.optional import require
from dask_mlsched.benchmarks.workloads import WORKLOADS, find
from dask_mlsched.cli.bar import Tell, one_bar
from dask_mlsched.cli.options import (
    COUNT,
    JSON,
    Checked,
    Command,
    complain,
    missing_packages_are_mistakes,
    names,
    output_file,
)
from dask_mlsched.cli.output import console, write_json
from dask_mlsched.core import features
from dask_mlsched.core.dag import InvalidDagError
from dask_mlsched.core.network import hidden_of
from dask_mlsched.extension.quantities import parse_duration
from dask_mlsched.learning import trainer
from dask_mlsched.learning.decisions import Decisions, InvalidDecisionsError
from dask_mlsched.learning.default_model import default_network
from dask_mlsched.learning.fit import fit
from dask_mlsched.learning.fit_state import FitStateError
from dask_mlsched.learning.hardware import has_cuda, use_one_thread
from dask_mlsched.learning.instance import Instance, InstanceError
from dask_mlsched.learning.model_file import Model, save
from dask_mlsched.learning.network import HIDDEN
from dask_mlsched.learning.replay_decisions import read_folder
from dask_mlsched.learning.replay_file import ReplayError
from dask_mlsched.learning.training import Point, Trained, TrainSettings

_WORKLOADS = Checked("names", names(find))


def _paths(text: str) -> tuple[Path, ...]:
    return tuple(Path(part.strip()) for part in text.split(","))


def _ratios(text: str) -> tuple[float, ...]:
    try:
        ratios = tuple(float(part) for part in text.split(","))
    except ValueError:
        ratios = ()
    if not ratios or not all(1 < ratio < 1e6 for ratio in ratios):
        msg = f"--memory-ratios={text!r}; expected numbers above 1, separated by commas"
        raise ValueError(msg)
    return ratios


@click.command(cls=Command)
@click.option(
    "--workloads",
    type=_WORKLOADS,
    help=f"Train on these, separated by commas: {', '.join(WORKLOADS)}.",
)
@click.option(
    "--graphs", type=Checked("files", _paths), help="And on the DAGs in these files, likewise."
)
@click.option(
    "--replay",
    type=click.Path(path_type=Path),
    help="And on the labelled decisions in a replay buffer, or in those of a folder.",
)
@click.option("--quick", is_flag=True, help="Small instances of the workloads.")
@click.option(
    "--memory-ratios",
    type=Checked("numbers", _ratios),
    default="2,3",
    show_default=True,
    help="Each DAG is run with so many times too little memory.",
)
@click.option("--workers", type=COUNT, default=1, show_default=True)
@click.option(
    "--out", required=True, type=Checked("file", output_file), help="The model, .safetensors."
)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True)
@click.option(
    "--budget",
    type=Checked("duration", lambda text: parse_duration("--budget", text)),
    help="End after so long, such as 600s, with the best so far.",
)
@click.option("--search-rounds", type=COUNT, help="Rounds of direct search. Default: 40.")
@click.option("--rounds", type=click.IntRange(min=0), help="Of label and fit. Default: 2.")
@click.option("--processes", type=COUNT, default=1, show_default=True)
@click.option("--device", type=click.Choice(("cpu", "cuda")), default="cpu", show_default=True)
@click.option("--resume", is_flag=True, help="Go on where the last training of --out was stopped.")
@click.option("--json", "json_file", type=JSON, help="Write the learning curve here; - is stdout.")
def train(
    workloads: tuple[str, ...] | None,
    graphs: tuple[Path, ...] | None,
    replay: Path | None,
    memory_ratios: tuple[float, ...],
    workers: int,
    out: str,
    seed: int,
    budget: float | None,
    search_rounds: int | None,
    rounds: int | None,
    processes: int,
    device: str,
    json_file: str | None,
    *,
    quick: bool,
    resume: bool,
) -> None:
    """Train a network that decides what runs next, on simulated runs of DAGs.

    Without --workloads, --graphs and --replay, on what the default model is trained on. Beside the
    model are written its report (.md), the learning curves (.png), and a folder (.training) from
    which a training that was stopped goes on with --resume. The same options and seed give the
    same model, unless the budget ends it.
    """
    if out == "-":
        complain("--out=- is no file; name one, such as model.safetensors")
    path = Path(out)
    folder = path.with_suffix(".training")
    with missing_packages_are_mistakes():
        require("matplotlib", "the learning curves")
    _check_device(device)
    settings = _settings(seed, budget, search_rounds, rounds, device)
    more = None if replay is None else _replayed(replay)
    with one_bar() as tell:
        instances = _instances(
            workloads, graphs, memory_ratios, workers, tell, quick=quick, replay=replay
        )
        if not resume:
            _forget(folder)
        try:
            if not instances:
                assert more is not None  # _instances: without any source, those of the default
                _fit_only(path, more, settings, tell)
                return
            trained = trainer.train(
                instances,
                settings,
                folder,
                processes=processes,
                more=more,
                on_progress=lambda text, share, point: tell(_described(text, point), share),
            )
        except (FitStateError, InvalidDecisionsError, ReplayError) as error:
            complain(str(error))
    _write(path, instances, settings, trained)
    if json_file is not None:
        write_json(json_file, trained.as_json())
    if json_file != "-":
        _tell(path, trained)


def _settings(
    seed: int, budget: float | None, search_rounds: int | None, rounds: int | None, device: str
) -> TrainSettings:
    usual = TrainSettings()
    searched = usual.search.rounds if search_rounds is None else search_rounds
    return replace(
        usual,
        seed=seed,
        budget=budget,
        rounds=usual.rounds if rounds is None else rounds,
        search=replace(usual.search, rounds=searched),
        refine=replace(usual.refine, rounds=min(usual.refine.rounds, searched)),
        fit=replace(usual.fit, device=device),
    )


def _fit_only(path: Path, decisions: Decisions, settings: TrainSettings, tell: Tell) -> None:
    """Go on from the model that ships, where there are decisions and nothing to run."""
    start = default_network()
    hidden = hidden_of(start)
    made = fit(
        decisions,
        replace(settings.fit, hidden=hidden if any(hidden) else HIDDEN, seed=settings.seed),
        start=start,
        on_epoch=lambda epoch: tell("fit", epoch.number / epoch.epochs),
    )
    training_report.draw_fit(made, path.with_suffix(".png"))
    path.with_suffix(".md").write_text(
        training_report.markdown_of_fit(path.stem, len(decisions), made)
    )
    card = {"trained_on": "replay", "seed": str(settings.seed)}
    save(path, Model(made.network, features.NAMES, card))


def _check_device(device: str) -> None:
    if device == "cuda" and not has_cuda():
        complain("--device=cuda, and torch finds no GPU; use --device cpu, or install torch for it")
    use_one_thread()


def _replayed(replay: Path) -> Decisions:
    try:
        return read_folder(replay)
    except (ReplayError, InvalidDecisionsError) as error:
        complain(str(error))


def _instances(
    workloads: tuple[str, ...] | None,
    graphs: tuple[Path, ...] | None,
    ratios: Sequence[float],
    workers: int,
    tell: Tell,
    *,
    quick: bool,
    replay: Path | None,
) -> list[Instance]:
    made: list[Instance] = []
    with missing_packages_are_mistakes():
        if workloads is None and graphs is None and replay is None:
            return list(training_set.make(training_set.cases("train"), tell))
        try:
            with training_set.folder_for_files() as folder:
                for name in workloads or ():
                    tell(name, 0.0)
                    dag = find(name).dag(folder, 0, "quick" if quick else "full")
                    made += training_set.at_ratios(dag, name, ratios, workers)
            for file in graphs or ():
                tell(file.name, 0.0)
                dag = graph_formats.load(file)
                made += training_set.at_ratios(dag, dag.name or file.stem, ratios, workers)
        except OSError as error:
            complain(f"--graphs: {error.filename!r} cannot be read ({error.strerror}); name a file")
        except (InvalidDagError, InstanceError) as error:
            complain(str(error))
    return made


def _forget(folder: Path) -> None:
    (folder / trainer.STATE).unlink(missing_ok=True)


def _described(text: str, point: Point | None) -> str:
    if point is None:
        return text
    return f"{text}: bytes {point.bytes_moved:.2f}, worst {point.worst:.2f}"


def _write(
    path: Path, instances: Sequence[Instance], settings: TrainSettings, trained: Trained
) -> None:
    training_report.draw(trained, path.with_suffix(".png"))
    text = training_report.markdown(path.stem, instances, settings, trained)
    path.with_suffix(".md").write_text(text)
    card = {
        "trained_on": json.dumps(sorted({instance.family for instance in instances})),
        "seed": str(settings.seed),
        "report": path.with_suffix(".md").name,
    }
    save(path, Model(trained.network, features.NAMES, card))
    # Both that there were to choose from.
    folder = path.with_suffix(".training")
    for name, network in (("linear", trained.linear), ("network", trained.best)):
        save(folder / f"{name}.safetensors", Model(network, features.NAMES, card))


def _tell(path: Path, trained: Trained) -> None:
    terminal = console()
    best = [point for point in trained.curve if point.best]
    if best:
        terminal.print(
            f"Held out: {best[-1].bytes_moved:.3f} of the bytes of Dask alone, "
            f"{best[-1].makespan:.3f} of its makespan, worst {best[-1].worst:.2f}"
        )
    terminal.print(f"Model: {path}   Report: {path.with_suffix('.md')}", soft_wrap=True)
    if trained.ended == "budget":
        terminal.print("The budget ended it; go on with --resume and a larger one.")
