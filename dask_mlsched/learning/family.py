"""A family of graphs: what its runs look like, what they came to, and what was made of that.

Kept as one JSON file, replaced as a whole. Runs are compared with Dask alone: their *gain* is
``log(T_baseline / T)``, which is 0 for runs of Dask alone.
"""

from __future__ import annotations

import json
import math
import reprlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from dask_mlsched.core.model_choice import BASELINE
from dask_mlsched.learning import strict_json
from dask_mlsched.learning.checked_file import TooLargeError, read_regular
from dask_mlsched.learning.fingerprint import Fingerprint, FingerprintError, merged
from dask_mlsched.learning.one_line import one_line
from dask_mlsched.learning.whole_file import write_whole

FORMAT: Final = "mlsched-family"
VERSION: Final = 1

#: Bytes of the largest file that is read.
SIZE_LIMIT: Final = 16_000_000

#: Runs, and programs' fingerprints, that are kept: the latest.
MOST_RUNS: Final = 200
MOST_FINGERPRINTS: Final = 6


class FamilyError(ValueError):
    """A file that holds no family: one line with file, what was found, expected, cure."""


@dataclass(frozen=True, slots=True)
class Run:
    """What a real run came to."""

    #: Seconds since the epoch.
    time: float
    #: Which model decided; None if several did, or one that the library has not.
    model: str | None
    #: Tells programs of a family apart; see `dag_digest`.
    program: str
    seconds: float
    #: What Dask alone takes, or would: a run that was measured, else a simulation; 0 if nobody
    #: knows.
    baseline_seconds: float
    measured: bool = False
    bytes_moved: int = 0
    baseline_bytes: int = 0
    #: Share of the workers' time in which slots were held.
    held_share: float = 0.0
    #: Times that the policy failed.
    failures: int = 0

    @property
    def known(self) -> bool:
        """Whether it can be compared with Dask alone."""
        return self.seconds > 0 and self.baseline_seconds > 0

    @property
    def gain(self) -> float:
        """Return ``log(T_baseline / T)``; 0 where that is not known."""
        if not self.known:
            return 0.0
        # Not of their ratio, which may be too large or too small for a number.
        return math.log(self.baseline_seconds) - math.log(self.seconds)


@dataclass(slots=True)
class Family:
    """One family."""

    name: str
    #: program -> what its graph looks like, the latest last.
    fingerprints: dict[str, Fingerprint] = field(default_factory=dict)
    #: model -> its gain, simulated on variants of the family's runs.
    estimates: dict[str, float] = field(default_factory=dict)
    #: The latest, oldest first.
    runs: list[Run] = field(default_factory=list)
    #: model -> why it is never to decide here again.
    banned: dict[str, str] = field(default_factory=dict)
    #: Why it is left to Dask alone, and for how many runs more; None if it is not.
    sent_back: str | None = None
    runs_left: int = 0
    #: How often it was sent back.
    strikes: int = 0
    #: Runs that there ever were; and how many there have to be before a model is tried again.
    count: int = 0
    attempt_at: int = 0
    #: Made when it is asked for: that is often, and takes half a millisecond.
    _prototype: Fingerprint | None = field(default=None, init=False, repr=False, compare=False)

    @property
    def prototype(self) -> Fingerprint:
        """What its graphs look like, on the whole."""
        if self._prototype is None:
            self._prototype = merged(list(self.fingerprints.values()))
        return self._prototype

    def saw(self, program: str, fingerprint: Fingerprint) -> None:
        """Take in what a program's graph looks like."""
        self._prototype = None
        self.fingerprints.pop(program, None)
        self.fingerprints[program] = fingerprint
        while len(self.fingerprints) > MOST_FINGERPRINTS:
            del self.fingerprints[next(iter(self.fingerprints))]

    def ran(self, run: Run) -> None:
        """Take in what a run came to."""
        self.count += 1
        self.runs.append(run)
        del self.runs[:-MOST_RUNS]

    def runs_of(self, model: str) -> list[Run]:
        """List the runs in which a model decided, oldest first."""
        return [run for run in self.runs if run.model == model]

    def baseline_seconds(self, program: str) -> float | None:
        """Return what Dask alone took for a program, the median of its runs; None without any."""
        took = sorted(run.seconds for run in self.runs_of(BASELINE) if run.program == program)
        return took[len(took) // 2] if took else None

    def may_decide(self, model: str) -> bool:
        """Tell whether a model may decide here."""
        return model not in self.banned


def save(path: Path, family: Family) -> None:
    """Write a family; the file is replaced as a whole, or stays as it was.

    Raises
    ------
    OSError
        If it cannot be written.
    """
    document = {
        "format": FORMAT,
        "version": VERSION,
        "name": family.name,
        "fingerprints": {program: each.to_json() for program, each in family.fingerprints.items()},
        "estimates": family.estimates,
        "runs": [asdict(run) for run in family.runs],
        "banned": family.banned,
        "sent_back": family.sent_back,
        "runs_left": family.runs_left,
        "strikes": family.strikes,
        "count": family.count,
        "attempt_at": family.attempt_at,
    }
    write_whole(path, json.dumps(document, allow_nan=False, indent=1).encode())


def load(path: Path) -> Family:
    """Read a family.

    Raises
    ------
    FamilyError
        If it cannot be read or holds none.
    """
    try:
        document = strict_json.loads(read_regular(path, SIZE_LIMIT))
        if (document["format"], document["version"]) != (FORMAT, VERSION):
            found = f"is of {document['format']!r}, version {document['version']!r}"
            raise _error(path, found, f"{FORMAT!r}, version {VERSION}")
        return _family(document)
    except TooLargeError:
        raise _error(path, "is too large", f"{SIZE_LIMIT} bytes at most") from None
    except OSError as error:
        raise _error(path, f"cannot be read ({error.strerror})", "a file") from None
    except FamilyError:
        raise
    except (FingerprintError, *_ODD) as error:
        found = f"holds no family ({type(error).__name__}: {error})"
        raise _error(path, found, "one as it was written") from None


_COUNTS: Final = ("runs_left", "strikes", "count", "attempt_at")

#: What JSON holds exactly everywhere.
_LARGEST: Final = 2**53

#: What reading a file raises that was not written here.
_ODD: Final = (AttributeError, KeyError, TypeError, ValueError)


def _family(document: dict[str, Any]) -> Family:
    sent_back = document["sent_back"]
    if not isinstance(sent_back, str | None):
        msg = f"it is sent back for {reprlib.repr(sent_back)}"
        raise TypeError(msg)
    if not document["fingerprints"]:
        msg = "nothing tells its graphs by"
        raise ValueError(msg)
    return Family(
        name=str(document["name"]),
        fingerprints={
            str(program): Fingerprint.from_json(each)
            for program, each in document["fingerprints"].items()
        },
        estimates={str(each): _number(gain) for each, gain in document["estimates"].items()},
        runs=_runs(document["runs"]),
        banned={str(each): one_line(str(why)) for each, why in document["banned"].items()},
        sent_back=None if sent_back is None else one_line(sent_back),
        **{name: _count(name, document[name]) for name in _COUNTS},
    )


def _runs(values: Sequence[dict[str, Any]]) -> list[Run]:
    runs = [Run(**each) for each in values]
    for each, run in zip(values, runs, strict=True):
        _number(run.time)
        if min(map(_number, (run.seconds, run.baseline_seconds, run.held_share))) < 0:
            msg = f"a run took {run.seconds} s, Dask alone {run.baseline_seconds} s"
            raise ValueError(msg)
        for name in ("bytes_moved", "baseline_bytes", "failures"):
            _count(name, getattr(run, name))
        model, program = each["model"], each["program"]
        if not (isinstance(model, str | None) and isinstance(program, str)):
            msg = f"a run was of {program!r:.80}, by {model!r:.80}"
            raise TypeError(msg)
    return runs


def _number(value: Any) -> float:
    number = strict_json.number(value)
    if number is None:
        msg = f"{value!r:.80} is no number"
        raise ValueError(msg)
    return number


def _count(name: str, value: Any) -> int:
    if type(value) is not int or not 0 <= value < _LARGEST:
        msg = f"{name} is {value!r:.80}"
        raise ValueError(msg)
    return value


def _error(path: Path, found: str, expected: str) -> FamilyError:
    return FamilyError(f"family {str(path)!r} {found}; expected {expected}; move it away")
