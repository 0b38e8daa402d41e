"""What the state file of a training holds, and what tells trainings apart."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from dask_mlsched.core import features
from dask_mlsched.core.network import Network
from dask_mlsched.learning.decisions import Decisions
from dask_mlsched.learning.instance import Instance
from dask_mlsched.learning.training import TrainSettings


def as_tensors(arrays: Mapping[str, npt.NDArray[Any]]) -> dict[str, torch.Tensor]:
    """Turn arrays into what a state file takes."""
    return {name: torch.from_numpy(np.array(array)) for name, array in arrays.items()}


def as_arrays(tensors: Mapping[str, torch.Tensor]) -> dict[str, npt.NDArray[Any]]:
    """Return the arrays that `as_tensors` was given."""
    return {name: tensor.numpy().copy() for name, tensor in tensors.items()}


def as_network(tensors: Mapping[str, torch.Tensor]) -> Network:
    """Return the network whose arrays `as_tensors` was given."""
    return Network(**as_arrays(tensors))


def identity(
    instances: Sequence[Instance], settings: TrainSettings, more: Decisions | None
) -> dict[str, str]:
    """Tell trainings apart whose states are not each other's."""
    crc = 0
    for each in instances:
        crc = zlib.crc32(each.name.encode(), crc)
        for array in (each.dag.nbytes, each.dag.seconds, each.dag.sources, each.order):
            crc = zlib.crc32(array.tobytes(), crc)
    replay = "none" if more is None else f"{len(more)} (checksum {more.checksum():08x})"
    return settings.identity() | {
        "instances": f"{len(instances)} (checksum {crc:08x})",
        "features": ", ".join(features.NAMES),
        "replay": replay,
    }
