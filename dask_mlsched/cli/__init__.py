"""`dask mlsched …`: parse, call, print."""

from __future__ import annotations

from collections.abc import Sequence

import click

from dask_mlsched.cli.options import Group


def _commands() -> Sequence[click.Command]:
    from dask_mlsched.cli.ablations import ablations
    from dask_mlsched.cli.commands import bench, demo, overhead
    from dask_mlsched.cli.contest import contest
    from dask_mlsched.cli.evaluate import evaluate
    from dask_mlsched.cli.explain import explain, status
    from dask_mlsched.cli.fidelity import fidelity
    from dask_mlsched.cli.models import models
    from dask_mlsched.cli.published import published
    from dask_mlsched.cli.regret import regret
    from dask_mlsched.cli.replay import replay
    from dask_mlsched.cli.simulate import simulate
    from dask_mlsched.cli.speed import speed
    from dask_mlsched.cli.train import train
    from dask_mlsched.cli.training import training

    return (
        ablations,
        bench,
        contest,
        demo,
        evaluate,
        explain,
        fidelity,
        models,
        overhead,
        published,
        regret,
        replay,
        simulate,
        speed,
        status,
        train,
        training,
    )


#: The entry point: `dask` adds it to its own commands.
mlsched = Group(
    "mlsched",
    help="Memory-aware scheduling for clusters whose arrays do not fit on the device.",
    load=_commands,
)
