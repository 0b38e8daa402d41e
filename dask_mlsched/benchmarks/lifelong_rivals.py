"""What our library is compared with: models per program, specialists, and joint training."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import chain
from statistics import geometric_mean

from dask_mlsched.benchmarks.lifelong_stream import Arrival
from dask_mlsched.core.network import Network
from dask_mlsched.core.thresholds import Thresholds
from dask_mlsched.learning import family_update, merging
from dask_mlsched.learning.challengers import challenger
from dask_mlsched.learning.dag_digest import dag_digest
from dask_mlsched.learning.default_model import default_network
from dask_mlsched.learning.gate import Suite
from dask_mlsched.learning.instance import Instance
from dask_mlsched.learning.merging import Parent
from dask_mlsched.learning.outcome import Effort
from dask_mlsched.learning.processes import Processes
from dask_mlsched.learning.starts import best_start
from dask_mlsched.learning.variants import variants
from dask_mlsched.learning.verdict import judge


class ModelPerProgram:
    """One model for each program, never shared: a program that is new begins anew.

    Parameters
    ----------
    networks
        That a search runs after each run.
    """

    def __init__(self, networks: int) -> None:
        self._networks = networks
        self._generalist = default_network()
        #: program -> its model, and its runs so far.
        self._models: dict[int, tuple[Network, int]] = {}

    def serve(self, arrival: Arrival) -> float:
        """Run with the program's model, and search on; return the makespan over Dask alone's."""
        program = dag_digest(arrival.instance.dag)
        network, runs = self._models.get(program, (self._generalist, 0))
        makespan = arrival.instance.run(network).makespan
        effort = Effort.counted(self._networks)
        attempt = family_update.attempt(
            network,
            (),
            variants([arrival.instance]),
            None,
            Thresholds(),
            kind="update",
            seed=runs,
            elapsed=effort.elapsed,
            seconds=effort.most,
        )
        if attempt.network is not None and attempt.objection is None:
            network = attempt.network
        self._models[program] = network, runs + 1
        return makespan


def specialists(
    arrivals: Sequence[Arrival],
    networks: int,
    seed: int,
    on_step: Callable[[str, float], None],
) -> dict[str, Network]:
    """Search at length for the network of each workload, over all its runs."""
    workloads = list(dict.fromkeys(arrival.workload for arrival in arrivals))
    found = {}
    for number, workload in enumerate(workloads):
        on_step(f"specialist of {workload}", number / len(workloads))
        instances = [each.instance for each in arrivals if each.workload == workload]
        found[workload] = _searched(instances, networks, seed)
    return found


def _searched(instances: Sequence[Instance], networks: int, seed: int) -> Network:
    """Search from the best start; the runs themselves, for it is to be hard to reach."""
    generalist = default_network()
    with Processes(instances) as processes:
        start = best_start(processes, (generalist,), generalist)
    effort = Effort.counted(networks)
    made = challenger(
        start,
        Suite(instances, ()),
        None,
        seed=seed,
        elapsed=effort.elapsed,
        seconds=effort.most,
        search=family_update.SEARCH,
    )
    return start if made is None else made.network


def merged_over_joint(parents: Sequence[Parent], merge: int, joint: int, seed: int) -> float:
    """Merge the models of families, and compare with a training on the union of their runs.

    Parameters
    ----------
    merge, joint
        Networks that each of them runs; the training begins at the model that ships.

    Returns
    -------
    float
        Makespan of the merged model over that of the other: geometric mean over families, on
        variants of their runs that neither has seen.
    """
    short, long = Effort.counted(merge), Effort.counted(joint)
    generalist = default_network()
    merged = merging.merge(
        parents,
        generalist,
        Thresholds(),
        seed=seed,
        elapsed=short.elapsed,
        seconds=short.most,
    ).network
    union = list(chain.from_iterable(parent.variants.searched for parent in parents))
    made = challenger(
        generalist,
        Suite(union, ()),
        None,
        seed=seed,
        elapsed=long.elapsed,
        seconds=long.most,
        search=merging.SEARCH,
    )
    trained = generalist if made is None else made.network
    return geometric_mean(_ratio(parent, merged, trained) for parent in parents)


def _ratio(parent: Parent, one: Network, other: Network) -> float:
    with Processes(parent.variants.judged) as processes:
        makespans = [
            geometric_mean(each.makespan for each in judge(processes, network).outcomes)
            for network in (one, other)
        ]
    return makespans[0] / makespans[1]
