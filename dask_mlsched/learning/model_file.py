"""The model file: a network's weights, the names of its features, and what is known of it.

A safetensors file: nine arrays of float32 named as in `dask_mlsched.core.network.Network`, and as
metadata the format, its version, the names of the features and the hidden sizes, both as JSON, and
a *card*: free texts, such as where the model came from. No code is in it or run by reading it, and
torch is not needed to read it. Whatever is wrong with a file is found here, before anything is
decided by it.
"""

from __future__ import annotations

import json
import reprlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, cast

import numpy as np
import safetensors
import safetensors.numpy

from dask_mlsched.core.network import (
    InvalidNetworkError,
    Network,
    check,
    difference,
    hidden_of,
    shapes,
)
from dask_mlsched.learning.checked_file import TooLargeError, read_regular
from dask_mlsched.learning.one_line import one_line
from dask_mlsched.learning.whole_file import write_whole

FORMAT: Final = "mlsched-model"
VERSION: Final = 1

#: Bytes of the largest file that is read: a thousand times a usual model.
SIZE_LIMIT: Final = 16_000_000

#: Of these, bytes that say what is in it. Read into Python, they may take a hundred times as many.
HEADER_LIMIT: Final = 1_000_000

_CURE: Final = "save it again with dask_mlsched.learning.model_file.save, or use another model"


class ModelFileError(ValueError):
    """A file that cannot be used as a model: one line with file, what was found, expected, cure."""


@dataclass(frozen=True)
class Model:
    """A network and what it is for."""

    network: Network
    #: [F] what the columns of a decision's features must be, in this order.
    names: tuple[str, ...]
    #: Free texts.
    card: Mapping[str, str] = field(default_factory=dict)


def save(path: Path, model: Model) -> None:
    """Write a model; the file is replaced as a whole, or stays as it was.

    Raises
    ------
    ModelFileError
        If the model is one that `load` would not take.
    OSError
        If the file cannot be written.
    """
    try:
        check(model.network)
    except InvalidNetworkError as error:
        raise _error(path, str(error), "weights that can be served", "fit it again") from None
    features = model.network.mean.size
    if features != len(model.names):
        raise _error(
            path,
            f"{len(model.names)} names of features",
            f"the {features} that the network takes",
            "give the names that it was fitted with",
        )
    _check_card(path, dict(model.card))
    metadata = {
        "format": FORMAT,
        "version": str(VERSION),
        "features": json.dumps(list(model.names)),
        "hidden": json.dumps(hidden_of(model.network)),
        "card": json.dumps(dict(model.card)),
    }
    data = safetensors.numpy.save(model.network._asdict(), metadata)
    if len(data) > SIZE_LIMIT:
        raise _too_large(path, len(data))
    _check_header(path, data)
    write_whole(path, data)


def load(path: Path, names: Sequence[str] | None = None) -> Model:
    """Read a model.

    Parameters
    ----------
    path
        A file that `save` wrote.
    names
        If given, the names of the features that it must have been fitted with.

    Raises
    ------
    ModelFileError
        If it cannot be read, is too large, damaged or of another format or version, takes other
        features, or holds arrays of other names, types or shapes, or values that are not finite.
    """
    return parse(path, _read(path), names)


def parse(path: Path, data: bytes, names: Sequence[str] | None = None) -> Model:
    """Make a model of what `path` holds; for the rest, see `load`.

    Raises
    ------
    ModelFileError
        As `load` does.
    """
    if len(data) > SIZE_LIMIT:
        raise _too_large(path, len(data))
    tensors = _tensors(path, data)
    metadata = _metadata(data)
    _check_format(path, metadata)
    found = tuple(_list(path, metadata, "features", str))
    hidden = _list(path, metadata, "hidden", int)
    if len(hidden) != 2:
        raise _error(path, f"hidden sizes {hidden}", "two numbers", _CURE)
    if names is not None and (how := difference(found, names)):
        raise _error(
            path, how, f"the features {_short(names)}", "use or fit a model for this version"
        )
    network = _network(path, tensors, shapes(len(found), (hidden[0], hidden[1])))
    return Model(network, found, _card(path, metadata))


def _read(path: Path) -> bytes:
    try:
        return read_regular(path, SIZE_LIMIT)
    except TooLargeError as error:
        raise _too_large(path, error.nbytes) from None
    except (OSError, ValueError) as error:  # the latter for a name that no file can have
        found = f"cannot be read ({getattr(error, 'strerror', None) or error})"
        raise _error(path, found, "a model file", "name one that exists") from None


def _check_header(path: Path, data: bytes) -> None:
    header = int.from_bytes(data[:8], "little")
    # A longer one than the file is found by `deserialize`.
    if HEADER_LIMIT < header < len(data):
        found = f"a header of {header} bytes"
        raise _error(path, found, f"{HEADER_LIMIT} at most", "shorten its card")


def _tensors(path: Path, data: bytes) -> dict[str, Any]:
    _check_header(path, data)
    try:
        # What it returns is looked at below, one by one.
        return dict(safetensors.deserialize(data))  # type: ignore[no-untyped-call]
    except safetensors.SafetensorError as error:
        found = f"no safetensors file, or a damaged one ({error})"
        raise _error(path, found, f"a file of format {FORMAT!r}", _CURE) from None


def _metadata(data: bytes) -> dict[str, str]:
    # Its length and form have just been checked by `deserialize`.
    length = int.from_bytes(data[:8], "little")
    header: dict[str, dict[str, str]] = json.loads(data[8 : 8 + length])
    return header.get("__metadata__") or {}


def _check_format(path: Path, metadata: Mapping[str, str]) -> None:
    if metadata.get("format") != FORMAT:
        found = f"format {reprlib.repr(metadata.get('format'))}"
        raise _error(path, found, repr(FORMAT), _CURE)
    if metadata.get("version") != str(VERSION):
        found = f"version {reprlib.repr(metadata.get('version'))}"
        raise _error(path, found, f"{VERSION}", "use a dask_mlsched that reads the other")


def _json(path: Path, metadata: Mapping[str, str], key: str) -> Any:
    try:
        return json.loads(metadata[key])
    except (KeyError, ValueError, RecursionError):
        found = f"metadata {key!r} is {reprlib.repr(metadata.get(key))}"
        raise _error(path, found, "JSON", _CURE) from None


def _list(path: Path, metadata: Mapping[str, str], key: str, kind: type) -> list[Any]:
    values = _json(path, metadata, key)
    whole = isinstance(values, list) and all(type(value) is kind for value in values)
    if not whole or (kind is int and min(values, default=0) < 0):
        what = "names" if kind is str else "numbers, 0 or more"
        found = f"metadata {key!r} is {reprlib.repr(values)}"
        raise _error(path, found, f"a list of {what}", _CURE)
    return cast("list[Any]", values)


def _card(path: Path, metadata: Mapping[str, str]) -> dict[str, str]:
    return _check_card(path, _json(path, metadata, "card"))


def _check_card(path: Path, card: Any) -> dict[str, str]:
    if not isinstance(card, dict) or not all(
        isinstance(part, str) for item in card.items() for part in item
    ):
        cure = "put what it says in words, or in JSON"
        raise _error(path, f"card {reprlib.repr(card)}", "texts under texts", cure)
    return card


def _network(
    path: Path, tensors: Mapping[str, Any], expected: Mapping[str, tuple[int, ...]]
) -> Network:
    if tensors.keys() != expected.keys():
        odd = ", ".join(sorted(tensors.keys() ^ expected.keys()))
        found = f"arrays {_short(sorted(tensors))} (missing or too many: {odd})"
        raise _error(path, found, f"{', '.join(expected)}", _CURE)
    arrays = {}
    for name, shape in expected.items():
        tensor = tensors[name]
        here = (tensor["dtype"], tuple(tensor["shape"]))
        if here != ("F32", shape):
            found = f"array {name} of {here[0]} {here[1]}"
            raise _error(path, found, f"F32 {shape}", _CURE)
        # A copy, because what is read is in no order of alignment and may not be written to.
        arrays[name] = np.frombuffer(tensor["data"], "<f4").reshape(shape).astype(np.float32)
    network = Network(**arrays)
    try:
        check(network)
    except InvalidNetworkError as error:
        raise _error(path, str(error), "weights that can be served", _CURE) from None
    return network


def _short(names: Sequence[str]) -> str:
    shown = ", ".join(names[:9])
    return f"{shown}, …" if len(names) > 9 else shown


def _too_large(path: Path, nbytes: int) -> ModelFileError:
    return _error(path, f"{nbytes} bytes", f"{SIZE_LIMIT} at most", "fit a smaller network")


def _error(path: Path, found: str, expected: str, cure: str) -> ModelFileError:
    # What was found may be any text of any length.
    return ModelFileError(
        f"model file {str(path)!r}: {one_line(found)}; expected {one_line(expected)}; {cure}"
    )
