"""The families of which runs were seen, each in a folder of its own."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import chain, count
from pathlib import Path
from typing import Final

from dask_mlsched.core.thresholds import Thresholds
from dask_mlsched.learning import family as family_file
from dask_mlsched.learning.family import Family, FamilyError
from dask_mlsched.learning.family_suite import FamilySuite
from dask_mlsched.learning.fingerprint import Fingerprint, similarity

#: So many families are kept; graphs of more are served as graphs of no family.
MOST: Final = 64

FILE: Final = "family.json"


class Families:
    """The families in one folder.

    Parameters
    ----------
    folder
        Made with the first family.
    """

    #: What is wrong with families that are passed over.
    problems: tuple[str, ...]

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._families: dict[str, Family] = {}
        self._suites: dict[str, FamilySuite] = {}
        problems = []
        for path in sorted(folder.glob(f"*/{FILE}")) if folder.is_dir() else ():
            try:
                found = family_file.load(path)
            except FamilyError as error:
                problems.append(str(error))
                continue
            self._families[path.parent.name] = found
            found.name = path.parent.name
            problems.extend(self.suite(found).problems)
        self.problems = tuple(problems)

    def __iter__(self) -> Iterator[Family]:
        """Go through them by their names."""
        return iter([self._families[name] for name in sorted(self._families)])

    def __len__(self) -> int:
        """Count them."""
        return len(self._families)

    def __getitem__(self, name: str) -> Family:
        """Return a family by its name."""
        return self._families[name]

    def __contains__(self, name: object) -> bool:
        """Tell whether there is a family of that name."""
        return name in self._families

    def find(self, fingerprint: Fingerprint) -> tuple[Family | None, float]:
        """Return the family that is most similar to a graph, and how similar it is."""
        found = [(similarity(fingerprint, each.prototype), each) for each in self]
        if not found:
            return None, 0.0
        how, which = max(found, key=lambda pair: pair[0])
        return which, how

    def of(
        self, fingerprint: Fingerprint, program: str, word: str, thresholds: Thresholds
    ) -> Family | None:
        """Return the family of a graph, a new one if it is of none; None where there are too many.

        It is not written before `save`.

        Parameters
        ----------
        program
            See `dag_digest`.
        word
            What most of its tasks are, for the name of a new family.
        """
        found, how = self.find(fingerprint)
        if found is None or how < thresholds.same_family:
            if len(self) >= MOST:
                return None
            found = Family(self._new_name(word, fingerprint))
            self._families[found.name] = found
        found.saw(program, fingerprint)
        return found

    def near(self, family: Family, thresholds: Thresholds, most: int = 3) -> list[Family]:
        """List the other families that are near one, the nearest first."""
        own = family.prototype
        found = [
            (similarity(own, each.prototype), each) for each in self if each.name != family.name
        ]
        near = [pair for pair in found if pair[0] >= thresholds.near_family]
        return [each for _, each in sorted(near, key=lambda pair: -pair[0])[:most]]

    def save(self, family: Family) -> None:
        """Write a family.

        Raises
        ------
        OSError
            If it cannot be written.
        """
        folder = self._folder / family.name
        folder.mkdir(parents=True, exist_ok=True)
        family_file.save(folder / FILE, family)

    def suite(self, family: Family) -> FamilySuite:
        """Return the DAGs of its runs."""
        if family.name not in self._suites:
            self._suites[family.name] = FamilySuite(self._folder / family.name)
        return self._suites[family.name]

    def _new_name(self, word: str, fingerprint: Fingerprint) -> str:
        """Name a family after what most of its tasks are, and its key."""
        words = re.sub(r"[^a-z0-9]+", "-", word.lower()).strip("-")[:24] or "graph"
        name = f"{words}-{fingerprint.family[:4]}"
        taken: Sequence[str] = [
            *self._families,
            *(path.name for path in self._folder.glob("*") if path.is_dir()),
        ]
        return next(
            each
            for each in chain((name,), (f"{name}-{number}" for number in count(2)))
            if each not in taken
        )
