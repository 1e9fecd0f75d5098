"""What an exit unit of its own may still be reading when the backbone has gone on, and who has to wait for it.

The plan places maps in execution order: what a head has read is gone for the layer behind it. On a unit of its own the
head may still be at it then. Its maps linger until its last drain: where they fit beside what the next layers hold,
nobody waits; where they do not, the layer that needs their room waits for the oldest of them, as many as it takes.
"""

from __future__ import annotations

from dataclasses import dataclass

from ceesim.mapping.plan import PlannedLayer
from ceesim.mapping.stream import NONE


@dataclass(frozen=True, slots=True)
class _Kept:
    num_bytes: int
    until: int
    """Row of the drain behind which it is no longer read."""


class Lingering:
    """The maps and bands of heads that nobody has waited for yet.

    Args:
        activation_bytes: of the buffer that all of them share.
    """

    def __init__(self, activation_bytes: int) -> None:
        self._room = activation_bytes
        self._kept: dict[str, _Kept] = {}

    def keep(self, part: PlannedLayer, drain: int) -> None:
        """A head's layer was lowered, its last drain in row `drain`: what it reads and makes lingers until then."""
        read = (*part.layer.sources, part.layer.output)
        for name in (name for name in read if name in part.held):
            self._kept[name] = _Kept(part.held[name], drain)
        if part.bands_bytes:
            self._kept[f"bands of {part.layer.main.name}"] = _Kept(part.bands_bytes, drain)

    def cleared_for(self, part: PlannedLayer) -> int:
        """The row that a layer waits for, or NONE: what lingers then leaves it the room that it was planned with.

        The layers of a head run in order with what lingers, but for their loads.
        """
        taken = sum(part.held.values()) + part.bands_bytes
        others = sorted((each.until, name) for name, each in self._kept.items() if name not in part.held)
        excess = taken + sum(self._kept[name].num_bytes for _, name in others) - self._room
        row = NONE
        for until, name in others:
            if excess <= 0:
                break
            row, excess = until, excess - self._kept[name].num_bytes
        if not part.layer.is_head:  # all layers behind this one are behind what it waits for
            self._kept = {name: each for name, each in self._kept.items() if each.until > row}
        return row
