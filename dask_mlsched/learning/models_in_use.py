"""Which model serves what: the aliases of a library, and what each stands for.

The aliases are `champion`, the generalist that serves; `challenger`, one that is on trial;
`previous`, the champion before; and for each family that has a model of its own ``family:<name>``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

from dask_mlsched.core.model_choice import BASELINE
from dask_mlsched.core.network import Network
from dask_mlsched.core.thresholds import Thresholds
from dask_mlsched.learning.default_model import default_model, default_network
from dask_mlsched.learning.families import Families
from dask_mlsched.learning.family import Family
from dask_mlsched.learning.library import Library
from dask_mlsched.learning.model_ref import CHALLENGER, CHAMPION, PREVIOUS, LibraryError
from dask_mlsched.learning.outcome import REFUSED, Outcome
from dask_mlsched.learning.shipped import Shipped
from dask_mlsched.learning.specialise import linear
from dask_mlsched.learning.variants import Variants, variants

#: The name of all generalists.
GENERALIST: Final = "generalist"


def family_alias(family: str) -> str:
    """Return the alias of a family's own model."""
    return f"family:{family}"


class ModelsInUse:
    """The models of one library, as they serve.

    Parameters
    ----------
    library
        Open for writing. A champion is made of the model that ships, if there is none.
    families
        Whose runs there are.
    thresholds
        Of the gates.
    ship
        Makes the instances that ship; called once, when they are needed, for it takes seconds.
    """

    def __init__(
        self,
        library: Library,
        families: Families,
        thresholds: Thresholds,
        ship: Callable[[], Shipped],
    ) -> None:
        self.library = library
        self.families = families
        self.thresholds = thresholds
        self._ship = ship
        self._shipped: Shipped | None = None
        #: family -> what was found for it last and refused: the next search may begin there.
        self._found: dict[str, Network] = {}
        #: family -> the programs whose variants these are.
        self._variants: dict[str, tuple[tuple[str, ...], Variants]] = {}
        if CHAMPION not in library.aliases():
            self._begin()

    def _begin(self) -> None:
        self.library.move(
            {CHAMPION: self.ship_again()}, "the model that ships is the first champion"
        )

    def ship_again(self) -> str:
        """Add the model that ships."""
        return self.library.add(
            GENERALIST,
            default_model().network,
            made_by="shipped",
            reason="comes with the package",
        )

    @property
    def shipped(self) -> Shipped:
        """The instances that ship."""
        if self._shipped is None:
            self._shipped = self._ship()
        return self._shipped

    @property
    def champion(self) -> str:
        """The generalist that serves."""
        return self.library.aliases()[CHAMPION]

    @property
    def challenger(self) -> str | None:
        """The generalist on trial."""
        return self.library.aliases().get(CHALLENGER)

    @property
    def previous(self) -> str | None:
        """The champion before; None if there was none, or it was Dask alone."""
        previous = self.library.aliases().get(PREVIOUS)
        return None if previous == BASELINE else previous

    def own(self, family: Family) -> str | None:
        """Return the model that is a family's own; None if the generalist serves it.

        That is so where the family's own one cannot be loaded, too.
        """
        ref = self.library.aliases().get(family_alias(family.name))
        return ref if ref is not None and self.is_there(ref) else None

    def own_models(self, names: Iterable[str]) -> frozenset[str]:
        """Return the models that are some families' own."""
        found = (self.own(self.families[name]) for name in names)
        return frozenset(ref for ref in found if ref is not None)

    def shares(self, ref: str) -> bool:
        """Tell whether several families have a version as their own."""
        meant = [alias for alias, each in self.library.aliases().items() if each == ref]
        return sum(alias.startswith(family_alias("")) for alias in meant) > 1

    def network(self, ref: str) -> Network:
        """Load a network; for `BASELINE`, one that leaves all in Dask's order."""
        network = self.library.network(ref)
        return linear(default_network()) if network is None else network

    def is_there(self, ref: str) -> bool:
        """Tell whether a version is there, and can be loaded."""
        try:
            self.library.network(ref)
        except LibraryError:
            return False
        return True

    def variants(self, family: Family) -> Variants:
        """Return variants of a family's runs; none without any."""
        instances = self.families.suite(family).instances
        programs = tuple(each.name for each in instances)
        known = self._variants.get(family.name)
        if known is None or known[0] != programs:
            known = self._variants[family.name] = programs, variants(instances)
        return known[1]

    def simulated(self, family: Family, ref: str) -> dict[str, float]:
        """Return the simulated gain of a model in each program that is kept of a family."""
        if ref == BASELINE:
            return {}
        network = self.network(ref)
        return {
            program: -math.log(instance.run(network).makespan)
            for program, instance in self.families.suite(family).programs.items()
        }

    def refuse(
        self,
        reason: str,
        figures: Mapping[str, float],
        parents: Sequence[str],
        family: str | None = None,
    ) -> Outcome:
        """Leave everything as it is, and say in the log why."""
        what = "" if family is None else family_alias(family)
        self.library.note(REFUSED, what=what, why=reason, figures=figures, parents=parents)
        return Outcome(REFUSED, reason, None, family, figures)
