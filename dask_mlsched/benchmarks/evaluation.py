"""How good a model is: its runs on the instances of the test, and what its parts are worth.

All figures are ratios to Dask alone on the same instance, so below 1 is better.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import numpy as np
from rich import box
from rich.table import Table

from dask_mlsched.core.network import Network
from dask_mlsched.learning.processes import Processes
from dask_mlsched.learning.verdict import Verdict, judge

#: The model as it is, and the parts that are taken away from it.
MODEL: Final = "model"
NEVER_HOLD: Final = "never hold"
LINEAR: Final = "linear part only"
ORDER: Final = "Dask's order"

#: Called with what is judged next and the share that is done.
OnVariant: TypeAlias = Callable[[str, float], None]


@dataclass(frozen=True)
class Evaluation:
    """Outcomes of a model and of its variants on the instances of several splits."""

    #: Name -> places in `names`.
    splits: Mapping[str, range]
    #: Of the instances.
    names: Sequence[str]
    tasks: Sequence[int]
    #: Of all instances, by variant.
    verdicts: Mapping[str, Verdict]

    def verdict(self, variant: str, split: str) -> Verdict:
        """Return what a variant comes to on one split."""
        outcomes = self.verdicts[variant].outcomes
        return Verdict(tuple(outcomes[place] for place in self.splits[split]))


def evaluate(
    network: Network,
    processes: Processes,
    splits: Mapping[str, range],
    on_variant: OnVariant = lambda _name, _share: None,
) -> Evaluation:
    """Run a network and its variants on all instances.

    Parameters
    ----------
    network
        What is judged.
    processes
        Know the instances.
    splits
        Which of them make a split.
    on_variant
        Told of progress.
    """
    variants: dict[str, tuple[Network | None, bool]] = {
        MODEL: (network, True),
        NEVER_HOLD: (network, False),
        LINEAR: (without_hidden(network), True),
        ORDER: (None, True),
    }
    verdicts = {}
    for number, (name, (each, may_hold)) in enumerate(variants.items()):
        on_variant(name, number / len(variants))
        verdicts[name] = judge(processes, each, may_hold=may_hold)
    on_variant("done", 1.0)
    return Evaluation(
        splits,
        [instance.name for instance in processes.instances],
        [len(instance.dag) for instance in processes.instances],
        verdicts,
    )


def without_hidden(network: Network) -> Network:
    """Return the linear part of a network alone."""
    return network._replace(w3=np.zeros_like(network.w3))


def as_json(evaluation: Evaluation) -> dict[str, Any]:
    """Return what `dask mlsched evaluate --json` prints: ratios to Dask alone."""
    return {
        "format": "mlsched-evaluation",
        "version": 1,
        "splits": {
            split: {
                "instances": [
                    {
                        "instance": evaluation.names[place],
                        "tasks": evaluation.tasks[place],
                        "bytes_moved": evaluation.verdicts[MODEL].outcomes[place].bytes_moved,
                        "makespan": evaluation.verdicts[MODEL].outcomes[place].makespan,
                        "holds": evaluation.verdicts[MODEL].outcomes[place].holds,
                    }
                    for place in places
                ],
                "variants": {
                    variant: _figures(evaluation.verdict(variant, split))
                    for variant in evaluation.verdicts
                },
            }
            for split, places in evaluation.splits.items()
        },
    }


def _figures(verdict: Verdict) -> dict[str, float]:
    return {
        "bytes_moved": verdict.bytes_moved,
        "bytes_moved_worst": verdict.worst_bytes,
        "makespan": verdict.makespan,
        "makespan_worst": verdict.worst_makespan,
        "losses": verdict.losses,
        "holds": verdict.holds,
    }


_MEANING: Final = (
    "Ratios to Dask alone, with LRU eviction, one task of lookahead, and copies that take four "
    "times as long as computing under Dask alone: geometric means, the worst, and how many "
    "instances take more than a hundredth longer."
)
_HEADINGS: Final = ("bytes moved", "worst", "makespan", "worst", "slower", "holds")


def _cells(verdict: Verdict) -> tuple[str, ...]:
    return (
        f"{verdict.bytes_moved:.3f}",
        f"{verdict.worst_bytes:.2f}",
        f"{verdict.makespan:.3f}",
        f"{verdict.worst_makespan:.2f}",
        f"{verdict.losses} of {len(verdict.outcomes)}",
        f"{verdict.holds}",
    )


def tables(evaluation: Evaluation) -> list[Table]:
    """Lay out all instances, and then the variants, for a terminal."""
    made = []
    for split, places in evaluation.splits.items():
        each = Table(title=f"{split}: ratios to Dask alone", box=box.SIMPLE_HEAD, padding=0)
        each.add_column("instance")
        for heading in ("tasks", "bytes moved", "makespan", "holds"):
            each.add_column(heading, justify="right", no_wrap=True)
        for place in places:
            found = evaluation.verdicts[MODEL].outcomes[place]
            each.add_row(
                evaluation.names[place],
                str(evaluation.tasks[place]),
                f"{found.bytes_moved:.3f}",
                f"{found.makespan:.3f}",
                str(found.holds),
            )
        made.append(each)
    for split in evaluation.splits:
        means = Table(title=f"{split}: geometric means", box=box.SIMPLE_HEAD, padding=0)
        means.add_column("variant", no_wrap=True)
        for heading in _HEADINGS:
            means.add_column(heading, justify="right", no_wrap=True)
        for variant in evaluation.verdicts:
            means.add_row(variant, *_cells(evaluation.verdict(variant, split)))
        made.append(means)
    return made


def markdown(evaluation: Evaluation, *, summary: bool = False) -> str:
    """Write the part of a model's card that says how good it is; a `summary` only has means."""
    lines = [
        "## Figures",
        "",
        _MEANING,
    ]
    for split, places in evaluation.splits.items():
        lines += ["", f"### {split}: {len(places)} instances", ""]
        lines += [f"| variant | {' | '.join(_HEADINGS)} |", "|---|" + "---:|" * len(_HEADINGS)]
        lines += [
            f"| {variant} | {' | '.join(_cells(evaluation.verdict(variant, split)))} |"
            for variant in evaluation.verdicts
        ]
        if summary:
            continue
        lines += ["", "| instance | tasks | bytes moved | makespan |", "|---|---:|---:|---:|"]
        for place in places:
            found = evaluation.verdicts[MODEL].outcomes[place]
            lines.append(
                f"| {evaluation.names[place]} | {evaluation.tasks[place]} | "
                f"{found.bytes_moved:.3f} | {found.makespan:.3f} |"
            )
    return "\n".join(lines) + "\n"
