"""DAGs of a family's own runs, that its models are searched and judged on.

The first programs are frozen: figures of all models can be compared. Beside them are kept the
latest ones, so that a family whose sizes drift is not judged by what it was.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final, Literal, TypeAlias

from dask_mlsched.core.calibration import Calibration
from dask_mlsched.core.compiled.rollout import EVICTIONS
from dask_mlsched.learning import instance_file
from dask_mlsched.learning.instance import Instance
from dask_mlsched.learning.instance_file import InstanceFileError

#: So many programs of each kind are kept.
FROZEN: Final = 2
RECENT: Final = 2

#: With more tasks than this, judging a network would take too long.
MOST_TASKS: Final = 5_000

_SUFFIX: Final = ".mlsched-instance.json"
_FROZEN: Final = "frozen-"
_RECENT: Final = "recent-"
_NAME: Final = re.compile(rf"({_FROZEN}|{_RECENT})(\d{{6,18}})-(.+){re.escape(_SUFFIX)}")

#: What became of a program that was offered.
Offered: TypeAlias = Literal["frozen", "recent", "known", "too large"]


class FamilySuite:
    """The instances in one folder.

    Parameters
    ----------
    folder
        Made with the first instance.
    """

    #: What is wrong with files that are passed over.
    problems: tuple[str, ...]

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        problems = []
        #: File name -> instance; in the order in which the files were written.
        self._instances: dict[str, Instance] = {}
        for file in self._files():
            try:
                self._instances[file] = instance_file.load(folder / file)
            except InstanceFileError as error:
                problems.append(str(error))
        self.problems = tuple(problems)

    @property
    def frozen(self) -> Sequence[Instance]:
        """The first ones, which never change."""
        return tuple(self._of(_FROZEN).values())

    @property
    def instances(self) -> Sequence[Instance]:
        """All of them, the frozen ones first."""
        return (*self.frozen, *self._of(_RECENT).values())

    @property
    def programs(self) -> dict[str, Instance]:
        """All of them by their programs."""
        return {_parts(file)[1]: each for file, each in self._instances.items()}

    def offer(self, program: str, instance: Instance) -> Offered:
        """Keep the DAG of a program, if it is not known.

        Raises
        ------
        OSError
            If it cannot be written.
        """
        if len(instance.dag) > MOST_TASKS:
            return "too large"
        if any(_parts(file)[1] == program for file in self._files()):
            return "known"
        instance = replace(instance, name=f"run {program}", family=self._folder.name)
        kind, most = (_FROZEN, FROZEN) if len(self._files(_FROZEN)) < FROZEN else (_RECENT, RECENT)
        numbers = [_parts(file)[0] for file in self._files(kind)]
        self._write(f"{kind}{max(numbers, default=0) + 1:06d}-{program}{_SUFFIX}", instance)
        if kind == _FROZEN:
            return "frozen"
        for file in self._files(kind)[:-most]:
            self._instances.pop(file, None)
            (self._folder / file).unlink(missing_ok=True)
        return "recent"

    def _of(self, kind: str) -> dict[str, Instance]:
        return {f: each for f, each in sorted(self._instances.items()) if f.startswith(kind)}

    def _files(self, kind: str = "") -> list[str]:
        """List the files that are there, also damaged ones: what is frozen stays what it is."""
        if not self._folder.is_dir():
            return []
        names = sorted(path.name for path in self._folder.iterdir())
        return [name for name in names if name.startswith(kind) and _NAME.fullmatch(name)]

    def _write(self, file: str, instance: Instance) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        instance_file.save(self._folder / file, instance)
        self._instances[file] = instance


def _parts(file: str) -> tuple[int, str]:
    """Return the number and the program of a file."""
    found = _NAME.fullmatch(file)
    assert found is not None
    return int(found[2]), found[3]


def recorded_instance(calibration: Calibration, family: str, program: str) -> Instance:
    """Make an instance of a recorded run.

    Raises
    ------
    dask_mlsched.learning.instance.InstanceError
        If nothing can be won there.
    dask_mlsched.core.machine.SimulationError
        If a task does not fit.
    """
    settings = calibration.settings
    if settings.eviction not in EVICTIONS:
        settings = replace(settings, eviction="next-use")
    return Instance.recorded(
        f"run {program}", family, calibration.taken.dag, calibration.machine, settings
    )
