"""What was measured on: the device by name, versions, clock, threads, and how busy the machine was."""

from __future__ import annotations

import os
import platform
from pathlib import Path
from typing import Any, Final

import torch

from ceesim.provenance import Provenance, record

_CPUINFO: Final = Path("/proc/cpuinfo")


def described(device: str) -> dict[str, Any]:
    """The machine, as JSON holds it; `clock_mhz` is the fastest core's at this moment, None where nothing tells it."""
    told: dict[str, Any] = {"device": device, "torch": torch.__version__, "system": platform.system()}
    if torch.device(device).type == "cuda":
        told |= {"name": torch.cuda.get_device_name(device), "cuda": torch.version.cuda}
        told["clock_mhz"] = torch.cuda.clock_rate(device)
    else:
        names, clocks = _cpu_lines("model name"), _cpu_lines("cpu MHz")
        told |= {"name": names[0] if names else platform.processor()}
        told |= {"threads": torch.get_num_threads(), "cores": os.cpu_count()}
        told["isa"] = torch.backends.cpu.get_cpu_capability()
        told["clock_mhz"] = round(max(map(float, clocks))) if clocks else None
    told["load_average"] = round(os.getloadavg()[0], 2)
    return told


def measured_by(machine: dict[str, Any]) -> Provenance:
    """The provenance of measurements on `machine`."""
    return record({"machine": machine}, packages=("torch", "numpy"))


def _cpu_lines(name: str) -> list[str]:
    """What Linux says of every core under `name`; nothing elsewhere."""
    try:
        lines = _CPUINFO.read_text(encoding="utf-8").splitlines()
    except OSError:
        return []
    return [line.split(":", 1)[1].strip() for line in lines if line.split(":")[0].strip() == name]
