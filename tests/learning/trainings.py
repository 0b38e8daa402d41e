"""Folders of trainings, as a cluster would have left them."""

from __future__ import annotations

from pathlib import Path

from dask_mlsched.core.dag import Dag
from dask_mlsched.core.network import Network
from dask_mlsched.core.thresholds import Thresholds
from dask_mlsched.core.training_message import LIBRARY
from dask_mlsched.learning.families import Families
from dask_mlsched.learning.family import Family, Run
from dask_mlsched.learning.fingerprint import fingerprint
from dask_mlsched.learning.instance import Instance
from dask_mlsched.learning.library import Library
from dask_mlsched.learning.model_ref import CHAMPION
from dask_mlsched.learning.models_in_use import GENERALIST, family_alias
from dask_mlsched.learning.operations import Operations
from dask_mlsched.learning.shipped import Shipped
from dask_mlsched.learning.training_folder import FAMILIES
from learning.instances import factorization, product, scored_by

#: Nothing that ships takes long.
SHIPPED = Shipped([factorization(6)], [factorization(5), product(4)])

#: Who serves at first: about as good as Dask alone.
FIRST = scored_by(rank=-1.0)

#: The names that their graphs give the families of products and of factorizations.
WORDS = ("product", "lu")


def a_training(folder: Path) -> Operations:
    """Make a folder with two families, each with one run, which one poor generalist serves."""
    library = Library.open(folder / LIBRARY, now=lambda: 1.75e9)
    first = library.add(GENERALIST, FIRST, made_by="hand", reason="to begin with")
    library.move({CHAMPION: first}, "there is no other")
    families = Families(folder / FAMILIES)
    for word, instance in zip(WORDS, (product(4), factorization(6)), strict=True):
        seen(families, word, instance)
    return Operations(library, families, Thresholds(), lambda: SHIPPED)


def seen(families: Families, word: str, instance: Instance | None) -> Family:
    """Have a family, of one run; without an instance, of one that could not be simulated."""
    dag = (instance or product(7)).dag
    program = f"{len(families):016x}"
    # The same graphs could be one family: it is asked for two.
    family = families.of(fingerprint(dag), program, word, Thresholds(same_family=2.0))
    assert family is not None
    family.ran(Run(1.75e9, "generalist/v0001", program, 2.0, 1.0 if instance else 0.0))
    if instance is not None:
        families.suite(family).offer(program, as_recorded(instance))
    families.save(family)
    return family


def as_recorded(instance: Instance) -> Instance:
    """Have the DAG stand in Dask's order, as those of recorded runs do."""
    tasks = list(instance.dag.tasks())
    dag = Dag.build(instance.name, [tasks[i] for i in instance.order.argsort().tolist()])
    return Instance.recorded(
        instance.name, instance.family, dag, instance.machine, instance.settings
    )


def own_model(operations: Operations, family: Family, network: Network) -> str:
    """Give a family a model of its own."""
    ref = operations.library.add(
        family.name, network, made_by="hand", reason="for a test", families=[family.name]
    )
    operations.library.move({family_alias(family.name): ref}, "for a test")
    return str(ref)
