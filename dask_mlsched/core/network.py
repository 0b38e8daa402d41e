"""The scoring network as it is served: plain arrays, and one compiled function.

A decision is a matrix of features, one row per action. Of each row the network makes two figures:
the *preference* f, by whose softmax actions are chosen, and g, the signed log of the regret that
the action is expected to have (`dask_mlsched.learning.loss.slog`)::

    z = clip((x - mean) / scale, -8, 8)
    h = relu(relu(z @ w1 + b1) @ w2 + b2)
    f = z @ skip + h @ w3[:, 0] + b3[0]
    g =            h @ w3[:, 1] + b3[1]

The linear part `skip` is there so that a network can start from a linear score that is known to be
good, and is all there is when both hidden layers have no units.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple, TypeAlias

import numba as nb
import numpy as np
import numpy.typing as npt

Floats: TypeAlias = npt.NDArray[np.float32]

#: Standardised features are cut off here: so far out, a network only extrapolates.
CLIP: Final = 8.0

_CLIP: Final = np.float32(CLIP)
_ZERO: Final = np.float32(0)


class InvalidNetworkError(ValueError):
    """Arrays that are no network: one line with the array, what it is, what was expected."""


class Network(NamedTuple):
    """The weights of a scoring network: C-contiguous, float32; F features, H1 and H2 hidden units.

    A tuple of arrays, because compiled functions take one as an argument. `check` tells whether
    the arrays fit each other; `forward` does not look.
    """

    #: [F] what is subtracted from the features.
    mean: Floats
    #: [F] what they are divided by, above 0.
    scale: Floats
    #: [F] the linear part of the preference.
    skip: Floats
    #: [F, H1]
    w1: Floats
    #: [H1]
    b1: Floats
    #: [H1, H2]
    w2: Floats
    #: [H2]
    b2: Floats
    #: [H2, 2] to the preference and to g.
    w3: Floats
    #: [2]
    b3: Floats


def shapes(features: int, hidden: tuple[int, int]) -> dict[str, tuple[int, ...]]:
    """Return the shape of every array of a network.

    Examples
    --------
    >>> shapes(12, (32, 16))["w2"]
    (32, 16)
    """
    first, second = hidden
    return {
        "mean": (features,),
        "scale": (features,),
        "skip": (features,),
        "w1": (features, first),
        "b1": (first,),
        "w2": (first, second),
        "b2": (second,),
        "w3": (second, 2),
        "b3": (2,),
    }


def hidden_of(network: Network) -> tuple[int, int]:
    """Return the number of units in both hidden layers; (0, 0) for a linear score."""
    return len(network.b1), len(network.b2)


def check(network: Network) -> None:
    """Raise unless the arrays make a network that `forward` can be given.

    Raises
    ------
    InvalidNetworkError
        If an array is of another type, order or shape than the others ask for, holds a value that
        is not finite, or divides by what is not above 0.
    """
    for name, array in network._asdict().items():
        if not isinstance(array, np.ndarray) or array.dtype != np.float32:
            found = getattr(array, "dtype", type(array).__name__)
            msg = f"{name} is of type {found}; expected an array of float32"
            raise InvalidNetworkError(msg)
        if not array.flags.c_contiguous:
            msg = f"{name} is not C-contiguous; pass it through np.ascontiguousarray"
            raise InvalidNetworkError(msg)
    expected = shapes(network.mean.size, (network.b1.size, network.b2.size))
    for name, array in network._asdict().items():
        if array.shape != expected[name]:
            msg = (
                f"{name} is of shape {array.shape}; expected {expected[name]} with "
                f"{network.mean.size} features and hidden layers of {network.b1.size} "
                f"and {network.b2.size}"
            )
            raise InvalidNetworkError(msg)
        if not np.isfinite(array).all():
            value = array[~np.isfinite(array)].flat[0]
            msg = f"{name} holds {value}; expected finite values, as from a fit that converged"
            raise InvalidNetworkError(msg)
    if not (network.scale > 0).all():
        msg = f"scale holds {network.scale.min()}; expected values above 0, 1 for constant features"
        raise InvalidNetworkError(msg)


def linear(
    weights: npt.ArrayLike, mean: npt.ArrayLike | None = None, scale: npt.ArrayLike | None = None
) -> Network:
    """Make a network without hidden units: f is a weighted sum of the features, g is 0.

    Parameters
    ----------
    weights
        [F], of the standardised features; what is larger is preferred.
    mean, scale
        [F]; by default 0 and 1, so that the weights are of the features as they are, up to `CLIP`.

    Raises
    ------
    InvalidNetworkError
        As `check` does.
    """
    skip = _floats(weights)
    n = skip.size
    network = Network(
        mean=np.zeros(n, np.float32) if mean is None else _floats(mean),
        scale=np.ones(n, np.float32) if scale is None else _floats(scale),
        skip=skip,
        **{
            name: np.zeros(shape, np.float32)
            for name, shape in shapes(n, (0, 0)).items()
            if name not in ("mean", "scale", "skip")
        },
    )
    check(network)
    return network


def _floats(values: npt.ArrayLike) -> Floats:
    return np.array(values, np.float32, order="C")


def difference(found: Sequence[str], expected: Sequence[str]) -> str:
    """Say in a few words how the names of features differ; nothing if they are the same.

    Examples
    --------
    >>> difference(("a", "b"), ("a", "c"))
    'feature 1 is b, not c'
    >>> difference(("a",), ("a", "c"))
    '1 feature, not 2'
    """
    if len(found) != len(expected):
        return f"{len(found)} feature{'s' * (len(found) != 1)}, not {len(expected)}"
    for number, (here, there) in enumerate(zip(found, expected, strict=True)):
        if here != there:
            return f"feature {number} is {here}, not {there}"
    return ""


# Sums may be taken in any order and fused: that lets them run in vector units. NaN and infinity
# keep their meaning, because the guard tells a broken feature by a score that is not a number.
_compiled = nb.njit(
    cache=True, fastmath={"reassoc", "contract", "nsz", "arcp"}, error_model="numpy"
)


@_compiled
def _layer(x: Floats, w: Floats, b: Floats, out: Floats) -> None:
    """Write ``x @ w + b`` to `out`."""
    for j in range(out.size):
        out[j] = b[j]
    # The inner loops run along the rows of the weights, which lie side by side, and over four
    # rows at a time, because `out` is read and written once for each pass.
    i = 0
    while i + 4 <= x.size:
        x0, x1, x2, x3 = x[i], x[i + 1], x[i + 2], x[i + 3]
        for j in range(out.size):
            out[j] += x0 * w[i, j] + x1 * w[i + 1, j] + x2 * w[i + 2, j] + x3 * w[i + 3, j]
        i += 4
    while i < x.size:
        x0 = x[i]
        for j in range(out.size):
            out[j] += x0 * w[i, j]
        i += 1


@_compiled
def forward(network: Network, x: Floats, out: Floats) -> None:
    """Score the actions of one decision; may be called from compiled functions.

    About 8 microseconds for 33 actions, 32 features and two layers of 32 units, on one thread.

    Parameters
    ----------
    network
        As `check` accepts it.
    x
        [A, F] features, C-contiguous.
    out
        [A, 2], written: preference and g. NaN where a feature of the row is NaN.
    """
    mean, scale, skip, w1, b1, w2, b2, w3, b3 = network
    z = np.empty(mean.size, np.float32)
    h1 = np.empty(b1.size, np.float32)
    h2 = np.empty(b2.size, np.float32)
    for a in range(x.shape[0]):
        f, g = b3[0], b3[1]
        # Compiled as written, `min` and `max` keep their first argument if it is NaN.
        for j in range(z.size):
            value = (x[a, j] - mean[j]) / scale[j]
            value = min(value, _CLIP)
            value = max(value, -_CLIP)
            z[j] = value
            f += value * skip[j]
        _layer(z, w1, b1, h1)
        for j in range(h1.size):
            h1[j] = max(h1[j], _ZERO)
        _layer(h1, w2, b2, h2)
        for j in range(h2.size):
            value = max(h2[j], _ZERO)
            f += value * w3[j, 0]
            g += value * w3[j, 1]
        out[a, 0] = f
        out[a, 1] = g
