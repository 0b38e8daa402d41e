"""The options that say on which instances a model is judged, and these instances."""

from __future__ import annotations

import click

from dask_mlsched.benchmarks import training_set
from dask_mlsched.benchmarks.training_set import SPLITS, Split
from dask_mlsched.cli.bar import Tell
from dask_mlsched.cli.options import Checked, complain, missing_packages_are_mistakes
from dask_mlsched.learning.instance import Instance


def _splits(text: str) -> tuple[Split, ...]:
    named = {part.strip() for part in text.split(",")}
    if not named <= set(SPLITS):
        msg = f"--splits={text!r}; expected one or more of {', '.join(SPLITS)}"
        raise ValueError(msg)
    return tuple(split for split in SPLITS if split in named)


SPLITS_OPTION = click.option(
    "--splits",
    type=Checked("names", _splits),
    default="test,unseen",
    show_default=True,
    help="Of the training set: other sizes and seeds, and families that training never saw.",
)
ONLY = click.option("--only", help="Only workloads whose name begins so.")


def judged(
    splits: tuple[Split, ...], only: str | None, tell: Tell
) -> tuple[list[Instance], dict[str, range]]:
    """Make the instances; also return which of them make each split."""
    ranges: dict[str, range] = {}
    instances: list[Instance] = []
    with missing_packages_are_mistakes():
        for split in splits:
            cases = [c for c in training_set.cases(split) if c.workload.startswith(only or "")]
            made = training_set.make(cases, tell)
            if made:
                ranges[split] = range(len(instances), len(instances) + len(made))
            instances += made
    if not instances:
        complain(f"--only={only!r} leaves nothing; give the beginning of a workload's name")
    return instances, ranges
