"""The figures that go to Prometheus: what each is called, and where `status()` has it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias

from dask_mlsched.core.model_choice import BASELINE

#: The values of a figure's labels, and the figure.
Sample: TypeAlias = tuple[tuple[str, ...], float]
Status: TypeAlias = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure: a counter only grows while the plugin is installed, a gauge goes up and down."""

    #: Without namespace, subsystem and a counter's `_total`.
    name: str
    kind: Literal["counter", "gauge"]
    help: str
    #: Finds its samples in what `status()` says.
    read: Callable[[Status], Iterable[Sample]]
    labels: tuple[str, ...] = ()

    @property
    def written(self) -> str:
        """Its name as it is written, without namespace and subsystem."""
        return f"{self.name}_total" if self.kind == "counter" else self.name


def _one(*path: str) -> Callable[[Status], Iterable[Sample]]:
    """Read one figure."""

    def read(status: Status) -> Iterator[Sample]:
        value: Any = status
        for name in path:
            value = value[name]
        yield (), float(value)

    return read


def _each(*path: str) -> Callable[[Status], Iterable[Sample]]:
    """Read a table of figures by one label; nothing where there is none."""

    def read(status: Status) -> Iterator[Sample]:
        table: Any = status
        for name in path:
            table = table[name]
            if table is None:
                return
        for label, value in table.items():
            yield (str(label),), float(value)

    return read


def _training(name: str) -> Callable[[Status], Iterable[Sample]]:
    """Read a figure of what is learned while the cluster runs, if that is on."""

    def read(status: Status) -> Iterator[Sample]:
        if status["training"] is not None:
            yield (), float(status["training"][name])

    return read


def _worker(name: str) -> Callable[[Status], Iterable[Sample]]:
    """Read a figure of each worker that has it."""

    def read(status: Status) -> Iterator[Sample]:
        for address, worker in status["workers"].items():
            if worker[name] is not None:
                yield (address,), float(worker[name])

    return read


def _unserved(status: Status) -> Iterator[Sample]:
    yield (), float(sum(each["unserved"] is not None for each in status["workers"].values()))


def _moves(load: str, evict: str) -> Callable[[Status], Iterable[Sample]]:
    """Read a figure of both directions of each worker's store."""

    def read(status: Status) -> Iterator[Sample]:
        for address, worker in status["workers"].items():
            if worker["limit"] is not None:
                yield (address, "load"), float(worker[load])
                yield (address, "evict"), float(worker[evict])

    return read


def _info(status: Status) -> Iterator[Sample]:
    yield (status["version"], status["mode"], status["policy"]), 1.0


def _quantiles(status: Status) -> Iterator[Sample]:
    seconds = status["decision_seconds"]
    for quantile, name in (("0.5", "p50"), ("0.99", "p99")):
        if seconds[name] is not None:
            yield (quantile,), seconds[name]


def _reports(status: Status) -> Iterator[Sample]:
    for outcome in ("received", "lost", "repeated", "stale", "malformed"):
        yield (outcome,), float(status["reports"][outcome])


def _chosen(status: Status) -> Iterator[Sample]:
    """Read how often each model was chosen that can still be: others would never end."""
    training = status["training"]
    if training is None:
        return
    catalogue = training["catalogue"]
    known = {BASELINE, *(() if catalogue is None else catalogue["models"])}
    for model, times in training["choices"].items():
        if model in known:
            yield (model,), float(times)


FIGURES: Final = (
    Figure(
        "info",
        "gauge",
        "Always 1; what is installed, and what is set",
        _info,
        ("version", "mode", "policy"),
    ),
    Figure("managing", "gauge", "Whether tasks are being managed now: 1 or 0", _one("managing")),
    Figure("tasks_parked", "gauge", "Ready tasks held back now", _one("parked")),
    Figure(
        "tasks_unmanaged",
        "counter",
        "Tasks left to Dask, by reason",
        _each("unmanaged"),
        ("reason",),
    ),
    Figure(
        "tasks_oversized",
        "counter",
        "Tasks sent whose inputs and output exceed the device memory limit",
        _one("oversized"),
    ),
    Figure(
        "decisions",
        "counter",
        "Tasks sent to workers, by why they were chosen",
        _each("reasons"),
        ("reason",),
    ),
    Figure(
        "decision_seconds",
        "counter",
        "Time spent deciding",
        _one("decision_seconds", "total"),
    ),
    Figure(
        "decision_recent_seconds",
        "gauge",
        "Quantiles of how long the last 10,000 decisions took",
        _quantiles,
        ("quantile",),
    ),
    Figure("holds", "counter", "Places held free for a better task", _one("holds")),
    Figure("hold_seconds", "counter", "Time that places were held free", _one("hold_seconds")),
    Figure(
        "policy_failures",
        "counter",
        "Decisions in which the policy failed",
        _one("policy_failures"),
    ),
    Figure(
        "policy_off",
        "gauge",
        "Whether the policy was switched off for its failures: 1 or 0",
        _one("policy_off"),
    ),
    Figure("errors", "counter", "Errors of the extension on the scheduler", _one("errors")),
    Figure(
        "worker_errors",
        "counter",
        "Errors of the extension that workers told of",
        _one("reports", "worker_errors"),
    ),
    Figure(
        "reports",
        "counter",
        "Messages from workers, by what became of them",
        _reports,
        ("outcome",),
    ),
    Figure(
        "workers_unserved",
        "gauge",
        "Workers that work as without the plugin, as they lack the package or have another one",
        _unserved,
    ),
    Figure(
        "worker_resident_bytes",
        "gauge",
        "What a worker's fast tier holds",
        _worker("resident_bytes"),
        ("worker",),
    ),
    Figure(
        "worker_limit_bytes",
        "gauge",
        "Capacity of a worker's fast tier",
        _worker("limit"),
        ("worker",),
    ),
    Figure(
        "worker_tasks_in_flight",
        "gauge",
        "Tasks that a worker was sent and has not finished",
        _worker("in_flight"),
        ("worker",),
    ),
    Figure(
        "worker_moves",
        "counter",
        "Arrays that a worker's store has loaded into its fast tier, or evicted from it",
        _moves("loads", "evictions"),
        ("worker", "direction"),
    ),
    Figure(
        "worker_moved_bytes",
        "counter",
        "What these moves have copied",
        _moves("bytes_loaded", "bytes_evicted"),
        ("worker", "direction"),
    ),
    Figure(
        "worker_move_seconds",
        "counter",
        "Time that these copies took",
        _moves("load_seconds", "evict_seconds"),
        ("worker", "direction"),
    ),
    Figure("trace_bytes", "gauge", "Size of the trace being recorded", _one("trace", "nbytes")),
    Figure(
        "trace_problems",
        "counter",
        "Failures of the recording",
        _one("trace", "problems"),
    ),
    Figure(
        "training_runs",
        "counter",
        "Runs to learn from, by what became of them; with training on",
        _each("training", "runs"),
        ("outcome",),
    ),
    Figure(
        "training_decisions",
        "gauge",
        "Decisions kept to learn from; with training on",
        _training("decisions"),
    ),
    Figure(
        "training_problems",
        "counter",
        "Failures of the training; with training on",
        _training("problems"),
    ),
    Figure(
        "models_chosen",
        "counter",
        "How often each model of the catalogue was chosen; with training on",
        _chosen,
        ("model",),
    ),
    Figure(
        "model_events",
        "counter",
        "What happened to models; with training on",
        _each("training", "events"),
        ("event",),
    ),
)
