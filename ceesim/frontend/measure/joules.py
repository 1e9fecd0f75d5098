"""Energy of a device from its own meter: RAPL packages on x86, the board's counter (NVML) on NVIDIA GPUs.

Both count everything that the device does, its idle draw and its neighbours' work included.
Sources: Linux powercap documentation; NVML API reference, nvmlDeviceGetTotalEnergyConsumption.
"""

from __future__ import annotations

import ctypes
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, TypeAlias

import torch

from ceesim.frontend.measure.perf_events import UnavailableError

Joules: TypeAlias = tuple[float, ...]
"""One number per counter of a device."""

_POWERCAP: Final = Path("/sys/class/powercap")


def joules_per_call(call: Callable[[], object], *, device: str, seconds: float) -> float:
    """Mean energy of `call`, repeated for at least `seconds`.

    Raises:
        UnavailableError: if the device has no meter that may be read.
    """
    read, ranges = nvml_meter(torch.device(device).index or 0) if device.startswith("cuda") else rapl_meter()
    call()
    finish: Callable[[], object] = torch.cuda.synchronize if device.startswith("cuda") else lambda: None
    finish()
    before, start, num_calls = read(), time.perf_counter(), 0
    while time.perf_counter() - start < seconds:
        call()
        num_calls += 1
    finish()
    return used(before, read(), ranges) / num_calls


def used(before: Joules, after: Joules, ranges: Joules) -> float:
    """What all counters counted between two readings; one that is lower than before has wrapped, once."""
    counted = [last - first for first, last in zip(before, after, strict=True)]
    return sum(each if each >= 0 else each + largest for each, largest in zip(counted, ranges, strict=True))


def rapl_meter(root: Path = _POWERCAP) -> tuple[Callable[[], Joules], Joules]:
    """A reading of every processor package, and where each wraps.

    Raises:
        UnavailableError: if there are none, or they may not be read.
    """
    packages = sorted(root.glob("intel-rapl:[0-9]*"))
    packages = [package for package in packages if package.name.count(":") == 1]
    if not packages:
        raise UnavailableError("no energy counter (RAPL) on this machine")

    def read(name: str = "energy_uj") -> Joules:
        try:
            return tuple(int((package / name).read_text()) * 1e-6 for package in packages)
        except PermissionError:
            raise UnavailableError(f"no permission to read {packages[0] / name}") from None

    read()
    return read, read("max_energy_range_uj")


def nvml_meter(index: int) -> tuple[Callable[[], Joules], Joules]:
    """A reading of GPU `index` since its driver was loaded; it does not wrap.

    Raises:
        UnavailableError: without NVIDIA's driver, or on a GPU without an energy counter (before Volta).
    """
    try:
        library = ctypes.CDLL("libnvidia-ml.so.1")
    except OSError:
        raise UnavailableError("no NVIDIA driver on this machine") from None
    handle = ctypes.c_void_p()
    opened = library.nvmlInit_v2() or library.nvmlDeviceGetHandleByIndex_v2(index, ctypes.byref(handle))
    if opened != 0:
        raise UnavailableError(f"NVML returned {opened} for GPU {index}")

    def read() -> Joules:
        millijoules = ctypes.c_ulonglong()
        returned = library.nvmlDeviceGetTotalEnergyConsumption(handle, ctypes.byref(millijoules))
        if returned != 0:
            raise UnavailableError(f"GPU {index} has no energy counter (NVML returned {returned})")
        return (millijoules.value * 1e-3,)

    read()
    return read, (0.0,)
