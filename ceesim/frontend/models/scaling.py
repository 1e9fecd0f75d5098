"""Channel counts at a width: scaled and rounded to a multiple of 8, so that every width maps well onto an array."""

from __future__ import annotations


def scaled(channels: int, width: float) -> int:
    """`channels` × `width`, to the nearest multiple of 8, at least 8; a multiple of 8 is unchanged at width 1."""
    return max(8, int(channels * width / 8 + 0.5) * 8)
