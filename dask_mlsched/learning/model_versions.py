"""The versions of a model in a folder: files that never change, of which the newest one serves.

To go back to the one before, take the newest file away.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from dask_mlsched.core import features
from dask_mlsched.core.network import Network
from dask_mlsched.learning.default_model import default_network
from dask_mlsched.learning.model_file import Model, ModelFileError, load, save

_NAME: Final = re.compile(r"v(\d{4,9})\.safetensors")


@dataclass(frozen=True, eq=False)
class ModelVersion:
    """A network, and its number; 0 for the one that ships."""

    number: int
    network: Network
    #: What is wrong with those that are newer.
    problems: tuple[str, ...] = ()


class ModelVersions:
    """The versions in one folder.

    Parameters
    ----------
    folder
        Made with the first version.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def path(self, number: int) -> Path:
        """Name the file of a version."""
        return self._folder / f"v{number:04d}.safetensors"

    def numbers(self) -> list[int]:
        """List the versions that there are, oldest first."""
        found = [] if not self._folder.is_dir() else self._folder.iterdir()
        return sorted(int(name[1]) for each in found if (name := _NAME.fullmatch(each.name)))

    def newest(self) -> ModelVersion:
        """Load the newest version that can be used, or else the model that ships.

        Raises
        ------
        ModelFileError
            If none can be used, and the installation is damaged.
        """
        problems = []
        for number in reversed(self.numbers()):
            try:
                model = load(self.path(number), features.NAMES)
            except ModelFileError as error:
                problems.append(str(error))
            else:
                return ModelVersion(number, model.network, tuple(problems))
        return ModelVersion(0, default_network(), tuple(problems))

    def add(self, number: int, network: Network, card: Mapping[str, str]) -> None:
        """Write a version; the file is there as a whole or not at all.

        Raises
        ------
        ModelFileError
            If the network is none.
        OSError
            If it cannot be written.
        """
        path = self.path(number)
        assert not path.exists(), "versions never change"
        self._folder.mkdir(parents=True, exist_ok=True)
        save(path, Model(network, features.NAMES, card))
