from __future__ import annotations

import pickle
import re
import sys
import threading
import types
from typing import Any

import numpy as np
import pytest
import scipy.sparse

from dask_mlsched.extension import device_copy
from dask_mlsched.extension.devices import EmulatedDevice, by_name
from dask_mlsched.extension.devices.cuda import CudaDevice
from fake_device import PATIENCE_SECONDS, Gate

FAST = {"bandwidth": "1000GB/s", "latency": "1ns"}


def test_it_owns_what_a_device_would_hold():
    device = EmulatedDevice()
    assert device.owns(np.ones(1))
    assert device.owns([scipy.sparse.eye_array(2)])
    assert not device.owns(np.array([{}], dtype=object))
    assert not device.owns("text")


def test_copies_share_nothing_and_take_the_time_of_the_bus():
    device = EmulatedDevice(bandwidth="8MB/s", latency="1ms", evict_bandwidth="80MB/s")
    value = np.arange(1000.0)
    copy, evicting = device.to_host(value)
    back, loading = device.to_device(copy)
    for one, other in ((value, copy), (copy, back)):
        np.testing.assert_array_equal(one, other)
        assert not np.shares_memory(one, other)
    # As was asked for, at least: the machine may be slow.
    assert evicting >= 1e-3 + 1e-4
    assert loading >= 1e-3 + 1e-3


@pytest.mark.parametrize("duplex", [False, True])
def test_copies_of_both_directions_meet_only_on_a_duplex_bus(
    monkeypatch: pytest.MonkeyPatch, duplex: bool
):
    device = EmulatedDevice(**FAST, duplex=duplex)
    gate, meeting = Gate(), []

    def copy_array(value: Any) -> Any:
        if value == "out":
            gate.pass_through()
        else:
            meeting.append(not device._evict.busy.locked())
        return value

    monkeypatch.setattr(device_copy, "copy_array", copy_array)
    out = threading.Thread(target=device.to_host, args=("out",), daemon=True)
    out.start()
    gate.begun()
    into = threading.Thread(target=device.to_device, args=("in",), daemon=True)
    into.start()
    if duplex:
        into.join(PATIENCE_SECONDS)
        assert meeting == [False]  # while the other was still on its way
    else:
        assert device._load.busy is device._evict.busy
        assert meeting == []
    gate.let_go()
    for thread in (out, into):
        thread.join(PATIENCE_SECONDS)
    assert len(meeting) == 1


@pytest.mark.parametrize("duplex", [False, True])
def test_it_travels_by_its_parameters(duplex: bool):
    device = EmulatedDevice("1GB/s", "1ms", "2GB/s", duplex=duplex)
    copy = pickle.loads(pickle.dumps(device))
    assert (copy._load.bandwidth, copy._evict.bandwidth) == (1e9, 2e9)
    assert copy._load.latency == copy._evict.latency == 1e-3
    assert (copy._load.busy is copy._evict.busy) is not duplex
    assert copy._load.busy is not device._load.busy
    np.testing.assert_array_equal(copy.to_host(np.ones(3))[0], 1)


@pytest.mark.parametrize(
    ("parameter", "value"),
    [("bandwidth", "-1GB/s"), ("latency", 0), ("evict_bandwidth", "fast")],
)
def test_a_wrong_parameter_is_named(parameter: str, value: Any):
    parameters: dict[str, Any] = {**FAST, parameter: value}
    with pytest.raises(ValueError, match=f"^{parameter} is {value!r}; expected .*; write it like"):
        EmulatedDevice(**parameters)


def test_the_usual_devices_have_names():
    assert isinstance(by_name("emulated"), EmulatedDevice)


def test_an_unknown_name_says_which_there_are():
    expected = "device is 'tpu'; expected 'cuda', 'emulated', or a device of one's own"
    with pytest.raises(ValueError, match=f"^{re.escape(expected)}$"):
        by_name("tpu")


def test_without_cupy_the_cuda_device_says_what_to_do(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "cupy", None)
    for make in (CudaDevice, lambda: by_name("cuda")):
        with pytest.raises(ImportError, match=r"CuPy is not installed; install it, or use device="):
            make()


def test_without_a_gpu_the_cuda_device_says_what_to_do(monkeypatch: pytest.MonkeyPatch):
    cupy = types.ModuleType("cupy")
    cupy.is_available = lambda: False  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "cupy", cupy)
    with pytest.raises(RuntimeError, match=r"there is no GPU; expected one, or use device='emul"):
        CudaDevice()
