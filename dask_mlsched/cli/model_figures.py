"""What `dask mlsched models` tells of a library, for machines; the tables are made from it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, Final

import numpy as np

from dask_mlsched.core import features
from dask_mlsched.core.network import Network, hidden_of
from dask_mlsched.learning.library_reading import BASELINE_TEXT, LibraryReader, Listed
from dask_mlsched.learning.model_ref import BASELINE, LibraryError, ModelRef

#: Fields of a card that are compared, in this order.
COMPARED: Final = (
    "made_by",
    "parents",
    "reason",
    "families",
    "date",
    "digest",
    "figures",
    "extra",
)


def survey(library: LibraryReader) -> dict[str, Any]:
    """Gather all versions, and which aliases mean them."""
    aliases, problem = _aliases(library)
    meant = {ref: sorted(a for a, b in aliases.items() if b == ref) for ref in aliases.values()}
    versions = [
        {"version": each.ref, "aliases": meant.get(ModelRef(each.ref), []), **_listed(each)}
        for each in library.survey()
    ]
    there = {BASELINE, *(each["version"] for each in versions)}
    return {
        "library": str(library.path),
        "baseline": {"aliases": meant.get(BASELINE, []), "what": BASELINE_TEXT},
        "versions": versions,
        "aliases": aliases,
        "problems": [
            *([problem] if problem else []),
            *(
                f"alias {alias!r} means {ref!r}, which is not there; move it"
                for alias, ref in aliases.items()
                if ref not in there
            ),
        ],
    }


def version(library: LibraryReader, ref: ModelRef) -> dict[str, Any]:
    """Gather what is known of a version, and what its network looks like.

    Raises
    ------
    LibraryError
        If it is not there or damaged.
    """
    aliases, _ = _aliases(library)
    found: dict[str, Any] = {
        "version": ref,
        "aliases": sorted(alias for alias, target in aliases.items() if target == ref),
    }
    network = library.network(ref)
    if network is None:
        return {**found, "card": None, "what": BASELINE_TEXT, "network": None}
    return {**found, "card": asdict(library.card(ref)), "network": weights(network)}


def weights(network: Network) -> dict[str, Any]:
    """Tell a network's layers, and how much each feature weighs in it, the largest first."""
    linear, hidden = _by_feature(network)
    return {
        "features": len(network.mean),
        "hidden": list(hidden_of(network)),
        "weights": int(sum(array.size for array in network)),
        "by_feature": [
            {"feature": name, "linear": float(linear[n]), "hidden": float(hidden[n])}
            for n, name in _largest(np.hypot(linear, hidden))
        ],
    }


def difference(library: LibraryReader, first: ModelRef, second: ModelRef) -> dict[str, Any]:
    """Compare the cards and the networks of two versions.

    Raises
    ------
    LibraryError
        If one is not there or damaged.
    """
    both = [version(library, ref) for ref in (first, second)]
    cards = [each["card"] or {} for each in both]
    networks = [library.network(ref) for ref in (first, second)]
    return {
        "versions": [first, second],
        "cards": {name: [card.get(name) for card in cards] for name in COMPARED},
        "networks": None if None in networks else _compared(*(n for n in networks if n)),
    }


def _compared(first: Network, second: Network) -> dict[str, Any]:
    """Tell how far apart two networks are, and which features' weights changed most.

    The weights of hidden layers of different sizes cannot be compared: then, only the linear part.
    """
    same = hidden_of(first) == hidden_of(second)
    names = Network._fields if same else ("mean", "scale", "skip")
    apart = {
        name: float(np.linalg.norm(_double(getattr(second, name)) - _double(getattr(first, name))))
        for name in names
    }
    norm = float(np.sqrt(sum(np.sum(_double(getattr(first, name)) ** 2) for name in names)))
    distance = float(np.sqrt(sum(each**2 for each in apart.values())))
    linear = _double(second.skip) - _double(first.skip)
    hidden = _rows(_double(second.w1) - _double(first.w1)) if same else np.zeros_like(linear)
    return {
        "same_shapes": same,
        "hidden": [list(hidden_of(first)), list(hidden_of(second))],
        "distance": distance,
        "relative": distance / norm if norm else None,
        "by_array": apart,
        "by_feature": [
            {"feature": name, "linear": float(linear[n]), "hidden": float(hidden[n])}
            for n, name in _largest(np.hypot(linear, hidden))
        ],
    }


def _by_feature(network: Network) -> tuple[Any, Any]:
    return _double(network.skip), _rows(_double(network.w1))


def _double(array: Any) -> Any:
    # The squares of large weights do not fit single precision.
    return array.astype(np.float64)


def _rows(matrix: Any) -> Any:
    return np.sqrt((matrix**2).sum(axis=1))


def _largest(sizes: Any) -> list[tuple[int, str]]:
    names: Sequence[str] = features.NAMES
    return [(int(n), names[n]) for n in np.argsort(-sizes, kind="stable")]


def _listed(each: Listed) -> dict[str, Any]:
    return {"card": asdict(each.card) if each.card else None, "problem": each.problem}


def _aliases(library: LibraryReader) -> tuple[dict[str, ModelRef], str | None]:
    try:
        return library.aliases(), None
    except LibraryError as error:
        return {}, str(error)
