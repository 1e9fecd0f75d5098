"""ceesim: what dynamic inference is worth on real hardware.

The names of the documented Python surface are looked up when they are first used, so that `import ceesim` loads nothing
but this file.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from ceesim.hardware.load import load_hardware as load_hardware

__version__ = "0.1.0"

_SURFACE: Final = {
    "load_hardware": "ceesim.hardware.load",
}
"""Every public name and the module that defines it."""


def __getattr__(name: str) -> object:
    if name not in _SURFACE:
        raise AttributeError(f"module 'ceesim' has no attribute {name!r}")
    return getattr(importlib.import_module(_SURFACE[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_SURFACE])
