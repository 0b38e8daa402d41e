"""What a network comes to on several instances, against Dask alone."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean, geometric_mean

from dask_mlsched.core.network import Network
from dask_mlsched.learning.instance import Instance, Outcome
from dask_mlsched.learning.processes import Processes


@dataclass(frozen=True)
class Verdict:
    """The outcomes on some instances, in their order; at least one."""

    outcomes: tuple[Outcome, ...]

    @property
    def cost(self) -> float:
        """Return the mean of what training makes small."""
        return fmean(outcome.cost for outcome in self.outcomes)

    @property
    def bytes_moved(self) -> float:
        """Return the geometric mean of bytes moved over those under Dask alone."""
        # Nothing at all is moved where all fits after all; that must not make the mean 0.
        return geometric_mean(max(outcome.bytes_moved, 1e-3) for outcome in self.outcomes)

    @property
    def makespan(self) -> float:
        """Return the geometric mean of makespans over those under Dask alone."""
        return geometric_mean(outcome.makespan for outcome in self.outcomes)

    @property
    def worst_bytes(self) -> float:
        """Return the largest ratio of bytes moved."""
        return max(outcome.bytes_moved for outcome in self.outcomes)

    @property
    def worst_makespan(self) -> float:
        """Return the largest ratio of makespans."""
        return max(outcome.makespan for outcome in self.outcomes)

    @property
    def losses(self) -> int:
        """Count where the makespan is more than a hundredth above that of Dask alone."""
        return sum(outcome.makespan > 1.01 for outcome in self.outcomes)

    @property
    def holds(self) -> int:
        """Count the holds."""
        return sum(outcome.holds for outcome in self.outcomes)


def judge(
    processes: Processes,
    network: Network | None,
    places: Iterable[int] | None = None,
    *,
    may_hold: bool = True,
) -> Verdict:
    """Run a network on instances, all or those at some places; None for Dask's order."""
    chosen = range(len(processes.instances)) if places is None else places
    return Verdict(tuple(processes.call(outcome, [(place, network, may_hold) for place in chosen])))


def judge_here(instances: Sequence[Instance], network: Network | None) -> Verdict:
    """Run a network on instances, at least one, in this process; None for Dask's order."""
    with Processes(instances) as processes:
        return judge(processes, network)


def mean_costs(
    processes: Processes, networks: Sequence[Network], places: Sequence[int]
) -> list[float]:
    """Return what each network costs on average on the instances at some places."""
    found = processes.call(
        outcome, [(place, network, True) for network in networks for place in places]
    )
    step = len(places)
    return [
        fmean(each.cost for each in found[start : start + step])
        for start in range(0, len(found), step)
    ]


def by_family(instances: Iterable[Instance], figures: Iterable[float]) -> dict[str, list[float]]:
    """Gather the figures of instances by their families, in the order in which these come."""
    families: dict[str, list[float]] = {}
    for instance, figure in zip(instances, figures, strict=True):
        families.setdefault(instance.family, []).append(figure)
    return families


def outcome(instance: Instance, network: Network | None, may_hold: bool) -> Outcome:
    """Run a network on an instance."""
    return instance.run(network, may_hold=may_hold)
