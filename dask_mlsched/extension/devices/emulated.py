"""A device that is not there: arrays of the host, whose copies take the time of a bus."""

from __future__ import annotations

from typing import Any

from dask_mlsched.extension.device_copy import CopyEngine, is_array
from dask_mlsched.extension.quantities import parse_bandwidth, parse_duration


class EmulatedDevice:
    """A device of the given speed for numpy, ``scipy.sparse`` and ``sparse`` arrays.

    Copies run beside computing: a thread that waits for one lets others go on.

    Parameters
    ----------
    bandwidth
        Of copies to the device, in bytes per second or as a string (``"1GB/s"``).
    latency
        Of each copy, in seconds or as a string (``"10us"``).
    evict_bandwidth
        Of copies to the host; by default as to the device.
    duplex
        Whether a copy to the device and one to the host go on at the same time, as with the two
        engines of most GPUs. Of each direction, one does at any time.

    Raises
    ------
    ValueError
        A parameter is not a quantity of its kind, or not above zero.
    """

    name = "emulated"

    def __init__(
        self,
        bandwidth: float | str = "1GB/s",
        latency: float | str = "10us",
        evict_bandwidth: float | str | None = None,
        *,
        duplex: bool = False,
    ) -> None:
        evicting = bandwidth if evict_bandwidth is None else evict_bandwidth
        self._parameters = (
            parse_bandwidth("bandwidth", bandwidth),
            parse_duration("latency", latency),
            parse_bandwidth("evict_bandwidth", evicting),
        )
        self._duplex = duplex
        into, waits, out = self._parameters
        self._load = CopyEngine(into, waits)
        self._evict = CopyEngine(out, waits, beside=None if duplex else self._load)

    def __reduce__(self) -> tuple[Any, ...]:
        """Travel to a worker by the parameters: a store there has a device of its own."""
        return _emulated, (*self._parameters, self._duplex)

    def owns(self, value: object) -> bool:
        """Whether it is an array, or a list, tuple, set or dict with one in it."""
        return is_array(value)

    def to_host(self, value: Any) -> tuple[Any, float]:
        """Return a copy, and the seconds it took."""
        return self._evict.timed(value, "evict")

    def to_device(self, copy: Any) -> tuple[Any, float]:
        """Return a copy, and the seconds it took."""
        return self._load.timed(copy, "load")


def _emulated(
    bandwidth: float, latency: float, evict_bandwidth: float, duplex: bool
) -> EmulatedDevice:
    return EmulatedDevice(bandwidth, latency, evict_bandwidth, duplex=duplex)
