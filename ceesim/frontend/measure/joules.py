"""Energy of a device from its own meter: RAPL packages on x86, the board's counter (NVML) on NVIDIA GPUs.

Both count everything that the device does, its idle draw and its neighbours' work included.
Sources: Linux powercap documentation; NVML API reference, nvmlDeviceGetTotalEnergyConsumption.
"""

from __future__ import annotations

import ctypes
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import torch

from ceesim.frontend.measure.perf_events import UnavailableError

_POWERCAP: Final = Path("/sys/class/powercap")


def joules_per_call(call: Callable[[], object], *, device: str, seconds: float) -> float:
    """Mean energy of `call`, repeated for at least `seconds`.

    Raises:
        UnavailableError: if the device has no meter that may be read.
    """
    read, wraps_at = nvml_meter(torch.device(device).index or 0) if device.startswith("cuda") else rapl_meter()
    call()
    finish: Callable[[], object] = torch.cuda.synchronize if device.startswith("cuda") else lambda: None
    finish()
    before, start, num_calls = read(), time.perf_counter(), 0
    while time.perf_counter() - start < seconds:
        call()
        num_calls += 1
    finish()
    used = read() - before
    return (used if used >= 0 else used + wraps_at) / num_calls


def rapl_meter(root: Path = _POWERCAP) -> tuple[Callable[[], float], float]:
    """A reading in joules of all processor packages together, and where it wraps.

    Raises:
        UnavailableError: if there are none, or they may not be read.
    """
    packages = sorted(root.glob("intel-rapl:[0-9]*"))
    packages = [package for package in packages if package.name.count(":") == 1]
    if not packages:
        raise UnavailableError("no energy counter (RAPL) on this machine")
    counters = [package / "energy_uj" for package in packages]

    def read() -> float:
        try:
            return sum(int(counter.read_text()) for counter in counters) * 1e-6
        except PermissionError:
            raise UnavailableError(f"no permission to read {counters[0]}") from None

    read()
    return read, sum(int((package / "max_energy_range_uj").read_text()) for package in packages) * 1e-6


def nvml_meter(index: int) -> tuple[Callable[[], float], float]:
    """A reading in joules of GPU `index` since its driver was loaded; it does not wrap.

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

    def read() -> float:
        millijoules = ctypes.c_ulonglong()
        returned = library.nvmlDeviceGetTotalEnergyConsumption(handle, ctypes.byref(millijoules))
        if returned != 0:
            raise UnavailableError(f"GPU {index} has no energy counter (NVML returned {returned})")
        return millijoules.value * 1e-3

    read()
    return read, 0.0
