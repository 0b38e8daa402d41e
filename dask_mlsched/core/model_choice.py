"""Which model is to decide for a graph: what there is to choose from, and what was chosen.

The process that keeps the library tells the scheduler a `Catalogue`: the networks that there are,
and what each is believed to be worth for the families that are known. Whoever chooses is a
`ModelChooser`; where it is implemented, the scheduler need not know. Beliefs are about
``log(T_baseline / T)``: 0 is as fast as Dask alone, 0.1 is a tenth faster.
"""

from __future__ import annotations

import reprlib
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Final, Protocol, Self, TypeAlias

from dask_mlsched.core.graph_message import network_of
from dask_mlsched.core.message_frame import Frame, FrameError
from dask_mlsched.core.network import Network

#: The model that is Dask's order, decided by Dask alone. It always exists, and has no network.
BASELINE: Final = "baseline"

#: Kind of the frame.
CATALOGUE: Final = 8

#: A task of a graph that arrives: key, prefix, keys that it reads, whether no task makes it.
ArrivingTask: TypeAlias = tuple[Hashable, str, Sequence[Hashable], bool]


@dataclass(frozen=True, slots=True)
class Belief:
    """What a model is believed to be worth for a family."""

    #: As the library names it, such as ``generalist/v0003``; or `BASELINE`.
    model: str
    #: Of ``log(T_baseline / T)``, and how uncertain that is: a standard deviation.
    mean: float
    deviation: float
    #: Real runs that are behind it; the rest was simulated or is taken from other families.
    runs: int = 0


@dataclass(frozen=True, slots=True)
class KnownFamily:
    """A family of which runs were seen."""

    name: str
    #: As `dask_mlsched.learning.fingerprint` writes it.
    fingerprint: Mapping[str, Any]
    #: What there is to choose from.
    arms: tuple[Belief, ...]
    #: Why it is left to Dask alone for now; None if it is not.
    sent_back: str | None = None


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a model comes from, as its card says."""

    made_by: str
    #: The models that it was made from.
    parents: tuple[str, ...]
    date: str
    reason: str


@dataclass(frozen=True, eq=False)
class Catalogue:
    """All that there is to choose from; a newer one takes the place of an older one."""

    #: Grows with each change.
    number: int
    #: The generalist that serves.
    champion: str
    #: For a family of which nothing is known.
    unknown: tuple[Belief, ...]
    families: tuple[KnownFamily, ...] = ()
    #: Of every model that is named here, except `BASELINE`.
    networks: Mapping[str, Network] = field(default_factory=dict)
    #: A generalist on trial: it is to decide in half of the runs of families that have it.
    trial: str | None = None
    #: Similarities from which on two graphs are of one family, and from which on they are near.
    same_family: float = 0.9
    near_family: float = 0.6
    #: Of every model that is named here and of those that it was made from, for people.
    lineage: Mapping[str, Origin] = field(default_factory=dict)

    def frame(self) -> Frame:
        """Put it into a frame."""
        arrays = {
            f"{place} {name}": array
            for place, network in enumerate(self.networks.values())
            for name, array in network._asdict().items()
        }
        fields = {
            "number": self.number,
            "champion": self.champion,
            "unknown": [asdict(belief) for belief in self.unknown],
            "families": [asdict(family) for family in self.families],
            "networks": list(self.networks),
            "trial": self.trial,
            "same_family": self.same_family,
            "near_family": self.near_family,
            "lineage": {ref: asdict(origin) for ref, origin in self.lineage.items()},
        }
        return Frame(CATALOGUE, fields, arrays)

    @classmethod
    def from_frame(cls, frame: Frame) -> Self:
        """Read it, and refuse what nothing should be decided by.

        Raises
        ------
        FrameError
            If anything is missing, or a network is none.
        """
        try:
            refs = [str(ref) for ref in frame.fields["networks"]]
            unknown = _beliefs(frame.fields["unknown"])
            families = tuple(_family(each) for each in frame.fields["families"])
            lineage = {
                str(ref): Origin(
                    str(each["made_by"]),
                    tuple(map(str, each["parents"])),
                    str(each["date"]),
                    str(each["reason"]),
                )
                for ref, each in frame.fields["lineage"].items()
            }
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            msg = f"no catalogue of models ({type(error).__name__}: {error}); expected one whole"
            raise FrameError(msg) from None
        arrays: list[dict[str, Any]] = [{} for _ in refs]
        for name, array in frame.arrays.items():
            place, _, which = name.partition(" ")
            if not place.isdecimal() or int(place) >= len(refs):
                msg = f"array {name!r} is of no model; expected one of {len(refs)}"
                raise FrameError(msg)
            arrays[int(place)][which] = array
        networks = {ref: network_of(each) for ref, each in zip(refs, arrays, strict=True)}
        made = cls(
            int(frame.number("number")),
            frame.text("champion"),
            unknown,
            families,
            networks,
            None if frame.fields.get("trial") is None else frame.text("trial"),
            frame.number("same_family"),
            frame.number("near_family"),
            lineage,
        )
        named = {made.champion, *(arm.model for arms in made.choices for arm in arms)}
        named |= {made.trial} if made.trial is not None else set()
        if missing := sorted(named - {BASELINE, *networks}):
            msg = f"model {missing[0]!r} has no network; expected one of {', '.join(networks)}"
            raise FrameError(msg)
        return made

    @property
    def choices(self) -> list[tuple[Belief, ...]]:
        """What there is to choose from, for each family, and for one that is not known."""
        return [self.unknown, *(family.arms for family in self.families)]

    def network(self, model: str) -> Network | None:
        """Return a model's network; None for `BASELINE`."""
        return None if model == BASELINE else self.networks[model]


def _beliefs(values: Iterable[Mapping[str, Any]]) -> tuple[Belief, ...]:
    made = tuple(
        Belief(str(each["model"]), float(each["mean"]), float(each["deviation"]), int(each["runs"]))
        for each in values
    )
    for belief in made:
        if not (abs(belief.mean) < 100 and 0 <= belief.deviation < 100 and belief.runs >= 0):
            msg = f"{belief} is believed"
            raise ValueError(msg)
    return made


def _family(values: Mapping[str, Any]) -> KnownFamily:
    fingerprint, sent_back = values["fingerprint"], values["sent_back"]
    if not isinstance(fingerprint, dict) or not isinstance(sent_back, str | None):
        msg = f"a family is {reprlib.repr(values)}"
        raise TypeError(msg)
    return KnownFamily(str(values["name"]), fingerprint, _beliefs(values["arms"]), sent_back)


@dataclass(frozen=True, slots=True)
class Considered:
    """A model that there was to choose from, and what was drawn for it."""

    belief: Belief
    #: What it may be worth; the largest is chosen.
    drawn: float


@dataclass(frozen=True, eq=False)
class Choice:
    """Which model decides for a graph, and why."""

    model: str
    #: None for `BASELINE`.
    network: Network | None
    #: The family that the graph is of; None if it is none that is known.
    family: str | None
    #: To the nearest family that is known, in [0, 1]; and its name, if there is any.
    similarity: float
    nearest: str | None
    #: In a line.
    why: str
    considered: tuple[Considered, ...]

    def as_dict(self) -> dict[str, Any]:
        """Describe it, for `status()` and events."""
        return {
            "model": self.model,
            "family": self.family,
            "nearest": self.nearest,
            "similarity": round(self.similarity, 4),
            "why": self.why,
            "considered": [
                {**asdict(each.belief), "drawn": each.drawn} for each in self.considered
            ],
        }


class ModelChooser(Protocol):
    """Follows the graphs that arrive in a run, and chooses the model that decides."""

    def take(self, catalogue: Catalogue) -> None:
        """Choose from this one from now on.

        Raises
        ------
        ValueError
            If it cannot be used; the one before stays.
        """

    def begin_run(self) -> None:
        """Forget the graphs so far."""

    def graph_arrived(self, tasks: Iterable[ArrivingTask]) -> None:
        """Take in tasks that belong to the run."""

    def choose(self) -> Choice | None:
        """Choose for what has arrived since the run began; None before any catalogue."""
