"""What a trace says of itself in JSON: read with care, because anybody may have written it."""

from __future__ import annotations

import json
from math import isfinite
from typing import Any, Final

import numpy as np

from ceesim.errors import TraceError
from ceesim.exits.npz import Archive

SCHEMA: Final = "ceesim.trace/1"
FREE_TEXT: Final = ("preprocessing", "training", "capture", "provenance")
"""Keys that hold whatever the maker of the trace wanted to say."""
LARGEST_META_BYTES: Final = 16 << 20
LARGEST_DIGITS: Final = 20
"""Of a whole number."""
DEEPEST: Final = 64
"""Lists and objects within each other."""


def read_meta(archive: Archive) -> dict[str, Any]:
    """The JSON object in `meta`, its keys and their types checked.

    Raises:
        TraceError: if it is none, or not whole.
    """
    header = archive.headers["meta"]
    if header.dtype != np.uint8 or len(header.shape) != 1 or header.num_bytes > LARGEST_META_BYTES:
        raise TraceError("must be the bytes of a JSON text", where="meta", got=f"{header.dtype} {list(header.shape)}")
    try:
        text = archive.read("meta").tobytes().decode()
        meta = json.loads(text, parse_constant=_refuse, parse_float=_finite, parse_int=_countable)
        _check_depth(meta)
        json.dumps(meta, ensure_ascii=False).encode()  # half a character can be written as an escape, but not again
    except (ValueError, RecursionError) as error:
        raise TraceError(f"not JSON: {str(error)[:120]}", where="meta") from None
    if not isinstance(meta, dict):
        raise TraceError("must be a JSON object", where="meta", got=type(meta).__name__)
    if meta.get("schema") != SCHEMA:
        newer = isinstance(meta.get("schema"), str) and meta["schema"].startswith("ceesim.trace/")
        raise TraceError(
            "unknown version of the trace format",
            where="meta",
            got=repr(meta.get("schema"))[:80],
            expected=repr(SCHEMA),
            fix="upgrade ceesim, or capture the trace again" if newer else None,
        )
    known = {"schema", "network", "dataset", "split", "policy", *FREE_TEXT}
    if unknown := sorted(meta.keys() - known):
        raise TraceError("unknown keys", where="meta", got=", ".join(unknown)[:200], expected=", ".join(sorted(known)))
    if isinstance(meta.get("network"), str):
        raise TraceError(
            "only names its network",
            where="meta",
            got=repr(meta["network"])[:80],
            expected="the whole network, as ceesim.workload.serialize.to_json writes it",
            fix="copy the key 'network' from a trace of the same network and width",
        )
    kinds = {"network": dict, "policy": dict, "dataset": str, "split": str} | dict.fromkeys(FREE_TEXT, dict)
    for key, kind in kinds.items():
        if not isinstance(meta.get(key, {} if key in FREE_TEXT else None), kind):
            raise TraceError(f"{key!r} is missing or no {kind.__name__}", where="meta", got=repr(meta.get(key))[:80])
    return meta


def _check_depth(value: object, room: int = DEEPEST) -> None:
    if not room:
        raise ValueError("nested too deeply")
    if isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            _check_depth(item, room - 1)


def _countable(digits: str) -> int:
    if len(digits) > LARGEST_DIGITS:
        raise ValueError(f"a number of {len(digits)} digits")
    return int(digits)


def _refuse(constant: str) -> float:
    raise ValueError(f"{constant} is not JSON")


def _finite(text: str) -> float:
    value = float(text)
    if not isfinite(value):
        raise ValueError(f"{text} is out of range")
    return value
