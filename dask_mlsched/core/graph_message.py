"""What the scheduler asks the specialist's process, and what that answers.

A `Request` is a DAG as it stands in the middle of a run: what is done and still read is `given`,
what is done and not read any more is left out. An `Answer` is a network for it, and what was
foretold. Both travel as frames.
"""

from __future__ import annotations

import math
import reprlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final, Literal, TypeAlias, get_args

import numpy as np

from dask_mlsched.core.chooser import Settings
from dask_mlsched.core.costs import Costs
from dask_mlsched.core.dag import Dag, Integers
from dask_mlsched.core.machine import Machine
from dask_mlsched.core.message_frame import Frame, FrameError
from dask_mlsched.core.network import InvalidNetworkError, Network, check
from dask_mlsched.core.topology import transposed

#: What the specialist may come to: Dask alone; an order, greedy with and without HOLD and the
#: generalist, each as a network of the controller's that is shown Dask's order, that of packages,
#: or one of those usual for products (see `guides`); and what a search found.
Arm: TypeAlias = Literal[
    "stock",
    "order",
    "greedy",
    "greedy-hold",
    "generalist",
    "packed",
    "packed-greedy",
    "packed-generalist",
    "cubes",
    "cubes-greedy",
    "cubes-generalist",
    "rows",
    "rows-greedy",
    "rows-generalist",
    "columns",
    "columns-greedy",
    "columns-generalist",
    "searched",
]
ARMS: Final[tuple[Arm, ...]] = get_args(Arm)

#: What is made small. Seconds mean nothing before the speed of copies is known.
Objective: TypeAlias = Literal["makespan", "bytes"]

#: Kinds of frames: the process has loaded its code; a question; an answer; why there is none.
READY: Final = 1
REQUEST: Final = 2
ANSWER: Final = 3
FAILED: Final = 4


@dataclass(frozen=True, eq=False)
class Request:
    """A DAG to specialise to."""

    #: Comes back with the answers.
    number: int
    dag: Dag
    #: [n] the place of each task in Dask's order, no two the same.
    order: Integers
    machine: Machine
    settings: Settings
    objective: Objective
    #: That the search may take.
    seconds: float
    seed: int
    #: The generalist to begin at; None for the one that ships.
    start: Network | None = None

    def frame(self) -> Frame:
        """Put it into a frame; names of tasks are left out, and prefixes become numbers."""
        dag, machine, settings = self.dag, self.machine, self.settings
        fields = {
            "number": self.number,
            "objective": self.objective,
            "seconds": self.seconds,
            "seed": self.seed,
            "limit": machine.limit,
            "workers": machine.workers,
            "threads": machine.threads,
            "keep_clean": machine.keep_clean,
            "overlap": machine.overlap,
            "costs": asdict(machine.costs),
            "settings": {name: getattr(settings, name) for name in _SETTINGS},
        }
        arrays = {
            "order": self.order,
            "prefix": dag.prefix,
            "starts": dag.starts,
            "sources": dag.sources,
            "nbytes": dag.nbytes,
            "seconds": dag.seconds,
            "wanted": dag.wanted,
            "given": dag.given,
        }
        if self.start is not None:
            arrays |= {_START + name: array for name, array in self.start._asdict().items()}
        return Frame(REQUEST, fields, arrays)

    @classmethod
    def from_frame(cls, frame: Frame) -> Request:
        """Read it, and refuse what no simulation should be given.

        Raises
        ------
        FrameError
            If anything is missing, or does not fit the rest.
        """
        objective = frame.text("objective")
        if objective not in get_args(Objective):
            raise _error(f"the objective is {objective!r}", f"one of {get_args(Objective)}")
        dag = _dag(frame)
        order = frame.array("order", "<i8", len(dag))
        if len(np.unique(order)) < len(order):
            raise _error("tasks share a place in the order", "one for each")
        try:
            machine, settings = _machine(frame.fields), _settings(frame.fields)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise _error(f"no machine and settings ({error})", "those of a run") from None
        start = {
            name.removeprefix(_START): array
            for name, array in frame.arrays.items()
            if name.startswith(_START)
        }
        return cls(
            int(frame.number("number")),
            dag,
            order,
            machine,
            settings,
            objective,  # type: ignore[arg-type]  # one of them, as seen above
            float(frame.number("seconds")),
            int(frame.number("seed")),
            network_of(start) if start else None,
        )


@dataclass(frozen=True, eq=False)
class Answer:
    """The best for a request so far."""

    number: int
    arm: Arm
    network: Network
    #: Whether the network may choose HOLD.
    may_hold: bool
    #: arm -> the makespan in seconds and the bytes moved that were foretold.
    foretold: Mapping[Arm, tuple[float, int]]
    #: Runs simulated, and seconds since the request came.
    evaluations: int
    seconds: float
    #: Whether nothing more comes.
    final: bool
    #: [n] the place of each task of the request in the order that the network is to be shown; None
    #: for Dask's.
    guide: Integers | None = None

    def frame(self) -> Frame:
        """Put it into a frame."""
        fields = {
            "number": self.number,
            "arm": self.arm,
            "may_hold": self.may_hold,
            "foretold": {arm: list(figures) for arm, figures in self.foretold.items()},
            "evaluations": self.evaluations,
            "seconds": self.seconds,
            "final": self.final,
        }
        arrays = self.network._asdict()
        if self.guide is not None:
            arrays[_GUIDE] = self.guide
        return Frame(ANSWER, fields, arrays)

    @classmethod
    def from_frame(cls, frame: Frame) -> Answer:
        """Read it, and refuse what nothing should be decided by.

        Raises
        ------
        FrameError
            If anything is missing, or the network is none.
        """
        arm = _arm(frame.text("arm"))
        network = network_of({name: a for name, a in frame.arrays.items() if name != _GUIDE})
        guide = frame.array(_GUIDE, "<i8") if _GUIDE in frame.arrays else None
        if guide is not None and not np.array_equal(np.sort(guide), np.arange(guide.size)):
            raise _error(f"a guide of {guide.size} tasks", "each place from 0 on once")
        told = frame.fields.get("foretold")
        foretold: dict[Arm, tuple[float, int]] = {}
        for name, figures in told.items() if isinstance(told, dict) else ():
            match figures:
                case [float(makespan), int(moved)] if 0 <= makespan < math.inf and moved >= 0:
                    foretold[_arm(name)] = makespan, moved
                case _:
                    raise _error(f"{reprlib.repr(figures)} was foretold", "seconds and bytes")
        return cls(
            int(frame.number("number")),
            arm,
            network,
            bool(frame.fields.get("may_hold")),
            foretold,
            int(frame.number("evaluations")),
            float(frame.number("seconds")),
            bool(frame.fields.get("final")),
            guide,
        )


#: Of the settings, what a simulated run depends on.
_SETTINGS: Final = (
    "lookahead",
    "shortlist",
    "bandwidth",
    "network_bandwidth",
    "hold_limit",
    "round_trip",
    "eviction",
    "keep_clean",
    "overlap",
)


#: The rules that simulated runs know.
_EVICTIONS: Final = ("lru", "luf", "next-use")


#: The name of the array that says in which order tasks are shown.
_GUIDE: Final = "guide"

#: Before the names of the arrays of the network to begin at.
_START: Final = "start_"


def network_of(arrays: Mapping[str, np.ndarray[Any, Any]]) -> Network:
    """Make the network of a frame's arrays, and refuse what nothing should be decided by.

    Raises
    ------
    FrameError
        If they are none.
    """
    try:
        network = Network(**arrays)
        check(network)
    except (TypeError, InvalidNetworkError) as error:
        raise _error(f"no network ({error})", "its nine arrays") from None
    return network


def _dag(frame: Frame) -> Dag:
    nbytes = frame.array("nbytes", "<i8")
    n = nbytes.size
    starts = frame.array("starts", "<i8", n + 1)
    sources = frame.array("sources", "<i8")
    prefix = frame.array("prefix", "<i8", n)
    seconds = frame.array("seconds", "<f8", n)
    wanted, given = frame.array("wanted", "|b1", n), frame.array("given", "|b1", n)
    counts = np.diff(starts)
    if nbytes.shape != (n,) or starts[0] != 0 or starts[-1] != sources.size or np.any(counts < 0):
        raise _error("edges do not fit the tasks", f"{sources.size} of them among {n} tasks")
    if np.any(sources < 0) or np.any(sources >= np.repeat(np.arange(n), counts)):
        raise _error("a task reads one that does not stand before it", "dependencies first")
    if np.any(nbytes < 0) or not np.all(np.isfinite(seconds) & (seconds >= 0)):
        raise _error("a size or a time is below 0 or none", "finite numbers, 0 or more")
    if np.any(given & ((counts > 0) | (seconds > 0))):
        raise _error("a given array is computed", "no dependencies and 0 seconds")
    if n and not 0 <= prefix.min() <= prefix.max() < max(n, 1):
        raise _error(f"prefixes from {prefix.min()} to {prefix.max()}", f"0 to {n - 1}")
    reader_starts, readers = transposed(starts, sources)
    return Dag(
        name="a run",
        keys=tuple(map(str, range(n))),
        prefixes=tuple(map(str, range(int(prefix.max(initial=-1)) + 1))),
        prefix=prefix,
        starts=starts,
        sources=sources,
        reader_starts=reader_starts,
        readers=readers,
        nbytes=nbytes,
        seconds=seconds,
        wanted=wanted,
        given=given,
    )


def _machine(fields: Mapping[str, Any]) -> Machine:
    limit = fields["limit"]
    return Machine(
        None if limit is None else int(limit),
        workers=int(fields["workers"]),
        threads=int(fields["threads"]),
        costs=Costs.of(fields["costs"]),
        keep_clean=bool(fields["keep_clean"]),
        overlap=bool(fields["overlap"]),
    )


def _settings(fields: Mapping[str, Any]) -> Settings:
    values = dict(fields["settings"])
    if set(values) != set(_SETTINGS) or values["eviction"] not in _EVICTIONS:
        msg = f"settings {reprlib.repr(values)}"
        raise ValueError(msg)
    return Settings(**values)


def _arm(name: str) -> Arm:
    for arm in ARMS:
        if arm == name:
            return arm
    raise _error(f"the arm is {name!r}", f"one of {', '.join(ARMS)}")


def _error(found: str, expected: str) -> FrameError:
    return FrameError(f"{found}; expected {expected}; start both processes from one version")
