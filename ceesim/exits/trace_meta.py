"""What a trace says of itself in JSON: read with care, because anybody may have written it."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from ceesim.errors import TraceError
from ceesim.exits.npz import Archive
from ceesim.exits.strict_json import read_json

SCHEMA: Final = "ceesim.trace/1"
FREE_TEXT: Final = ("preprocessing", "training", "capture", "provenance")
"""Keys that hold whatever the maker of the trace wanted to say."""
LARGEST_META_BYTES: Final = 16 << 20


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
        meta = read_json(text)
    except ValueError as error:
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
