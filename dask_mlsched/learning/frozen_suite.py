"""What every new network is judged on: DAGs of this cluster's own runs, kept once and for all.

The first run of each program gives one, as far as something can be won there. They are never
changed, so that figures of all updates can be compared.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final, Literal, TypeAlias

from dask_mlsched.core.calibration import Calibration
from dask_mlsched.core.compiled.rollout import EVICTIONS
from dask_mlsched.core.machine import SimulationError
from dask_mlsched.learning import instance_file
from dask_mlsched.learning.instance import Instance, InstanceError
from dask_mlsched.learning.instance_file import InstanceFileError

#: So many programs are kept, the first ones.
MOST: Final = 16

#: With more tasks than this, judging a network would take too long.
MOST_TASKS: Final = 5_000

_SUFFIX: Final = ".mlsched-instance.json"

#: What became of a run that was offered.
Offered: TypeAlias = Literal["kept", "known", "full", "too large", "nothing to win"]


class FrozenSuite:
    """The instances of own runs in one folder.

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
        self._instances: dict[str, Instance] = {}
        for path in sorted(folder.glob(f"*{_SUFFIX}")) if folder.is_dir() else ():
            try:
                self._instances[path.name] = instance_file.load(path)
            except InstanceFileError as error:
                problems.append(str(error))
        self.problems = tuple(problems)

    def __len__(self) -> int:
        """Count them."""
        return len(self._instances)

    @property
    def instances(self) -> Sequence[Instance]:
        """All of them, always in the same order; each is of a family of its own."""
        return tuple(self._instances[name] for name in sorted(self._instances))

    def offer(self, digest: int, calibration: Calibration) -> Offered:
        """Keep a recorded run, if it is the first of its program and something can be won.

        Parameters
        ----------
        digest
            Of its DAG; see `dag_digest`.

        Raises
        ------
        OSError
            If it cannot be written.
        """
        name = f"{digest:016x}"
        file = name + _SUFFIX
        # Also one that is damaged: what is frozen is not written again.
        if file in self._instances or (self._folder / file).exists():
            return "known"
        if len(self._instances) >= MOST:
            return "full"
        dag, settings = calibration.taken.dag, calibration.settings
        if len(dag) > MOST_TASKS:
            return "too large"
        if settings.eviction not in EVICTIONS:
            settings = replace(settings, eviction="next-use")
        try:
            made = Instance.recorded(f"run {name}", name, dag, calibration.machine, settings)
        except (InstanceError, SimulationError):
            return "nothing to win"
        self._folder.mkdir(parents=True, exist_ok=True)
        instance_file.save(self._folder / file, made)
        self._instances[file] = made
        return "kept"
