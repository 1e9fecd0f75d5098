"""The PyTorch front end: networks with exits, training, data, capture; the only package that imports torch."""

from __future__ import annotations

from importlib.util import find_spec

from ceesim.errors import MissingExtraError


def require_torch(purpose: str) -> None:
    """Check that torch can be imported, before a module that needs it is.

    Raises:
        MissingExtraError: if torch is not installed; `purpose` says what wanted it.
    """
    if find_spec("torch") is None:
        raise MissingExtraError.of("torch", "torch", purpose)
