"""Compile the few hot kernels with numba, with a cache on disk that can never be stale.

Numba notices when the file of a kernel changes, but not when a kernel it calls, in another file, does. The cache
therefore lives in a directory named after a digest of all modules that hold kernels: any change to one of them starts
a new one.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Final, ParamSpec, TypeVar, cast

P = ParamSpec("P")
R = TypeVar("R")

_KERNEL_MODULES: Final = (
    "program/executor.py",
    "mapping/bank_machine.py",
    "mapping/bounds.py",
    "mapping/candidates.py",
    "mapping/folds.py",
    "mapping/loops.py",
    "mapping/macs.py",
    "mapping/search.py",
    "mapping/stream.py",
    "mapping/tiles.py",
)


def jit(function: Callable[P, R]) -> Callable[P, R]:
    """`function`, compiled on its first call for the argument types it is called with."""
    import numba
    import numba.core.config

    # read when the cache is set up, here and now; other users of numba in the process keep theirs
    settings = vars(numba.core.config)
    previous = settings["CACHE_DIR"]
    settings["CACHE_DIR"] = str(cache_directory())
    try:
        return cast("Callable[P, R]", numba.njit(cache=True, error_model="numpy", nogil=True)(function))
    finally:
        settings["CACHE_DIR"] = previous


@cache
def cache_directory() -> Path:
    """Where compiled kernels are kept: ``$XDG_CACHE_HOME/ceesim/<digest>``, below ``~/.cache`` by default."""
    import numba

    digest = sha256(f"{numba.__version__}".encode())
    for module in _KERNEL_MODULES:
        digest.update((Path(__file__).parent.parent / module).read_bytes())
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(home) / "ceesim" / digest.hexdigest()[:16]
