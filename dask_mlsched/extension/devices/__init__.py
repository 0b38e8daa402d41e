"""Devices: where arrays compute, emulated or of CUDA, behind one interface."""

from __future__ import annotations

from dask_mlsched.extension.devices.device import Device
from dask_mlsched.extension.devices.emulated import EmulatedDevice

__all__ = ["Device", "EmulatedDevice", "by_name"]


def by_name(name: str) -> Device:
    """Make a device of the usual kind: ``"cuda"`` or ``"emulated"``.

    Raises
    ------
    ValueError
        There is none of this name.
    """
    if name == "emulated":
        return EmulatedDevice()
    if name == "cuda":
        from dask_mlsched.extension.devices.cuda import CudaDevice

        return CudaDevice()
    msg = f"device is {name!r}; expected 'cuda', 'emulated', or a device of one's own"
    raise ValueError(msg)
