"""The option that names a model file, and the network in it."""

from __future__ import annotations

from pathlib import Path

import click

from dask_mlsched.cli.options import complain
from dask_mlsched.core import features
from dask_mlsched.core.network import Network
from dask_mlsched.learning.default_model import default_network
from dask_mlsched.learning.model_file import ModelFileError, load

MODEL = click.option(
    "--model",
    type=click.Path(path_type=Path),
    help="A model file instead of the model that comes with the package.",
)


def network_in(model: Path | None) -> Network:
    """Read the network of a model file; None is what comes with the package."""
    try:
        return default_network() if model is None else load(model, features.NAMES).network
    except ModelFileError as error:
        complain(f"--model: {error}")
