"""How accurate and how general the models of a library are: as tables, JSON, and a picture."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, Final

from rich import box
from rich.table import Table

from dask_mlsched.benchmarks.shipped_instances import ship
from dask_mlsched.core.model_choice import BASELINE
from dask_mlsched.core.network import Network
from dask_mlsched.core.thresholds import Thresholds
from dask_mlsched.learning.families import Families
from dask_mlsched.learning.fingerprint import similarity
from dask_mlsched.learning.generality import GapTable, gap_table, with_baseline
from dask_mlsched.learning.instance import Instance
from dask_mlsched.learning.library import Library
from dask_mlsched.learning.model_ref import LibraryError
from dask_mlsched.learning.models_in_use import GENERALIST
from dask_mlsched.learning.variants import variants

#: So many families stand beside each other in one table.
_BESIDE: Final = 6


@dataclass(frozen=True)
class Report:
    """What there is to tell of a library."""

    table: GapTable
    #: model -> the aliases that mean it.
    aliases: Mapping[str, Sequence[str]]
    #: Families, and [F][F] how similar their fingerprints are.
    families: tuple[str, ...]
    similarity: tuple[tuple[float, ...], ...]
    #: Families of which no run could be simulated.
    without_runs: tuple[str, ...]
    #: What is wrong with files that are passed over.
    problems: tuple[str, ...]


def report(
    library: Library,
    families: Families,
    *,
    every: bool = False,
    workloads: bool = False,
    covered_gap: float = Thresholds().covered_gap,
    processes: int = 1,
    on_step: Callable[[str, float], None] = lambda _text, _share: None,
) -> Report:
    """Run models on variants of the runs of all families.

    Parameters
    ----------
    every
        All versions, in place of those that an alias means.
    workloads
        Also on the workloads that ship.
    covered_gap
        From which on a family counts as covered.
    processes
        How many runs are simulated at a time.

    Raises
    ------
    LibraryError
        If a version that an alias means cannot be used, or no family has runs.
    """
    on_step("reads the models", 0.0)
    aliases: dict[str, list[str]] = {}
    for alias, ref in library.aliases().items():
        aliases.setdefault(ref, []).append(alias)
    models, problems = _models(library, list(aliases), every=every)
    on_step("makes variants of runs", 0.05)
    instances = {
        family.name: judged
        for family in families
        if (judged := variants(families.suite(family).instances).judged)
    }
    if workloads:
        on_step("makes the workloads that ship", 0.1)
        instances |= _shipped()
    if not instances:
        raise LibraryError(
            f"library {str(library.path)!r} has no families with runs beside it; expected some: "
            "let programs run first, or ask for the workloads that ship"
        )
    count = sum(map(len, instances.values()))
    on_step(f"{len(models)} models on {count} runs", 0.2)
    table = gap_table(
        with_baseline(models),
        instances,
        covers=_covers(library, models),
        covered_gap=covered_gap,
        processes=processes,
    )
    prototypes = [family.prototype for family in families]
    return Report(
        table,
        aliases,
        tuple(family.name for family in families),
        tuple(tuple(similarity(one, other) for other in prototypes) for one in prototypes),
        tuple(family.name for family in families if family.name not in instances),
        (*problems, *families.problems),
    )


def _models(
    library: Library, named: Sequence[str], *, every: bool
) -> tuple[dict[str, Network | None], list[str]]:
    """Load networks; of all versions, those that are damaged are passed over."""
    if not every:
        refs, problems = sorted(set(named) - {BASELINE}), []
    else:
        listed = library.survey()
        refs = [each.ref for each in listed if each.problem is None]
        problems = [each.problem for each in listed if each.problem is not None]
    return {ref: library.network(ref) for ref in refs}, problems


def _covers(library: Library, models: Mapping[str, object]) -> dict[str, Sequence[str]]:
    """Return the families that models are for; a generalist is for all."""
    cards = {ref: library.card(ref) for ref in models}
    return {
        ref: card.families
        for ref, card in cards.items()
        if card.families and ref.partition("/")[0] != GENERALIST
    }


def _shipped() -> dict[str, list[Instance]]:
    found: dict[str, list[Instance]] = {}
    for instance in ship().judged:
        found.setdefault(f"{instance.family} (ships)", []).append(instance)
    return found


def tables(found: Report) -> list[Table]:
    """Lay out for a terminal: gaps, models, and how alike families are."""
    families = found.table.families
    parts = [families[start : start + _BESIDE] for start in range(0, len(families), _BESIDE)]
    gaps = [_gaps(found.table, part) for part in parts]
    alike = [_alike(found)] if found.families else []
    return [*gaps, _summary(found), *alike]


def _gaps(table: GapTable, families: Sequence[Any]) -> Table:
    made = Table(title="Closed gap: 0 is Dask alone, 1 the best known", box=box.SIMPLE_HEAD)
    made.add_column("model", no_wrap=True)
    for family in families:
        made.add_column(family.family, justify="right", overflow="fold")
    for model in table.models:
        made.add_row(model, *(f"{family.gap(model):.2f}" for family in families))
    made.add_section()
    made.add_row("best known, of Dask's time", *(f"{family.best:.3f}" for family in families))
    return made


def _summary(found: Report) -> Table:
    table = found.table
    made = Table(title="Accuracy and generality", box=box.SIMPLE_HEAD, padding=(0, 1))
    for number, name in enumerate(
        ("model", "accuracy", "generality", "worst family", "", "front", "meant by")
    ):
        made.add_column(
            name,
            justify="right" if number in (1, 2, 4) else "left",
            no_wrap=number < 5,
            overflow="fold",
        )
    for model in table.models:
        worst = table.worst(model)
        made.add_row(
            model,
            _figure(table.accuracy(model)),
            _share(table.generality(model)),
            "" if worst is None else worst.family,
            "" if worst is None else f"{worst.gap(model):.2f}",
            "*" if model in table.front else "",
            ", ".join(found.aliases.get(model, ())),
        )
    return made


def _figure(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"


def _share(value: float | None) -> str:
    return "–" if value is None else f"{value:.0%}"


def _alike(found: Report) -> Table:
    made = Table(title="Similarity of fingerprints", box=box.SIMPLE_HEAD, padding=(0, 1))
    made.add_column("")
    for number in range(1, len(found.families) + 1):
        made.add_column(f"{number}", justify="right")
    for number, family in enumerate(found.families):
        row = found.similarity[number][: number + 1]
        made.add_row(f"{number + 1} {family}", *(f"{each:.2f}" for each in row))
    return made


def remarks(found: Report) -> list[str]:
    """Name families that do not count, and what is wrong."""
    told = []
    if found.table.left_out:
        told.append(f"no headroom, left out: {', '.join(found.table.left_out)}")
    if found.without_runs:
        told.append(f"no run could be simulated of: {', '.join(found.without_runs)}")
    return [*told, *chain(found.problems)]


def as_json(found: Report) -> dict[str, Any]:
    """Return all of it for machines."""
    return {
        **found.table.as_json(),
        "aliases": {
            alias: ref for ref, aliases in sorted(found.aliases.items()) for alias in aliases
        },
        "known_families": list(found.families),
        "similarity": [list(row) for row in found.similarity],
        "without_runs": list(found.without_runs),
        "problems": list(found.problems),
    }
