"""ceesim: what dynamic inference is worth on real hardware.

The names of the documented Python surface are looked up when they are first used, so that `import ceesim` loads nothing
but this file.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from ceesim.exits.trace import load_trace as load_trace
    from ceesim.explore.sweep import sweep as sweep
    from ceesim.frontend.network import ExitNetwork as ExitNetwork
    from ceesim.hardware.load import load_hardware as load_hardware
    from ceesim.results.summary import summary as summary
    from ceesim.sim.run import run as run

__version__ = "0.1.0"

_SURFACE: Final = {
    "ExitNetwork": "ceesim.frontend.network",
    "load_hardware": "ceesim.hardware.load",
    "load_trace": "ceesim.exits.trace",
    "run": "ceesim.sim.run",
    "summary": "ceesim.results.summary",
    "sweep": "ceesim.explore.sweep",
}
"""Every public name and the module that defines it."""


def __getattr__(name: str) -> object:
    if name not in _SURFACE:
        raise AttributeError(f"module 'ceesim' has no attribute {name!r}")
    return getattr(importlib.import_module(_SURFACE[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_SURFACE])
