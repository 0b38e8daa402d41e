"""What the scheduler tells the process that learns beside it, and what that answers.

A `Look` says that there may be something new in the folder of a training, with all that there is
to know: only the newest one is ever sent. What comes back tells of runs and of models, and of what
there is to choose from (`model_choice`). All of it travels as frames.
"""

from __future__ import annotations

import reprlib
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, ClassVar, Final, Self

from dask_mlsched.core.message_frame import Frame, FrameError

#: Kinds of frames; READY and FAILED are those of `graph_message`, CATALOGUE of `model_choice`.
LOOK: Final = 5
COLLECTED: Final = 6
HAPPENED: Final = 7

#: In the folder of a training: where the scheduler leaves runs, and how their files' names end;
#: and where the library of models is.
RUNS: Final = "runs"
RUN_SUFFIX: Final = ".mlsched-trace"
LIBRARY: Final = "library"


@dataclass(frozen=True)
class _Message:
    """What is all fields, each read as its type has it."""

    kind: ClassVar[int]

    def frame(self) -> Frame:
        """Put it into a frame."""
        return Frame(self.kind, asdict(self))

    @classmethod
    def from_frame(cls, frame: Frame) -> Self:
        """Read it.

        Raises
        ------
        FrameError
            If anything is missing, or of another type.
        """
        return cls(*(_READ[str(field.type)](frame, field.name) for field in fields(cls)))


@dataclass(frozen=True)
class Look(_Message):
    """Asks to look at the folder of a training, and says how that is set."""

    kind = LOOK

    #: The folder.
    directory: str
    #: Whether networks are to be made, too.
    update: bool
    #: Decisions that are kept.
    capacity: int
    #: New decisions after which a generalist is tried, and seconds that any attempt may take.
    update_after: int
    seconds: float
    #: See `dask_mlsched.core.thresholds.Thresholds`.
    thresholds: Mapping[str, float]


@dataclass(frozen=True)
class Collected(_Message):
    """Tells what became of a run."""

    kind = COLLECTED

    #: Decisions that were added, and why the run was thrown away if it was.
    added: int
    rejected: str | None
    #: Decisions that there are by now.
    decisions: int


@dataclass(frozen=True)
class Happened(_Message):
    """Tells what became of a model or a family, as the library's log says it."""

    kind = HAPPENED

    #: What: ``created``, ``moved``, ``refused``, ``sent back``, ``rolled back``, …
    event: str
    #: In a line.
    reason: str
    #: Which; None if it is about none.
    model: str | None
    family: str | None
    figures: Mapping[str, float]


def _figures(frame: Frame, name: str) -> Mapping[str, float]:
    figures = frame.fields.get(name)
    if not isinstance(figures, dict) or not all(
        isinstance(figure, int | float) for figure in figures.values()
    ):
        msg = f"{name} are {reprlib.repr(figures)}; expected numbers by their names"
        raise FrameError(msg)
    return figures


#: How a field is read, by its type as it stands in the class.
_READ: Final[Mapping[str, Callable[[Frame, str], Any]]] = {
    "bool": lambda frame, name: bool(frame.fields.get(name)),
    "int": lambda frame, name: int(frame.number(name)),
    "float": lambda frame, name: float(frame.number(name)),
    "str": Frame.text,
    "str | None": lambda frame, name: None if frame.fields.get(name) is None else frame.text(name),
    "Mapping[str, float]": _figures,
}
