"""The model that ships with the package: the generalist, for any DAG that nothing is known of."""

from __future__ import annotations

import functools
from importlib import resources
from pathlib import Path

from dask_mlsched.core import features
from dask_mlsched.core.network import Network
from dask_mlsched.learning.model_file import Model, load


@functools.cache
def default_model() -> Model:
    """Load the model that ships, and its card; read once for a process, without torch.

    Raises
    ------
    dask_mlsched.learning.model_file.ModelFileError
        If the installation is damaged, or the model was fitted to other features.
    """
    where = resources.files("dask_mlsched") / "models" / "default.safetensors"
    with resources.as_file(where) as path:
        return load(Path(path), features.NAMES)


def default_network() -> Network:
    """Return the network of `default_model`."""
    return default_model().network
